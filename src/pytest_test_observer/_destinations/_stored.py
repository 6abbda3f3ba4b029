"""Which lines of a batch a table already has: the questions that replay asks before it sends."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from operator import attrgetter
from typing import TYPE_CHECKING

import msgspec

from pytest_test_observer._destinations._answers import error_code
from pytest_test_observer._lines import lines_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_test_observer._destinations import Batch

__all__ = ["absent_lines", "literals"]

# ClickHouse parses 256 KiB of a query (max_query_size).
_QUESTION_BYTES = 250_000
# Columns beside the time that say which rows are meant, by table: one of them serves the primary key.
_COLUMNS = {"results": ("nodeid", "run_id"), "events": ("nodeid", "run_id"), "runs": ("run_id",)}
# A time as we write it, with its digits as zeros: the order of such texts is that of the times.
_OUR_TIME = "0000-00-00T00:00:00.000+00:00"
_DIGITS = str.maketrans("123456789", "000000000")
# A DateTime64 has these; what becomes of other times is for each server to say.
_YEARS = range(1901, 2299)
# The time of a line as we write it. A number follows, which no map of ours has: it is the row's own.
_times = re.compile(rb'"timestamp":"([^"]*)","(?:started_at|seq)":\d').findall
# The ids of such lines, and what else is called so in them.
_span_ids = re.compile(rb'"span_id":"([^"]*)"').findall
# A server, or what it grants this user, may limit what a question reads, by which the one of all names can still pass:
# INDEX_NOT_USED, TOO_MANY_ROWS, TIMEOUT_EXCEEDED, TOO_SLOW, MEMORY_LIMIT_EXCEEDED, TOO_MANY_BYTES,
# TOO_MANY_ROWS_OR_BYTES.
_TOO_MUCH = frozenset({277, 158, 159, 160, 241, 307, 396})
# For each line of a batch. More rows of its time are no short answer: then names have to say which of them are meant.
_ROWS_PER_LINE = 2


class _Untimed(msgspec.Struct, frozen=True):
    """What tells a row from all others; also of lines that other versions wrote, hence the defaults."""

    span_id: str = ""
    seq: int = 0
    nodeid: str = ""
    run_id: str = ""


class _Identity(_Untimed, frozen=True):
    timestamp: str = ""


_decode = msgspec.json.Decoder(_Identity).decode
_decode_untimed = msgspec.json.Decoder(_Untimed).decode
_read = msgspec.json.Decoder(tuple[str | None, int | None]).decode
_encode = msgspec.json.Encoder().encode


def absent_lines(batch: Batch, table: str, ask: Callable[[str], bytes]) -> list[bytes] | None:
    """Return the lines of ``batch`` whose ids are not in ``table`` (a quoted name); None where that is all of them.

    ``ask`` runs a query and returns its answer in JSONCompactEachRow. A line that cannot be identified counts
    as absent: the server will say what is wrong with it.
    """
    stored = _stored_then(batch, table, ask)
    if stored is not None and not _are_among(stored, batch):
        return None
    lines = [raw for raw in lines_of(batch.data) if not raw.isspace()]
    identities = _identified(lines)
    if stored is None:
        stored = _stored(batch.table, table, [identity for identity in identities if identity.span_id], ask)
    if not stored:
        return None
    seq = batch.table == "events"
    pairs = zip(lines, identities, strict=True)
    return [raw for raw, identity in pairs if (identity.span_id, identity.seq if seq else 0) not in stored]


def _stored_then(batch: Batch, table: str, ask: Callable[[str], bytes]) -> set[tuple[str, int]] | None:
    """Return (span_id, seq) of all rows of the time of the batch; None where they are many, or a line is not ours.

    Mostly they are none: that is soon asked, and spares a look at each line.
    """
    times = _times(batch.data)
    period = _period([time.decode(errors="replace") for time in times]) if len(times) == batch.rows else []
    if not period:
        return None
    many = _ROWS_PER_LINE * batch.rows + 1
    try:
        rows = ask(f"{_ids(batch.table, table)} WHERE {' AND '.join(period)} LIMIT {many}").splitlines()
    except Exception as error:
        if error_code(error) in _TOO_MUCH:
            return None
        raise
    return _ids_in(rows) if len(rows) < many else None


def _are_among(stored: set[tuple[str, int]], batch: Batch) -> bool:
    """Whether a batch of lines of ours speaks of one of these ids."""
    ids = {span_id.encode() for span_id, _ in stored}
    return bool(ids) and not ids.isdisjoint(_span_ids(batch.data))


def _identified(lines: list[bytes]) -> list[_Identity]:
    try:
        return [_decode(raw) for raw in lines]
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return [_identity(raw) for raw in lines]


def _identity(raw: bytes) -> _Identity:
    try:
        return _decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        pass
    try:  # a time of another kind, or none: the server makes one of it
        return _Identity(**msgspec.structs.asdict(_decode_untimed(raw)))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _Identity()


def _stored(key: str, table: str, identities: list[_Identity], ask: Callable[[str], bytes]) -> set[tuple[str, int]]:
    """Ask for (span_id, seq) of the rows that are there, in questions that a server parses."""
    if not identities:
        return set()
    question = _question(key, table, identities)
    if len(question.encode()) > _QUESTION_BYTES:
        half = len(identities) // 2
        if half:
            parts = identities[:half], identities[half:]
            return set().union(*(_stored(key, table, part, ask) for part in parts))
        question = _question(key, table, identities, ())  # one name alone is larger than a question
    return _ids_in(ask(question).splitlines())


def _ids_in(rows: list[bytes]) -> set[tuple[str, int]]:
    """Return what rows of an answer say; those of 0.2.0 have no id, and say of no other row that it is there."""
    return {(span_id, seq or 0) for span_id, seq in map(_read, rows) if span_id}


def _ids(key: str, table: str) -> str:
    return f"SELECT span_id, {'seq' if key == 'events' else '0'} FROM {table}"  # noqa: S608 (a quoted name)


def _question(key: str, table: str, identities: list[_Identity], columns: tuple[str, ...] | None = None) -> str:
    """Ask by time and by name, so that the primary key serves, and by run: others have the same tests."""
    chosen = _COLUMNS[key] if columns is None else columns
    conditions = [
        *_period([identity.timestamp for identity in identities]),
        *(_among(column, identities) for column in chosen),
    ]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"{_ids(key, table)}{where}"


def _among(column: str, identities: list[_Identity]) -> str:
    """Compare a column with the values that lines have.

    As one text: thousands of literals take an engine ten times as long. ``materialize`` keeps it from making literals
    of them.
    """
    values = _encode(list(dict.fromkeys(map(attrgetter(column), identities)))).decode()
    return f"{column} IN (SELECT arrayJoin(JSONExtract(materialize({literals([values])}), 'Array(String)')))"


def _period(times: list[str]) -> list[str]:
    """Compare with the period of ``times``; nothing where one of them is not understood the same way everywhere."""
    joined = "".join(times)
    if joined.count("+00:00") == len(times) and joined.translate(_DIGITS) == _OUR_TIME * len(times):
        times = [min(times), max(times)]
    instants = [_instant(time) for time in times]
    known = [instant for instant in instants if instant is not None]
    if len(known) < len(instants):
        return []
    # the column has whole milliseconds, whichever way a server comes to them
    first, last = min(known), max(known) + timedelta(milliseconds=1)
    return [f"timestamp >= {_time(first)}", f"timestamp <= {_time(last)}"]


def _instant(text: str) -> datetime | None:
    try:
        instant = msgspec.convert(text, datetime)
        return instant.astimezone(timezone.utc) if instant.tzinfo and instant.year in _YEARS else None
    except (msgspec.ValidationError, OverflowError):
        return None


def _time(instant: datetime) -> str:
    return f"toDateTime64('{instant:%Y-%m-%d %H:%M:%S}.{instant.microsecond // 1000:03d}', 3, 'UTC')"


_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "\0": "\\0", "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def literals(values: Iterable[str]) -> str:
    """Return SQL string literals, sorted, with commas between."""
    return ", ".join(f"'{value.translate(_ESCAPES)}'" for value in sorted(values))
