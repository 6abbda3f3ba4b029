"""Turns pytest's reports into records, in the process where the reports arrive.

Reports are gathered by node id, worker, occurrence and attempt, not by order of arrival: those of subtests
can come before that of the setup. An attempt ends with the report of its teardown, with a report that says
``rerun`` once all phases are over (older pytest-rerunfailures logs nothing of that attempt afterwards), or
with the death of its worker.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from pytest_test_observer._clock import Clock
from pytest_test_observer._errors import ErrorText, error_text, type_and_message
from pytest_test_observer._extras import Extras, take
from pytest_test_observer._gathered import Gathered, Location, location_of, ungrouped
from pytest_test_observer._ids import SpanIds
from pytest_test_observer._record import NS_PER_S, AllureMeta, FixtureTimes, PhaseTimes, TestRecord
from pytest_test_observer._secrets import SHORTEST_SECRET
from pytest_test_observer._tally import Identity, Tally
from pytest_test_observer._text import Cover, storable
from pytest_test_observer._traces import Traces, estimated_size, text_bytes
from pytest_test_observer._verdict import PASSED, PHASES, Attempt, Verdict, decide

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pytest

    from pytest_test_observer._ids import Ids

MASTER = "master"
_NO_ALLURE = AllureMeta()
CRASHED = "crashed"


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


def worker_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return the name of the xdist worker that a report comes from, else ``master``."""
    gateway = getattr(getattr(report, "node", None), "gateway", None)
    return str(gateway.id) if gateway is not None else MASTER


