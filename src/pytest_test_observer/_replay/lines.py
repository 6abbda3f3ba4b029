"""Lines of buffer files: what can be seen to be wrong with one before a server is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pytest_test_observer._destinations import Batch
from pytest_test_observer._lines import digest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_test_observer._journal.sidecar import Begin

NOT_UTF8 = "bytes that are no UTF-8"
NOT_JSON = "no valid JSON"
NO_ROW = "no row of this plugin: it has no span_id"


class _Identified(msgspec.Struct):
    span_id: str


_decoder = msgspec.json.Decoder(_Identified)


def damage(line: bytes) -> str:
    """Return what is wrong with a line, empty where nothing can be seen from here."""
    try:
        line.decode()
    except UnicodeDecodeError:
        return NOT_UTF8
    try:
        _decoder.decode(line)
    except msgspec.ValidationError:
        return NO_ROW
    except msgspec.DecodeError:
        return NOT_JSON
    return ""


def looks_sound(batch: Batch) -> bool:
    """Whether a batch has no damage that meets the eye: found without parsing, within a few milliseconds.

    A line that is not whole is a batch of its own, see ``cuts``.
    """
    data = batch.data
    if not data.endswith(b"}\n") or data.count(b'"span_id":"') < batch.rows:
        return False
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def batch_of(table: str, lines: Iterable[bytes], begin: Begin | None = None) -> Batch:
    """Return lines as a batch whose token is made of nothing but them; ``begin`` is their journal's."""
    kept = list(lines)
    data = b"".join(kept)
    return Batch(table, data, len(kept), f"replay-{digest(data)}", begin)
