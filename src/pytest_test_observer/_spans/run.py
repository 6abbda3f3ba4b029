"""The spans of a run that are no attempt's: its session, its modules, and fixtures that tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Link, SpanContext

from pytest_test_observer._columns import RUNS
from pytest_test_observer._spans.attempt import fixture_span
from pytest_test_observer._spans.attributes import ScopeMapping
from pytest_test_observer._spans.identity import context_of
from pytest_test_observer._spans.lines import times_of
from pytest_test_observer._spans.resource import SCOPE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.resources import Resource

    from pytest_test_observer._record import ModuleTimes

SESSION_NAME = "pytest session"
# The root of a further trace, where one is full: no row of a run.
CONTINUED_NAME = "pytest session continued"
# Of a module: what its tests have in code.file.path is the same only for modules that are files of their own.
MODULE = "pytest.module"

_run = ScopeMapping(RUNS, "record")


def run_spans(row: Any, resource: Resource, parent: SpanContext | None) -> Iterator[ReadableSpan]:  # noqa: ANN401
    """Return the spans of a line of runs, the session's first; ``parent`` is whoever started the run.

    Raises ValueError for a row whose ids are none.
    """
    start_ns, end_ns = times_of(row)
    session = context_of(row.trace_id, row.span_id)
    attributes = _run.attributes(row)
    if row.service:
        attributes["test.suite.name"] = row.service
    yield ReadableSpan(
        name=SESSION_NAME,
        context=session,
        parent=parent,
        resource=resource,
        attributes=attributes,
        start_time=start_ns,
        end_time=end_ns,
        instrumentation_scope=SCOPE,
    )
    if row.span is None:
        return
    parts: dict[str, list[tuple[int, SpanContext]]] = {"": [(start_ns, session)]}
    for module in row.span.modules:
        context = context_of(module.trace_id, module.span_id)
        parts.setdefault(module.module, []).append((module.start_ns, context))
        yield _module_span(module, context, session, resource)
    for fixture in row.span.fixtures:
        above = _part_at(fixture.start_ns, parts.get(fixture.module) or parts[""])
        yield fixture_span(fixture, above, resource, {MODULE: fixture.module} if fixture.module else {})


def _part_at(time_ns: int, parts: list[tuple[int, SpanContext]]) -> SpanContext:
    """Return the part of a module or of the session that was growing: its first can be as large as a trace may be."""
    return next((context for began_ns, context in reversed(parts) if began_ns <= time_ns), parts[0][1])


def _module_span(module: ModuleTimes, context: SpanContext, session: SpanContext, resource: Resource) -> ReadableSpan:
    return ReadableSpan(
        name=module.module or CONTINUED_NAME,
        context=context,
        resource=resource,
        attributes={MODULE: module.module} if module.module else {},
        links=(Link(session),),
        start_time=module.start_ns,
        end_time=module.end_ns,
        instrumentation_scope=SCOPE,
    )
