"""From records to lines of JSON that ClickHouse loads as they are (``FORMAT JSONEachRow``)."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import msgspec

from pytest_test_observer._clock import IsoTime
from pytest_test_observer._columns import EVENTS, RESULTS, RUNS, TABLES, Column, Table
from pytest_test_observer._record import (
    NS_PER_MS,
    Context,
    FixtureTimes,
    ModuleTimes,
    PhaseTimes,
    RunRecord,
    TestRecord,
)
from pytest_test_observer._text import storable_deep

SPAN_KEY = "_span"
_SPAN_PREFIX = b',"%s":' % SPAN_KEY.encode()

_Getter = Callable[[Any], Any]
_encode = msgspec.json.Encoder().encode


def encode(value: object) -> bytes:
    """Encode plain data as JSON; what has no UTF-8 form is made storable, visibly."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return _encode(storable_deep(msgspec.to_builtins(value)))


class _Part:
    """The columns of one scope of a table, as the inside of a JSON object.

    A struct made for them encodes in a quarter of the time that a dictionary of the same keys takes.
    """

    def __init__(self, columns: list[Column], iso: IsoTime) -> None:
        self._struct = msgspec.defstruct("Row", [(column.name, Any) for column in columns])
        sources = [column.source for column in columns]
        getter = attrgetter(*sources)
        self._get: _Getter = getter if len(sources) > 1 else lambda record: (getter(record),)
        self._times = [
            (index, iso if column.type.startswith("DateTime64") else None)
            for index, column in enumerate(columns)
            if column.source.endswith("_ns")
        ]

    def __call__(self, record: object) -> bytes:
        values = list(self._get(record))
        for index, convert in self._times:
            milliseconds = values[index] // NS_PER_MS
            values[index] = convert(milliseconds) if convert else milliseconds
        return encode(self._struct(*values))[1:-1]


def _part(table: Table, scope: str, iso: IsoTime) -> _Part:
    return _Part([column for column in table.columns if column.scope == scope], iso)


class SpanPart(msgspec.Struct, omit_defaults=True):
    """What a row cannot say and its span needs: a key of its own in the line, which ClickHouse passes over.

    ``events`` are (time in nanoseconds, name, payload), in order.
    """

    start_ns: int
    end_ns: int
    events: list[tuple[int, str, dict[str, str]]] = []
    phases: list[PhaseTimes] = []
    fixtures: list[FixtureTimes] = []
    modules: list[ModuleTimes] = []


class RowEncoder:
    """Encodes what one run writes. What all its rows have in common is encoded once.

    ``spans`` says whether the lines are to become spans too: then each carries what its row cannot say.
    """

    def __init__(self, context: Context, *, spans: bool = False) -> None:
        self._spans = spans
        iso = IsoTime()
        self._common = {
            table.key: b"{" + _part(table, "context", iso)(context) + b"," for table in TABLES.values()
        }
        self._result = _part(RESULTS, "record", iso)
        self._run = _part(RUNS, "record", iso)
        self._event_owner = _part(EVENTS, "record", iso)
        self._event = _part(EVENTS, "event", iso)

    def result(self, record: TestRecord) -> bytes:
        """Return the line of an attempt, with its line feed."""
        return self._common["results"] + self._result(record) + self._span_of(record) + b"}\n"

    def events(self, record: TestRecord) -> bytes:
        """Return the lines of the events of an attempt."""
        start = self._common["events"] + self._event_owner(record) + b","
        # True: the line of the attempt carries this event
        end = b',"%s":true}\n' % SPAN_KEY.encode() if self._spans else b"}\n"
        return b"".join([start + self._event(event) + end for event in record.events])

    def run(self, record: RunRecord) -> bytes:
        """Return the line of the run itself."""
        part = b""
        if self._spans:
            span = SpanPart(record.start_ns, record.end_ns, fixtures=record.fixtures, modules=record.modules)
            part = _SPAN_PREFIX + encode(span)
        return self._common["runs"] + self._run(record) + part + b"}\n"

    def _span_of(self, record: TestRecord) -> bytes:
        if not self._spans:
            return b""
        events = [(event.time_ns, event.name, event.payload) for event in record.events]
        span = SpanPart(record.start_ns, record.end_ns, events, record.phases, record.fixtures)
        return _SPAN_PREFIX + encode(span)
