"""Which lines of a batch a table already has: the questions that replay asks before it sends."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pytest_test_observer._destinations import Batch

__all__ = ["absent_lines", "literals"]

# ClickHouse parses 256 KiB of a query (max_query_size) and builds 50,000 nodes of it (max_ast_elements).
_QUESTION_BYTES = 160 * 1024
_QUESTION_LINES = 5_000
# Columns beside the time that serve the primary key, by table.
_KEY_COLUMN = {"results": "nodeid", "events": "nodeid", "runs": "run_id"}


class _Identity(msgspec.Struct, frozen=True):
    """What tells a row from all others; also of lines that other versions wrote, hence the defaults."""

    span_id: str = ""
    seq: int = 0
    nodeid: str = ""
    run_id: str = ""
    timestamp: str = ""


class _Line(NamedTuple):
    raw: bytes
    identity: _Identity


def absent_lines(batch: Batch, table: str, ask: Callable[[str], bytes]) -> list[bytes]:
    """Return the lines of ``batch`` whose ids are not in ``table`` (a quoted name).

    ``ask`` runs a query and returns its answer in JSONCompactEachRow. A line that cannot be identified counts
    as absent: the server will say what is wrong with it.
    """
    lines = [_Line(raw, _identity(raw)) for raw in batch.data.splitlines(keepends=True) if raw.strip()]
    stored: set[tuple[str, int]] = set()
    for chunk in _chunks([line for line in lines if line.identity.span_id]):
        answer = ask(_question(batch.table, table, chunk))
        stored.update(msgspec.json.decode(row, type=tuple[str, int]) for row in answer.splitlines() if row)
    return [line.raw for line in lines if _key(batch.table, line.identity) not in stored]


def _identity(raw: bytes) -> _Identity:
    try:
        return msgspec.json.decode(raw, type=_Identity)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Identity()


def _key(table: str, identity: _Identity) -> tuple[str, int]:
    return identity.span_id, identity.seq if table == "events" else 0


def _chunks(lines: list[_Line]) -> Iterator[list[_Line]]:
    """Cut so that each question stays within what a server parses; a name counts once where it repeats."""
    chunk: list[_Line] = []
    size, names = 0, set[str]()
    for line in lines:
        name = line.identity.nodeid
        size += 24 + (0 if name in names else len(name.encode(errors="replace")) + 4)
        if chunk and (size > _QUESTION_BYTES or len(chunk) == _QUESTION_LINES):
            yield chunk
            chunk, size, names = [], 24 + len(name), set()
        chunk.append(line)
        names.add(name)
    if chunk:
        yield chunk


def _question(key: str, table: str, lines: list[_Line]) -> str:
    seq = "seq" if key == "events" else "0"
    spans = literals({line.identity.span_id for line in lines})
    where = f"{_period(lines)}{_names(key, lines)}span_id IN ({spans})"
    return f"SELECT span_id, {seq} FROM {table} WHERE {where}"  # noqa: S608 (literals are quoted)


def _names(key: str, lines: list[_Line]) -> str:
    """The part that the primary key serves; left out where one name alone is larger than a question."""
    column = _KEY_COLUMN[key]
    names = literals({getattr(line.identity, column) for line in lines})
    return f"{column} IN ({names}) AND " if len(names.encode()) <= _QUESTION_BYTES else ""


def _period(lines: list[_Line]) -> str:
    """The time the rows span; nothing where one of the times is not understood the same way everywhere."""
    instants = [_instant(line.identity.timestamp) for line in lines]
    known = [instant for instant in instants if instant is not None]
    if len(known) < len(instants):
        return ""
    # the column has whole milliseconds, whichever way a server comes to them
    first, last = min(known), max(known) + timedelta(milliseconds=1)
    return f"timestamp >= {_time(first)} AND timestamp <= {_time(last)} AND "


def _instant(text: str) -> datetime | None:
    try:
        instant = msgspec.convert(text, datetime)
        return instant.astimezone(timezone.utc) if instant.tzinfo else None
    except (msgspec.ValidationError, OverflowError):
        return None


def _time(instant: datetime) -> str:
    return f"toDateTime64('{instant:%Y-%m-%d %H:%M:%S}.{instant.microsecond // 1000:03d}', 3, 'UTC')"


_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "\0": "\\0", "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def literals(values: Iterable[str]) -> str:
    """Return SQL string literals, sorted, with commas between."""
    return ", ".join(f"'{value.translate(_ESCAPES)}'" for value in sorted(values))