class Inner(NamedTuple):
    """What has spans below a test's, by ``otlp_detail``."""

    phases: Sequence[PhaseTimes] = ()
    fixtures: Sequence[FixtureTimes] = ()


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
            allure=facts.extras.allure if facts.extras else AllureMeta(),
            attributes=gathered.attributes,
            events=facts.extras.events if facts.extras else [],
            phases=facts.inner.phases,
            fixtures=facts.inner.fixtures,
        )
        self.tally.count(identity, record)
        return record

    def ordinary(self, key: Key, gathered: Gathered, extras: Extras, inner: Inner) -> TestRecord:
        """Build the record of a first attempt that only passed, and count it: ``record()`` by the shortest way."""
        setup, call, teardown = extras.phases["setup"], extras.phases["call"], extras.phases["teardown"]
        nodeid = storable(key.nodeid)
        start_ns = int(setup.start * NS_PER_S)
        end_ns = max(int(teardown.stop * NS_PER_S), start_ns)
        file, line, function = location_of(gathered.location)
        ids = self.ids
        if ids.scope == "test":
            span, parent_span_id = ids.test(nodeid, 1)
            trace_id, span_id = span
        else:
            size = estimated_size(nodeid, inner=len(inner.phases) + len(inner.fixtures))
            above = self.traces.place(ids.group(nodeid), size, start_ns, end_ns)
            trace_id, parent_span_id = above
            span_id = ids.span_id(nodeid, 1)
        self.tally.count_ordinary()
        return TestRecord(
            nodeid,
            1,
            key.worker,
            start_ns,
            end_ns,
            *PASSED,
            call.duration,
            trace_id,
            span_id,
            parent_span_id,
            setup_duration=setup.duration,
            call_duration=call.duration,
            teardown_duration=teardown.duration,
            markers=extras.markers,
            file=file,
            line=line,
            function=function,
            phases=inner.phases,
            fixtures=inner.fixtures,
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
        return estimated_size(nodeid, texts, len(events), payloads, len(facts.inner.phases) + len(facts.inner.fixtures))

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


class Recorder:
    """Gathers reports and hands each finished attempt to ``sink``.

    ``errors`` is the setting ``observer_errors`` (``full``, ``message`` or ``none``), ``detail`` is ``otlp_detail``
    (``test``, ``phase`` or ``fixture``). ``running`` returns what the dead worker of that name marked down last;
    ``secrets`` are the plugin's own, blacked out in error texts: a test that prints its environment prints ours as
    well. ``grouped`` is ``--dist loadgroup``. ``shared_fixtures`` are those of modules and of the session.
    """

    def __init__(
        self,
        naming: Naming,
        sink: Callable[[TestRecord], None],
        *,
        errors: str = "full",
        detail: str = "test",
        secrets: Sequence[str] = (),
        running: Callable[[str], Running | None] = lambda _worker: None,
    ) -> None:
        self.naming = naming
        self._sink = sink
        self._errors = errors
        self._detail = detail
        self._cover = Cover([secret for secret in secrets if len(secret) >= SHORTEST_SECRET])
        self.shared_fixtures: list[FixtureTimes] = []
        self._running = running
        self._extras_of: Callable[[pytest.TestReport], Extras | None] = take
        self._worker_of: Callable[[pytest.TestReport], str] = worker_of
        self._is_plain = naming.is_plain
        self._is_here = False
        self.grouped = False
        self._latest = Gathered()
        self._open: dict[Key, Gathered] = {}
        self._ended: dict[str, Key] = {}
        self._uncollected: set[str] = set()

    def tests_run_here(self, extras_of: Callable[[pytest.TestReport], Extras | None]) -> None:
        """Expect no worker: the tests run in this process, where ``extras_of`` knows what reports lack."""
        self._extras_of = extras_of
        self._worker_of = lambda _report: MASTER
        self._is_here = True

    def on_report(self, report: pytest.TestReport) -> None:
        """Take in one report; the attempt's record leaves when this was its last."""
        extras = self._extras_of(report)
        gathered = self._latest
        if extras is None or extras is not gathered.extras:
            gathered = self._latest = self._look_up(report, extras)
        if gathered.is_over:
            return
        if "context" in report.__dict__:
            gathered.add_subtest(report)
            return
        gathered.add(report, extras)
        if report.when == "teardown" or (gathered.rerun and (extras is None or extras.complete)):
            self._end(gathered, report, extras)

    def _look_up(self, report: pytest.TestReport, extras: Extras | None) -> Gathered:
        """Find the attempt that a report belongs to; the reports of a process mostly come one after another."""
        if extras is not None and self._is_here:
            gathered = Gathered(self._cover)  # the extras are those of one attempt, from its first report to its last
            gathered.extras = extras
            return gathered
        if report.when not in PHASES:
            if not _was_interrupted(report):
                self._on_crash(report)
            return _OVER
        key = self._key_of(report, extras)
        if key == self._ended.get(key.worker):
            return _OVER  # the teardown of an attempt that its rerun report has ended already
        found = self._open.get(key)
        if found is None:
            found = self._open[key] = Gathered(self._cover)
            found.key = key
        return found

    def _key_of(self, report: pytest.TestReport, extras: Extras | None) -> Key:
        nodeid = ungrouped(report.nodeid) if self.grouped else report.nodeid
        worker = self._worker_of(report)
        if extras:
            return Key(nodeid, worker, extras.occurrence, extras.attempt)
        # Reports without extras come from processes that our hooks keep out of (pytest-forked).
        return Key(nodeid, worker, 1, 1 + getattr(report, "rerun", 0))

    def on_collection_error(self, report: pytest.CollectReport, started_ns: int) -> None:
        """Record what could not be collected; under xdist every worker reports it, one is enough."""
        if report.nodeid in self._uncollected:
            return
        self._uncollected.add(report.nodeid)
        now = Clock.time_ns()
        error_type, error = type_and_message(error_text(report, self._cover))
        facts = Facts(
            start_ns=started_ns,
            end_ns=now,
            location=Location(storable(report.nodeid.partition("::")[0])),
            markers=[],
            error=self._allowed(error),
            error_type=error_type,
        )
        key = Key(report.nodeid, worker_of(report))
        verdict = Verdict("broken", "error", "collect")
        self._sink(self.naming.record(key, verdict, Gathered(), facts))

    def _on_crash(self, report: pytest.TestReport) -> None:
        nodeid = ungrouped(report.nodeid) if self.grouped else report.nodeid
        worker = self._worker_of(report)
        running = self._running(worker)
        if running is None or running.key.nodeid != storable(nodeid):
            running = self._deduce(report, nodeid, worker)
        self._ended[worker] = key = msgspec.structs.replace(running.key, nodeid=nodeid)
        gathered = self._open.pop(key, None)
        self._sink(
            self.naming.crashed(running, self._allowed(error_text(report, self._cover)), Clock.time_ns(), gathered)
        )

    def _deduce(self, report: pytest.TestReport, nodeid: str, worker: str) -> Running:
        """Say from reports alone what a dead worker was at: a remote one has its marks on its own disk."""
        now = Clock.time_ns()
        for key, gathered in self._open.items():
            if key.nodeid == nodeid and key.worker == worker:
                started_ns = gathered.started_ns or now
                return Running(key, gathered.last_started_phase(), started_ns, location_of(gathered.location))
        return Running(Key(nodeid, worker), "setup", now, location_of(report.location))

    def _end(self, gathered: Gathered, report: pytest.TestReport, extras: Extras | None) -> None:
        gathered.is_over = True
        key = gathered.key
        if key is None:
            key = self._key_of(report, extras)
        else:
            del self._open[key]
            self._ended[key.worker] = key
        if gathered.is_ordinary and extras is not None and self._is_ordinary(extras):
            inner = self._inner(gathered, extras) if self._detail != "test" else NO_INNER
            self._sink(self.naming.ordinary(key, gathered, extras, inner))
            return
        gathered.complete(extras)
        verdict = decide(gathered.attempt)
        error_type = _error_type(verdict, extras)
        facts = Facts(
            start_ns=gathered.started_ns,
            end_ns=gathered.ended_ns,
            location=location_of(gathered.location),
            markers=extras.markers if extras else [],
            error=self._allowed(gathered.error(verdict, error_type)),
            error_type=error_type,
            extras=extras,
            inner=self._inner(gathered, extras) if self._detail != "test" else NO_INNER,
            span=extras.span if extras else None,
        )
        self._sink(self.naming.record(key, verdict, gathered, facts))

    def _is_ordinary(self, extras: Extras) -> bool:
        """Whether an attempt that passed has nothing rare about it, so that its record can be made the short way."""
        return (
            self._is_plain
            and extras.attempt == extras.occurrence == 1
            and len(extras.phases) == len(PHASES)
            and not (extras.events or extras.span)
            and extras.allure == _NO_ALLURE
            and not self.naming.tally.anybody_died
        )

    def _inner(self, gathered: Gathered, extras: Extras | None) -> Inner:
        """Return the phases, and the fixtures that only this attempt used; those that tests share wait for the run."""
        fixtures = extras.fixtures if extras else []
        self.shared_fixtures += [times for times in fixtures if times.scope != "function"]
        return Inner(gathered.times(), [times for times in fixtures if times.scope == "function"])

    def _allowed(self, text: ErrorText) -> ErrorText:
        if self._errors == "full":
            return text
        return ErrorText(text.message) if self._errors == "message" else ErrorText()


_OVER = Gathered()
_OVER.is_over = True


def _was_interrupted(report: pytest.TestReport) -> bool:
    """Whether xdist takes ``pytest.exit`` for a crash: a worker that is dead has not said goodbye."""
    return hasattr(getattr(report, "node", None), "workeroutput")


def _error_type(verdict: Verdict, extras: Extras | None) -> str:
    if verdict.status in ("passed", "skipped"):
        return ""
    known = extras.error_types if extras else {}
    return known.get(verdict.when_phase) or "Failed"
