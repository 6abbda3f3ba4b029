"""Rows from spans: the way that the Collector and the views go, in one process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_test_observer._clock import IsoTime
from pytest_test_observer._columns import EVENTS, RESULTS, RUNS, TABLES, Column, Table
from pytest_test_observer._record import NS_PER_MS
from pytest_test_observer._spans.attempt import EXCEPTION_EVENT, REASON
from pytest_test_observer._spans.attributes import EXCEPTION, NODEID, ScopeMapping
from pytest_test_observer._spans.events import SEQ, payload_of
from pytest_test_observer._spans.values import text, value_reader

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.sdk.trace import Event, ReadableSpan

EXCEPTION_MESSAGE = f"{EXCEPTION}message"
PHASE, EXIT_STATUS = "pytest.phase", "pytest.exit_status"

_contexts = {table.key: ScopeMapping(table, "context") for table in TABLES.values()}
_records = {table.key: ScopeMapping(table, "record") for table in TABLES.values()}
_iso = IsoTime()
_seq = value_reader("UInt32")

Row = dict[str, Any]


def rows_of(span: ReadableSpan) -> Iterator[tuple[Table, Row]]:
    """Return the rows that a span makes, with their tables; none for a span of another vocabulary."""
    attributes = span.attributes or {}
    if span.start_time is None or span.end_time is None or span.context is None:
        return
    if NODEID in attributes:
        for event in span.events:
            if SEQ in (event.attributes or {}):
                yield EVENTS, _event(span, attributes, event)
        if PHASE in attributes:
            yield RESULTS, _result(span, attributes)
    if EXIT_STATUS in attributes:
        yield RUNS, _row(RUNS, span, attributes)


def _result(span: ReadableSpan, attributes: Mapping[str, Any]) -> Row:
    said = next((event.attributes or {} for event in span.events if _is_exception(event)), {})
    texts: Row = {
        column.name: text(said.get(column.attribute, ""))
        for column in RESULTS.columns
        if column.attribute.startswith(EXCEPTION)
    }
    if EXCEPTION_MESSAGE not in said:
        texts["error_message"] = text(attributes.get(REASON, ""))
    return _row(RESULTS, span, attributes) | texts


def _event(span: ReadableSpan, attributes: Mapping[str, Any], event: Event) -> Row:
    said = event.attributes or {}
    own: Row = {
        "timestamp": _iso(event.timestamp // NS_PER_MS),
        "seq": _seq(said[SEQ]),
        "event_name": text(event.name),
        "payload": payload_of(said),
    }
    if PHASE not in attributes and span.parent is not None:  # it continues the events of the span above
        own["span_id"] = f"{span.parent.span_id:016x}"
    return _row(EVENTS, span, attributes) | own


def _row(table: Table, span: ReadableSpan, attributes: Mapping[str, Any]) -> Row:
    found = {
        **_contexts[table.key].columns(span.resource.attributes),
        **_records[table.key].columns(attributes),
        **_identity(span),
    }
    times = {"start_ns": span.start_time, "end_ns": span.end_time}
    for column in table.columns:
        if column.source in times:
            found[column.name] = _time(column, times[column.source] or 0)
    return {name: found.get(name) for name in table.column_names}


def _identity(span: ReadableSpan) -> Row:
    return {
        "trace_id": f"{span.context.trace_id:032x}",
        "span_id": f"{span.context.span_id:016x}",
        "parent_span_id": f"{span.parent.span_id:016x}" if span.parent else "",
    }


def _time(column: Column, time_ns: int) -> str | int:
    milliseconds = time_ns // NS_PER_MS
    return _iso(milliseconds) if column.type.startswith("DateTime64") else milliseconds


def _is_exception(event: Event) -> bool:
    return event.name == EXCEPTION_EVENT and SEQ not in (event.attributes or {})
