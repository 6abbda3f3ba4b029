"""The spans of an attempt of a test: its own, those that continue its events, its phases and fixtures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, SpanContext, Status, StatusCode

from pytest_test_observer._columns import EVENTS, RESULTS
from pytest_test_observer._spans.attributes import NODEID, Attributes, ScopeMapping
from pytest_test_observer._spans.events import Numbered, attributes_of, numbered, portions
from pytest_test_observer._spans.identity import context_of, derived_id
from pytest_test_observer._spans.lines import SpanPart, times_of
from pytest_test_observer._spans.resource import SCOPE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.sdk.resources import Resource

    from pytest_test_observer._record import FixtureTimes, PhaseTimes

# Why a test was skipped or expected to fail; the message of a failure stands in its exception event.
REASON = "pytest.reason"
EXCEPTION_EVENT = "exception"
_TROUBLED = ("failed", "broken")
_RESULT_STATUS = {"passed": "pass", "failed": "fail", "broken": "fail"}
_UNSET = Status(StatusCode.UNSET)
_DESCRIPTION_LIMIT = 256

_result = ScopeMapping(RESULTS, "record")
_event_owner = ScopeMapping(EVENTS, "record")


class Surroundings(NamedTuple):
    """What the spans of a run's attempts have in common; ``session`` is what roots of further traces link to."""

    resource: Resource
    session: SpanContext | None = None


def attempt_spans(row: Any, around: Surroundings) -> Iterator[ReadableSpan]:  # noqa: ANN401 - see lines.read_line
    """Return the spans of a line of results, the test's own first.

    Raises ValueError for a row whose ids are none.
    """
    start_ns, end_ns = times_of(row)
    context = context_of(row.trace_id, row.span_id)
    events = numbered(row.span.events if row.span else [])
    own, *further = portions(events)
    attributes = _result.attributes(row)
    attributes.update(_conventional(row))
    trouble = _exception(row, end_ns)
    yield ReadableSpan(
        name=row.nodeid,
        context=context,
        parent=context_of(row.trace_id, row.parent_span_id) if row.parent_span_id else None,
        resource=around.resource,
        attributes=attributes,
        events=[*_span_events(own), *trouble],
        links=_links(row, around.session),
        status=_status(row),
        start_time=start_ns,
        end_time=end_ns,
        instrumentation_scope=SCOPE,
    )
    for portion in further:
        yield carrier(row, portion, around.resource, (start_ns, end_ns))
    if row.span is not None:
        yield from _inner_spans(row, row.span, around.resource)


def carrier(
    owner: Any,  # noqa: ANN401 - see lines.read_line
    events: Sequence[Numbered],
    resource: Resource,
    times: tuple[int, int],
) -> ReadableSpan:
    """Return a span that carries events of a test and stands below the test's span.

    It has ``pytest.nodeid`` and no ``pytest.phase``: it makes rows of events, but none of results.
    """
    first = str(events[0][0])
    return ReadableSpan(
        name=owner.nodeid,
        context=context_of(owner.trace_id, derived_id(owner.span_id, "events", first)),
        parent=context_of(owner.trace_id, owner.span_id),
        resource=resource,
        attributes=_event_owner.attributes(owner),
        events=_span_events(events),
        start_time=times[0],
        end_time=times[1],
        instrumentation_scope=SCOPE,
    )


def fixture_span(fixture: FixtureTimes, parent: SpanContext, resource: Resource, more: Attributes) -> ReadableSpan:
    """Return the span of a fixture's setup or teardown, below ``parent``."""
    trace_id, parent_id = f"{parent.trace_id:032x}", f"{parent.span_id:016x}"
    parts = (fixture.when, fixture.name, fixture.module, str(fixture.start_ns))
    return ReadableSpan(
        name=fixture.name,
        context=context_of(trace_id, derived_id(parent_id, "fixture", *parts)),
        parent=parent,
        resource=resource,
        attributes={
            "pytest.fixture.name": fixture.name,
            "pytest.fixture.scope": fixture.scope,
            "pytest.fixture.action": fixture.when,
            **more,
        },
        start_time=fixture.start_ns,
        end_time=fixture.end_ns,
        instrumentation_scope=SCOPE,
    )


