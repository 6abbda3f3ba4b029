"""Lines of a journal as typed rows: the columns of their table, and under ``_span`` what a row cannot say."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from pytest_test_observer._columns import TABLES, Table
from pytest_test_observer._lines import lines_of
from pytest_test_observer._record import NS_PER_MS, FixtureTimes, ModuleTimes, PhaseTimes
from pytest_test_observer._rows import SPAN_KEY

# On the line of an event: the line of its test carries it too. Inside a string its quotes would be escaped.
_CARRIED = b'"%s":true' % SPAN_KEY.encode()


class EventOf(NamedTuple):
    """A custom event as it travels with its test; its place in the list is its ``seq``."""

    time_ns: int
    name: str
    payload: dict[str, str]


class SpanPart(msgspec.Struct, frozen=True):
    """What the line of an attempt or of a run says besides its columns, for its spans: as ``_rows.SpanPart`` wrote it.

    ``fixtures`` of an attempt are those that only it uses; those of modules and of the session stand in the run's
    line, and so do ``modules``.
    """

    start_ns: int
    end_ns: int
    events: list[EventOf] = []
    phases: list[PhaseTimes] = []
    fixtures: list[FixtureTimes] = []
    modules: list[ModuleTimes] = []


_TYPES: dict[str, tuple[Any, Any]] = {
    "Array(String)": (list[str], []),
    "Map(String, Array(String))": (dict[str, list[str]], {}),
    "Map(String, String)": (dict[str, str], {}),
    "Array(Tuple(String, String, String))": (list[tuple[str, str, str]], []),
    "Float64": (float, 0.0),
    "Bool": (bool, False),
}


def plain_type(type_: str) -> str:
    """Return a ClickHouse type without ``LowCardinality``, which changes how it is stored and nothing else."""
    return type_.replace("LowCardinality(String)", "String")


def _field(type_: str) -> tuple[Any, Any]:
    if "Int" in type_:
        return int, 0
    return _TYPES.get(plain_type(type_), (str, ""))


def _decoder(table: Table) -> msgspec.json.Decoder[Any]:
    extra = (bool, False) if table.key == "events" else (SpanPart | None, None)
    fields = [(column.name, *_field(column.type)) for column in table.columns]
    struct = msgspec.defstruct(
        f"{table.key.title()}Row", [*fields, ("span", *extra)], rename={"span": SPAN_KEY}, frozen=True
    )
    return msgspec.json.Decoder(struct)


_DECODERS = {key: _decoder(table) for key, table in TABLES.items()}


def loose_events(data: bytes) -> list[bytes]:
    """Return the lines of events that no line of results carries."""
    if data.count(_CARRIED) == data.count(b"\n"):
        return []
    return [line for line in lines_of(data) if _CARRIED not in line]


def read_line(table: str, line: bytes) -> Any:  # noqa: ANN401 - a struct made of the table's columns
    """Return a line as a struct with the columns of ``table`` and ``span``: its extra, None (False) without.

    Raises msgspec.MsgspecError or UnicodeDecodeError for what is no such row.
    """
    return _DECODERS[table].decode(line)


def times_of(row: Any) -> tuple[int, int]:  # noqa: ANN401 - see read_line
    """Start and end of a row in nanoseconds: exact where its line says so, else those of its milliseconds."""
    if row.span is not None:
        return row.span.start_ns, row.span.end_ns
    return row.started_at * NS_PER_MS, row.finished_at * NS_PER_MS
