"""The greeting of ClickHouse's Go client, which the OpenTelemetry Collector's exporter uses.

It reads the answer to its first query in the block format of a recent protocol, which the embedded engine
does not write. The answer says revision 0: from then on the client reads and writes plain blocks.
"""

from __future__ import annotations

import struct

QUERY = b"SELECT displayName(), version(), revision(), timezone()"

# Block info (field 1: no overflows; field 2: bucket -1; end), then the numbers of columns and rows.
_HEAD = b"\x01\x00" + b"\x02" + struct.pack("<i", -1) + b"\x00" + b"\x04\x01"
_NO_CUSTOM_SERIALIZATION = b"\x00"


def _text(value: str) -> bytes:
    data = value.encode()
    assert len(data) < 128, "a longer text needs a longer length"
    return bytes([len(data)]) + data


def _column(name: str, type_: str, value: bytes) -> bytes:
    return _text(name) + _text(type_) + _NO_CUSTOM_SERIALIZATION + value


def answer(display_name: str, version: str, timezone: str) -> bytes:
    """One row that tells the client to speak revision 0, as a Native block of protocol 54460."""
    return b"".join(
        [
            _HEAD,
            _column("displayName()", "String", _text(display_name)),
            _column("version()", "String", _text(version)),
            _column("revision()", "UInt32", struct.pack("<I", 0)),
            _column("timezone()", "String", _text(timezone)),
        ]
    )
