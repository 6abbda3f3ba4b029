"""Makes the span of the running test current in OpenTelemetry's context, for ``--observer-nest``.

Loaded only where something nests: it needs OpenTelemetry's API. No provider is read or set. Nothing is ever
detached by token, because a test may leave contexts of its own behind and OpenTelemetry logs an error for a token
that does not fit; what was current before is made current again.
"""

from __future__ import annotations

from contextvars import Context
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from pytest_test_observer._errors import error_text
from pytest_test_observer._gathered import ungrouped
from pytest_test_observer._nested_ids import NestedIds
from pytest_test_observer._text import storable
from pytest_test_observer._traces import estimated_size

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from pytest_test_observer._extras import Extras
    from pytest_test_observer._ids import SpanIds
    from pytest_test_observer._nested_ids import NestPlan


# Where a context keeps the span that was current before the test's.
_OUTER = contexts.create_key("test-observer-outer")


class RunningTestSpan(trace.NonRecordingSpan):
    """Stands for the test that runs at the moment, whichever that is; for no span while none does.

    Contexts outlive tests: the task in which anyio runs tests keeps the one that it was made with. Spans made
    there belong below the test that runs then, not below the one that made the task.
    """

    def __init__(self) -> None:
        super().__init__(trace.INVALID_SPAN_CONTEXT)
        self.running = trace.INVALID_SPAN_CONTEXT

    def get_span_context(self) -> trace.SpanContext:
        """Return the context of the running test's span."""
        return self.running


class Nest:
    """Has the span of each attempt current while it runs."""

    def __init__(self, plan: NestPlan) -> None:
        self._plan = plan
        self._span = RunningTestSpan()
        self._ids: NestedIds | None = None
        self._nodeid = ""

    def enter(self, item: pytest.Item, occurrence: int, attempt: int) -> SpanIds:
        """Begin an attempt: called before anything of its setup. Returns the ids that its record has to carry."""
        self.leave()
        if self._ids is None:
            self._ids = NestedIds(self._plan, [self._name(one) for one in item.session.items])
        self._nodeid = self._name(item)
        ids = self._ids.test(self._nodeid, occurrence, attempt)
        self._span.running = self._context_of(ids)
        self._make_current()
        if (made_before := _context_of_case(item)) is not None:
            made_before.run(self._make_current)
        return ids

    def leave(self, extras: Extras | None = None) -> None:
        """End the attempt; ``extras`` say what its spans hold. Idempotent."""
        if not self._span.running.is_valid:
            return
        self._span.running = trace.INVALID_SPAN_CONTEXT
        current = contexts.get_current()
        if trace.get_current_span(current) is self._span:
            # Values that the test has left there stay, as they would without us. What was current is read there too:
            # a fixture of the module that ends now restores the context of the test that it began with.
            # It is not there where the program put the test's span into a context of its own.
            outer = contexts.get_value(_OUTER, current)
            span = outer if isinstance(outer, trace.Span) else trace.INVALID_SPAN
            contexts.attach(trace.set_span_in_context(span, current))
        if extras is not None:
            events = extras.events
            payloads = sum(len(key) + len(value) for event in events for key, value in event.payload.items())
            inner = len(extras.phases) + len(extras.fixtures) if self._plan.has_inner_spans else 0
            self._charge(0, len(events), payloads, inner)

    def environment(self) -> dict[str, str]:
        """Return the running test's span as environment variables; empty where the test is not nested."""
        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier, trace.set_span_in_context(self._span, contexts.Context()))
        return {name.upper(): value for name, value in carrier.items()}

    def count_error(self, report: pytest.TestReport) -> None:
        """Count what the text of an error adds to the trace."""
        text = error_text(report)
        self._charge(len(text.message) + len(text.stacktrace))

    def _make_current(self) -> None:
        outer = contexts.get_current()
        if trace.get_current_span(outer) is not self._span:
            marked = contexts.set_value(_OUTER, trace.get_current_span(outer), outer)
            contexts.attach(trace.set_span_in_context(self._span, marked))

    def _charge(self, texts: int, events: int = 0, payloads: int = 0, inner: int = 0) -> None:
        if self._ids is not None:
            size = estimated_size(self._nodeid, texts, events, payloads, inner)
            self._ids.charge(self._nodeid, size - estimated_size(self._nodeid, 0, 0, 0))

    def _name(self, item: pytest.Item) -> str:
        return storable(ungrouped(item.nodeid) if self._plan.grouped else item.nodeid)

    def _context_of(self, ids: SpanIds) -> trace.SpanContext:
        is_of_parent = self._plan.parent is not None and self._plan.parent[0] == ids.trace_id
        state = trace.TraceState.from_header([self._plan.trace_state]) if is_of_parent else None
        return trace.SpanContext(
            int(ids.trace_id, 16),
            int(ids.span_id, 16),
            is_remote=False,
            trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
            trace_state=state,
        )


class NestHooks:
    """Hooks that only nesting needs."""

    def __init__(self, nest: Nest, guard: Callable[..., Any]) -> None:
        self._nest = nest
        self._guard = guard

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """See pytest_runtest_logreport."""
        if report.failed:
            self._guard(self._nest.count_error, report)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Generator[None, object, object]:
        """See pytest_sessionfinish: only here end the fixtures of a test that was interrupted."""
        try:
            return (yield)
        finally:
            self._guard(self._nest.leave)


def _context_of_case(item: pytest.Item) -> Context | None:
    """Return the context in which an asynchronous unittest runs: made with its instance, often while collecting."""
    case = getattr(item.__dict__.get("_obj"), "__self__", None)
    made = getattr(case, "_asyncioTestContext", None)
    return made if isinstance(made, Context) else None
