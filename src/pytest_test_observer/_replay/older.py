"""Rows of version 0.2.0: fewer columns, no ids. What is missing is made from what is there."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any

import msgspec

from pytest_test_observer._replay.lines import NOT_JSON, NOT_UTF8
from pytest_test_observer._rows import encode

NOT_A_ROW = "no row of this plugin: it lacks run_id, nodeid, or one of status and event_name"
NO_TEXT = "no row of this plugin: its status or when_phase is no text"

# 0.2.0 wrote a row for a phase that failed, and did not know more.
_OUTCOMES = {"broken": "error"}
_PHASE_DURATIONS = {"setup": "setup_duration", "call": "call_duration", "teardown": "teardown_duration"}


class LineError(Exception):
    """A line that is no row; the text says why."""


def table_of(row: dict[str, Any]) -> str:
    """Return the table that a row belongs to, by its columns; raises LineError for what is no row."""
    if isinstance(row.get("run_id"), str) and isinstance(row.get("nodeid"), str):
        if "event_name" in row:
            return "events"
        if "status" in row:
            return "results"
    raise LineError(NOT_A_ROW)


def read_row(line: bytes) -> dict[str, Any]:
    """Parse a line; raises LineError."""
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        row = _read_leniently(line)
    if not isinstance(row, dict):
        raise LineError(NOT_A_ROW)
    return row


def completed(line: bytes, row: dict[str, Any]) -> bytes:
    """Return a row as a line with ids and all that its content tells; one that has an id stays as it is.

    The ids depend on the content alone: the same line is the same row, wherever it stands. Raises LineError.
    """
    if row.get("span_id"):
        return line if line.endswith(b"\n") else line + b"\n"
    made = _result(row) if table_of(row) == "results" else {}
    ids = {
        "trace_id": _hash(16, row["run_id"].encode("utf-8", "backslashreplace")),
        "span_id": _hash(8, line.strip()),
    }
    return encode({**made, "attempt": 1, **row, **ids, "timestamp": _with_zone(row.get("timestamp"))}) + b"\n"


def _result(row: dict[str, Any]) -> dict[str, Any]:
    status, phase = row["status"], row.get("when_phase", "")
    if not (isinstance(status, str) and isinstance(phase, str)):
        raise LineError(NO_TEXT)
    file, _, rest = row["nodeid"].partition("::")
    made = {
        "outcome": _OUTCOMES.get(status, status),
        "file": file,
        "function": rest.replace("::", ".").partition("[")[0],
    }
    measured = _PHASE_DURATIONS.get(phase)
    return {**made, measured: row.get("duration", 0.0)} if measured else made


def _with_zone(timestamp: object) -> object:
    """Make sure that a time is read as UTC, whatever zone the server is in."""
    if isinstance(timestamp, str) and len(timestamp) > len("2026-01-01") and timestamp[-6] not in "+-":
        return timestamp if timestamp.endswith("Z") else f"{timestamp}+00:00"
    return timestamp


def _read_leniently(line: bytes) -> object:
    """Read what 0.2.0 wrote and strict parsers refuse: halves of surrogate pairs."""
    try:
        return json.loads(line.decode())
    except UnicodeDecodeError:
        raise LineError(NOT_UTF8) from None
    except ValueError:
        raise LineError(NOT_JSON) from None


def _hash(size: int, data: bytes) -> str:
    return blake2b(data, digest_size=size, person=b"test-observer020").hexdigest()
