"""From records to lines of JSON that ClickHouse loads as they are (``FORMAT JSONEachRow``)."""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003 - msgspec reads it at run time
from typing import TYPE_CHECKING, Any

import msgspec

from pytest_test_observer._clock import IsoTime
from pytest_test_observer._columns import EVENTS, RESULTS, RUNS, TABLES, Column, Table
from pytest_test_observer._record import (
    NS_PER_MS,
    Context,
    FixtureTimes,
    ModuleTimes,
    OrdinaryRecord,
    PhaseTimes,
    RunRecord,
    TestRecord,
)
from pytest_test_observer._text import storable_deep

if TYPE_CHECKING:
    from collections.abc import Callable

SPAN_KEY = "_span"


def _plain(value: object) -> str:
    """Return a text of a type of the suite's own (markup, say) as it is, which the encoder does not know."""
    if isinstance(value, str):
        return str.__str__(value)
    raise NotImplementedError(f"{type(value).__name__} is no plain data")


_encode = msgspec.json.Encoder(enc_hook=_plain).encode


def encode(value: object) -> bytes:
    """Encode plain data as JSON; what has no UTF-8 form is made storable, visibly."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return _encode(storable_deep(msgspec.to_builtins(value, enc_hook=_plain)))


class _Part:
    """The columns of one scope of a table, as a JSON object without its opening brace.

    A struct made for them encodes in a quarter of the time that a dictionary of the same keys takes. What fills it from
    a record is generated, as in dataclasses: one expression takes half of what a loop over the columns does.
    """

    def __init__(self, columns: list[Column], iso: IsoTime) -> None:
        names = {"Row": msgspec.defstruct("Row", [(column.name, Any) for column in columns]), "iso": iso}
        values = ", ".join(map(_expression, columns))
        self._row: Callable[[Any], object] = eval(f"lambda record: Row({values})", names)  # noqa: S307 - of our table

    def __call__(self, record: object) -> bytes:
        row = self._row(record)
        try:
            return _encode(row)[1:]
        except UnicodeEncodeError:
            return encode(row)[1:]


def _expression(column: Column) -> str:
    """Return the expression of a column's value."""
    if not column.source.endswith("_ns"):
        return f"record.{column.source}"
    milliseconds = f"record.{column.source} // {NS_PER_MS}"
    return f"iso({milliseconds})" if column.type.startswith("DateTime64") else milliseconds


def _part(table: Table, scope: str, iso: IsoTime) -> _Part:
    return _Part(_columns(table, scope), iso)


def _columns(table: Table, scope: str) -> list[Column]:
    return [column for column in table.columns if column.scope == scope]


_ORDINARY = OrdinaryRecord("", 1, "", 0, 0, "passed", "passed", "call", 0.0, "", "", "")
# In what the results differ that nearly all are: passed at once, with nothing rare about them. Columns of other fields
# have the same value in all of these, and are encoded once.
_VARYING = frozenset(
    {
        *("nodeid", "worker_id", "file", "line", "function", "markers"),
        *("start_ns", "end_ns", "duration", "setup_duration", "call_duration", "teardown_duration"),
        *("trace_id", "span_id", "parent_span_id"),
    }
)


class SpanPart(msgspec.Struct, omit_defaults=True):
    """What a row cannot say and its span needs: a key of its own in the line, which ClickHouse passes over.

    ``events`` are (time in nanoseconds, name, payload), in order.
    """

    start_ns: int
    end_ns: int
    events: list[tuple[int, str, dict[str, str]]] = []
    phases: Sequence[PhaseTimes] = ()
    fixtures: Sequence[FixtureTimes] = ()
    modules: list[ModuleTimes] = []


class RowEncoder:
    """Encodes what one run writes. What all its rows have in common is encoded once.

    ``spans`` says whether the lines are to become spans too: then each carries what its row cannot say.
    """

    def __init__(self, context: Context, *, spans: bool = False) -> None:
        self._spans = spans
        iso = IsoTime()
        self._common = {
            table.key: b"{" + _part(table, "context", iso)(context)[:-1] + b"," for table in TABLES.values()
        }
        self._result = _part(RESULTS, "record", iso)
        varying = [column for column in _columns(RESULTS, "record") if column.source in _VARYING]
        constant = [column for column in _columns(RESULTS, "record") if column.source not in _VARYING]
        self._ordinary = _Part(varying, iso)
        self._ordinary_start = self._common["results"] + _Part(constant, iso)(_ORDINARY)[:-1] + b","
        self._run = _part(RUNS, "record", iso)
        self._event_owner = _part(EVENTS, "record", iso)
        self._event = _part(EVENTS, "event", iso)

    def result(self, record: TestRecord) -> bytes:
        """Return the line of an attempt, with its line feed."""
        span = self._span_of(record) if self._spans else b""
        if type(record) is OrdinaryRecord:
            return b"%s%s%s\n" % (self._ordinary_start, span, self._ordinary(record))
        return b"%s%s%s\n" % (self._common["results"], span, self._result(record))

    def events(self, record: TestRecord) -> bytes:
        """Return the lines of the events of an attempt."""
        # True: the line of the attempt carries this event
        carried = b'"%s":true,' % SPAN_KEY.encode() if self._spans else b""
        start = self._common["events"] + carried + self._event_owner(record)[:-1] + b","
        return b"".join([start + self._event(event) + b"\n" for event in record.events])

    def run(self, record: RunRecord) -> bytes:
        """Return the line of the run itself."""
        part = b""
        if self._spans:
            span = SpanPart(record.start_ns, record.end_ns, fixtures=record.fixtures, modules=record.modules)
            part = _span_member(span)
        return self._common["runs"] + part + self._run(record) + b"\n"

    def _span_of(self, record: TestRecord) -> bytes:
        if type(record) is OrdinaryRecord and not record.phases:
            return _LEAN_SPAN % (record.start_ns, record.end_ns)
        events = [(event.time_ns, event.name, event.payload) for event in record.events]
        return _span_member(SpanPart(record.start_ns, record.end_ns, events, record.phases, record.fixtures))


# What ``_span_member`` makes of a span that has its times and nothing else.
_LEAN_SPAN = b'"%s":{"start_ns":%%d,"end_ns":%%d},' % SPAN_KEY.encode()


def _span_member(span: SpanPart) -> bytes:
    return b'"%s":%s,' % (SPAN_KEY.encode(), encode(span))
