"""Numbers attempts and names their spans: from what is known of an attempt to its record."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from pytest_test_observer._gathered import Gathered, Location, parts_of
from pytest_test_observer._ids import SpanIds
from pytest_test_observer._record import NS_PER_S, AllureMeta, FixtureTimes, OrdinaryRecord, PhaseTimes, TestRecord
from pytest_test_observer._tally import Identity, Tally
from pytest_test_observer._text import storable
from pytest_test_observer._traces import Traces, estimated_size, text_bytes
from pytest_test_observer._verdict import Attempt, Verdict, decide

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_test_observer._errors import ErrorText
    from pytest_test_observer._extras import Extras
    from pytest_test_observer._gathered import ItemLocation
    from pytest_test_observer._ids import Ids

MASTER = "master"
CRASHED = "crashed"
NO_ALLURE = AllureMeta()


class Key(msgspec.Struct, frozen=True):
    """What tells one attempt from another while its reports arrive; ``attempt`` counts within ``worker``."""

    nodeid: str
    worker: str
    occurrence: int = 1
    attempt: int = 1


class Running(NamedTuple):
    """The test that a process was at when it died: as that process marked it down, or deduced."""

    key: Key
    phase: str
    start_ns: int
    location: Location = Location()
    markers: tuple[str, ...] = ()
    span: SpanIds | None = None


def nested_identity(key: Key) -> Identity:
    """Return what names a span that is current while its test runs: nothing that only the controller knows."""
    return Identity(storable(key.nodeid), key.occurrence, "" if key.worker == MASTER else key.worker)


class Inner(NamedTuple):
    """What has spans below a test's, by ``otlp_detail``; ``shared`` counts those of fixtures that it does not own.

    They stand beside the test's, in its trace.
    """

    phases: Sequence[PhaseTimes] = ()
    fixtures: Sequence[FixtureTimes] = ()
    shared: int = 0

    @property
    def spans(self) -> int:
        """How many spans of the trace they are."""
        return len(self.phases) + len(self.fixtures) + self.shared


NO_INNER = Inner()


class Naming:
    """Numbers attempts and names their spans: the same in the controller, in the helper and in replay.

    ``per_worker`` is true where each worker runs the whole suite (``--dist each``), ``nested`` where the processes
    that run tests name their spans themselves (``--observer-nest``).
    """

    def __init__(self, ids: Ids, *, per_worker: bool = False, nested: bool = False) -> None:
        self.ids = ids
        self.tally = Tally()
        self.traces = Traces(ids)
        self._per_worker = per_worker
        self._nested = nested
        self.is_plain = not (per_worker or nested)
        """Whether a node id and the number of an attempt are all that names a span."""

    def identity(self, key: Key) -> Identity:
        """Return what all attempts of a test share."""
        return Identity(storable(key.nodeid), key.occurrence, key.worker if self._per_worker else "")

    def record(self, key: Key, verdict: Verdict, gathered: Gathered, facts: Facts) -> TestRecord:
        """Build the record of an attempt and count it."""
        ids = self.ids
        identity = self.identity(key)
        attempt = self.tally.number(identity, key.attempt)
        end_ns = max(facts.end_ns, facts.start_ns)
        span = self._span_of(key, identity, attempt, gathered, facts)
        self.traces.stretch(ids.group(identity.nodeid), span.above, facts.start_ns, end_ns)
        ran = "call" if "call" in gathered.phases else verdict.when_phase
        record = TestRecord(
            nodeid=identity.nodeid,
            attempt=attempt,
            worker_id=key.worker,
            start_ns=facts.start_ns,
            end_ns=end_ns,
            status=verdict.status,
            outcome=verdict.outcome,
            when_phase=verdict.when_phase,
            duration=gathered.duration(ran),
            trace_id=span.trace_id,
            span_id=span.span_id,
            parent_span_id=span.parent_span_id,
            flaky=verdict.status == "passed" and self.tally.is_troubled(identity),
            setup_duration=gathered.duration("setup"),
            call_duration=gathered.duration("call"),
            teardown_duration=gathered.duration("teardown"),
            markers=facts.markers,
            file=facts.location.file,
            line=facts.location.line,
            function=facts.location.function,
            error_type=facts.error_type,
            error_message=facts.error.message,
            error_stacktrace=facts.error.stacktrace,
            allure=facts.extras.allure if facts.extras else NO_ALLURE,
            attributes=gathered.attributes,
            events=facts.extras.events if facts.extras else [],
            phases=facts.inner.phases,
            fixtures=facts.inner.fixtures,
        )
        self.tally.count(identity, record)
        return record

    def ordinary(
        self, nodeid: str, worker: str, place: ItemLocation | None, extras: Extras, inner: Inner
    ) -> OrdinaryRecord:
        """Build the record of a first attempt that only passed, and count it: ``record()`` by the shortest way."""
        phases = extras.phases
        setup, call, teardown = phases["setup"], phases["call"], phases["teardown"]
        if not nodeid.isascii():
            nodeid = storable(nodeid)
        start_ns, end_ns = int(setup.start * NS_PER_S), int(teardown.stop * NS_PER_S)
        if end_ns < start_ns:  # noqa: PLR1730 - a call of max() is felt here
            end_ns = start_ns
        file, line, function = parts_of(place) if place else Location()
        ids = self.ids
        if ids.scope == "test":
            (trace_id, span_id), parent_span_id = ids.test(nodeid, 1)
        else:
            spans_below = 0 if inner is NO_INNER else inner.spans
            trace_id, parent_span_id = self.traces.place(nodeid, spans_below, start_ns, end_ns)
            span_id = ids.span_id(nodeid, 1)
        self.tally.ordinary += 1
        return OrdinaryRecord(
            nodeid,
            1,
            worker,
            start_ns,
            end_ns,
            "passed",
            "passed",
            "call",
            call.duration,
            trace_id,
            span_id,
            parent_span_id,
            False,
            setup.duration,
            call.duration,
            teardown.duration,
            extras.markers,
            file,
            line,
            function,
            inner.phases,
            inner.fixtures,
        )

    def _span_of(self, key: Key, identity: Identity, attempt: int, gathered: Gathered, facts: Facts) -> SpanIds:
        """Name the span of an attempt, in the trace of its scope that still has room for it."""
        ids, part = self.ids, 0
        if ids.scope != "test":
            part = self.traces.part_for(ids.group(identity.nodeid), self._size(identity.nodeid, gathered, facts))
        if facts.span is not None:
            return facts.span
        if self._nested:  # its process died and left no mark here
            identity, attempt = nested_identity(key), key.attempt
        span, parent_span_id = ids.test(identity.nodeid, attempt, identity.distinction, part)
        return SpanIds(span.trace_id, span.span_id, parent_span_id)

    def _size(self, nodeid: str, gathered: Gathered, facts: Facts) -> int:
        """Return about how large the spans of an attempt are."""
        extras, texts, payloads = facts.extras, 0, 0
        if facts.error.message or facts.error.stacktrace:
            texts += text_bytes((facts.error.message, facts.error.stacktrace))
        if gathered.attributes:
            texts += text_bytes(chain.from_iterable(gathered.attributes.items()))
        if extras and (extras.allure.labels or extras.allure.links or extras.allure.title):
            texts += text_bytes(extras.allure.texts())
        events = extras.events if extras else []
        for event in events:
            payloads += text_bytes((event.name, *chain.from_iterable(event.payload.items())))
        return estimated_size(nodeid, texts, len(events), payloads, facts.inner.spans)

    def crashed(
        self, running: Running, error: ErrorText, noticed_ns: int, gathered: Gathered | None = None
    ) -> TestRecord:
        """Build the record of a test whose process died: it ends when the death was noticed."""
        gathered = gathered or Gathered()
        facts = Facts(
            start_ns=running.start_ns,
            end_ns=noticed_ns,
            location=running.location,
            markers=list(running.markers),
            error=error,
            error_type=CRASHED,
            span=running.span,
        )
        return self.record(running.key, decide(Attempt({}, crashed=running.phase)), gathered, facts)


class Facts(msgspec.Struct, frozen=True):
    """What a record takes from elsewhere than the phases of its attempt."""

    start_ns: int
    end_ns: int
    location: Location
    error: ErrorText
    markers: list[str]
    error_type: str = ""
    extras: Extras | None = None
    inner: Inner = NO_INNER
    span: SpanIds | None = None