def _inner_spans(row: Any, part: SpanPart, resource: Resource) -> Iterator[ReadableSpan]:  # noqa: ANN401
    """Return the spans of phases, and those of fixtures below the phase that they ran in."""
    above = context_of(row.trace_id, row.span_id)
    more: Attributes = {NODEID: row.nodeid}
    phases: dict[str, SpanContext] = {}
    for phase in part.phases:
        context = context_of(row.trace_id, derived_id(row.span_id, "phase", phase.when))
        phases[phase.when] = context
        yield _phase_span(phase, context, above, resource, more)
    for fixture in part.fixtures:
        yield fixture_span(fixture, phases.get(_phase_around(fixture, part.phases), above), resource, more)


def _phase_around(fixture: FixtureTimes, phases: Sequence[PhaseTimes]) -> str:
    """Return the phase that a fixture ran in: one that a test asks for while it runs is set up in its call."""
    around = [phase.when for phase in phases if phase.start_ns <= fixture.start_ns <= phase.end_ns]
    return fixture.when if fixture.when in around or not around else around[-1]


def _phase_span(
    phase: PhaseTimes, context: SpanContext, parent: SpanContext, resource: Resource, more: Attributes
) -> ReadableSpan:
    attributes = {"pytest.phase.outcome": phase.outcome, **more} if phase.outcome else more
    return ReadableSpan(
        name=phase.when,
        context=context,
        parent=parent,
        resource=resource,
        attributes=attributes,
        status=Status(StatusCode.ERROR) if phase.outcome == "failed" else _UNSET,
        start_time=phase.start_ns,
        end_time=phase.end_ns,
        instrumentation_scope=SCOPE,
    )


def _conventional(row: Any) -> Attributes:  # noqa: ANN401 - see lines.read_line
    """Return what OpenTelemetry's conventions for tests call facts that columns have under names of ours."""
    found: Attributes = {"test.case.name": row.nodeid}
    if row.service:
        found["test.suite.name"] = row.service
    if row.status in _RESULT_STATUS:
        found["test.case.result.status"] = _RESULT_STATUS[row.status]
    if row.error_message and row.status not in _TROUBLED:
        found[REASON] = row.error_message
    return found


def _exception(row: Any, end_ns: int) -> list[Event]:  # noqa: ANN401 - see lines.read_line
    if row.status not in _TROUBLED:
        return []
    said = {
        "exception.type": row.error_type,
        "exception.message": row.error_message,
        "exception.stacktrace": row.error_stacktrace,
    }
    attributes = {name: text for name, text in said.items() if text}
    return [Event(EXCEPTION_EVENT, attributes, end_ns)] if attributes else []


def _span_events(events: Sequence[Numbered]) -> list[Event]:
    return [_span_event(seq, event.name, event.payload, event.time_ns) for seq, event in events]


def _span_event(seq: int, name: str, payload: dict[str, str], time_ns: int) -> Event:
    return Event(name, attributes_of(seq, payload), time_ns)


def _links(row: Any, session: SpanContext | None) -> Sequence[Link]:  # noqa: ANN401 - see lines.read_line
    is_root = not row.parent_span_id
    return (Link(session),) if is_root and session is not None else ()


def _status(row: Any) -> Status:  # noqa: ANN401 - see lines.read_line
    if row.status not in _TROUBLED:
        return _UNSET
    return Status(StatusCode.ERROR, _first_line(row.error_message) or None)


def _first_line(message: str) -> str:
    """Return the beginning of a message, marked where there is more: all of it is in the exception event."""
    line = message.partition("\n")[0][:_DESCRIPTION_LIMIT]
    return line if line == message else f"{line} …"
