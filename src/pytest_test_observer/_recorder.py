"""Turns pytest's reports into records, in the process where the reports arrive.

Reports are gathered by node id, worker, occurrence and attempt, not by order of arrival: those of subtests
can come before that of the setup. An attempt ends with the report of its teardown, with a report that says
``rerun`` once all phases are over (older pytest-rerunfailures logs nothing of that attempt afterwards), or
with the death of its worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from pytest_test_observer._clock import Clock
from pytest_test_observer._errors import ErrorText, error_text, type_and_message
from pytest_test_observer._extras import Extras, take_from_worker
from pytest_test_observer._gathered import (
    RETRIED,
    Gathered,
    Location,
    is_subtest,
    just_passed,
    location_of,
    times_of,
    ungrouped,
)
from pytest_test_observer._naming import MASTER, NO_ALLURE, NO_INNER, Facts, Inner, Key, Naming, Running
from pytest_test_observer._secrets import SHORTEST_SECRET
from pytest_test_observer._text import Cover, storable
from pytest_test_observer._verdict import PHASES, Verdict, decide

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pytest

    from pytest_test_observer._extras import MeasuredPhase
    from pytest_test_observer._gathered import ItemLocation
    from pytest_test_observer._record import FixtureTimes, TestRecord
    from pytest_test_observer._verdict import Phase


_BEFORE_TEARDOWN = len(PHASES) - 1


def worker_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return the name of the xdist worker that a report comes from, else ``master``."""
    gateway = getattr(getattr(report, "node", None), "gateway", None)
    return str(gateway.id) if gateway is not None else MASTER


class TestsHere(Protocol):
    """What the process that runs tests knows: of the attempt that began last, and of reports."""

    location: ItemLocation | None
    current: Extras
    heard: Extras
    unheard: dict[str, list[Extras]]

    def extras_for(self, report: pytest.TestReport) -> Extras | None:
        """Return what belongs to a report that is about to be logged, None where the report is from elsewhere."""


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
        self._is_lean = detail == "test"
        self._cover = Cover([secret for secret in secrets if len(secret) >= SHORTEST_SECRET])
        self.shared_fixtures: list[FixtureTimes] = []
        self._running = running
        self._extras_of: Callable[[pytest.TestReport], Extras | None] = take_from_worker
        self._worker_of: Callable[[pytest.TestReport], str] = worker_of
        self._is_plain = naming.is_plain
        self._here: TestsHere | None = None
        self.grouped = False
        self._attempt: Extras | None = None
        self._passed: dict[str, pytest.TestReport] | None = None
        self._latest = self._over = _over()
        self._open: dict[Key, Gathered] = {}
        self._ended: dict[str, Key] = {}
        self._uncollected: set[str] = set()
        self._has_foreign = False
        self.on_foreign: Callable[[], object] = lambda: None
        """Called once, at the first report of a test that our hooks were kept away from: ``finished`` matters then."""

    def tests_run_here(self, tests: TestsHere) -> None:
        """Expect no worker: the tests run in this process, where ``tests`` knows what reports lack."""
        self._here = tests
        self._extras_of = tests.extras_for
        self._worker_of = lambda _report: MASTER

    def on_report(self, report: pytest.TestReport) -> None:
        """Take in one report; the attempt's record leaves when this was its last."""
        # Nearly all attempts only pass. As long as nothing else is heard of one, its reports are just kept.
        here = self._here
        if here is not None and report.location is here.location and just_passed(report) and not here.unheard:
            extras = here.current
            if extras is not self._attempt:
                self._attempt = here.heard = extras
                self._passed = {}
            passed = self._passed
            if passed is not None:
                when = report.when
                if when != "teardown":
                    passed[when] = report
                    return
                if len(passed) == _BEFORE_TEARDOWN and self._is_ordinary(extras):
                    self._passed = None
                    self._latest, self._over.extras = self._over, extras
                    inner = NO_INNER if self._is_lean else self._inner(extras, extras.phases)
                    self._sink(self.naming.ordinary(report.nodeid, MASTER, here.location, extras, inner))
                    return
        self._gather_kept(report)

    def _gather_kept(self, report: pytest.TestReport) -> None:
        """Take in a report that says more than that a phase passed, after those of its attempt that did not."""
        extras = self._extras_of(report)
        kept = self._passed if extras is self._attempt else None
        self._attempt, self._passed = extras, None
        for earlier in kept.values() if kept else ():
            self._gather(earlier, extras)
        self._gather(report, extras)

    def _gather(self, report: pytest.TestReport, extras: Extras | None) -> None:
        gathered = self._latest
        if extras is None or extras is not gathered.extras:
            gathered = self._latest = self._look_up(report, extras)
        if gathered.is_over:
            return
        if is_subtest(report):
            gathered.add_subtest(report)
            return
        gathered.add(report, extras)
        is_last = report.when == "teardown" or report.outcome == RETRIED
        if is_last or (gathered.rerun and (extras is None or extras.complete)):
            self._end(gathered, extras)

    def _look_up(self, report: pytest.TestReport, extras: Extras | None) -> Gathered:
        """Find the attempt that a report belongs to; the reports of a process mostly come one after another."""
        # those of a test that runs here are its attempt's, from the first report to the last
        known = extras if self._here is not None else None
        if known is None and report.when not in PHASES:
            if not _was_interrupted(report):
                self._on_crash(report)
            return self._over
        key = self._key_of(report, extras)
        if known is None and key == self._ended.get(key.worker):
            return self._over  # the teardown of an attempt that its rerun report has ended already
        found = self._open.get(key)
        if found is None or (known is not None and found.extras is not known):
            found = self._open[key] = Gathered(self._cover)
            found.key, found.extras = key, known
        if extras is None and not self._has_foreign:
            self._has_foreign = True
            self.on_foreign()
        return found

    def finished(self, nodeid: str) -> None:
        """Take in that a test is over: plugins that run it elsewhere may report nothing of it but its call."""
        nodeid = ungrouped(nodeid) if self.grouped else nodeid
        over = [g for key, g in self._open.items() if key.nodeid == nodeid and g.extras is None and g.is_decided]
        for gathered in over:
            self._end(gathered, None)

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
        key = msgspec.structs.replace(running.key, nodeid=nodeid)
        if key == self._ended.get(worker):  # died after its last report, where xdist has not seen the end of it yet
            key = msgspec.structs.replace(key, attempt=key.attempt + 1)
            running = running._replace(key=key, start_ns=Clock.time_ns(), span=None)
        self._ended[worker] = key
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

    def _end(self, gathered: Gathered, extras: Extras | None) -> None:
        gathered.is_over = True
        key = gathered.key
        if key is None:
            return  # what stands for an attempt that is over
        del self._open[key]
        self._ended[key.worker] = key
        if gathered.is_ordinary and extras is not None and self._is_ordinary(extras):
            inner = self._inner(extras, extras.phases)
            self._sink(self.naming.ordinary(key.nodeid, key.worker, gathered.location, extras, inner))
            return
        gathered.complete(extras)
        verdict = decide(gathered.attempt)
        error_type = _error_type(verdict, extras)
        facts = Facts(
            start_ns=gathered.started_ns or Clock.time_ns(),  # who makes up a report may say nothing of its times
            end_ns=gathered.ended_ns or Clock.time_ns(),
            location=location_of(gathered.location),
            markers=extras.markers if extras else [],
            error=self._allowed(gathered.error(verdict, error_type)),
            error_type=error_type,
            extras=extras,
            inner=self._inner(extras, gathered.phases),
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
            and (extras.allure is NO_ALLURE or extras.allure == NO_ALLURE)
            and not self.naming.tally.anybody_died
        )

    def _inner(self, extras: Extras | None, phases: Mapping[str, Phase | MeasuredPhase]) -> Inner:
        """Return the phases, and the fixtures that only this attempt used; those that tests share wait for the run."""
        if self._is_lean:
            return NO_INNER
        fixtures = extras.fixtures if extras else []
        own = [times for times in fixtures if times.scope == "function"]
        shared = [times for times in fixtures if times.scope != "function"]
        self.shared_fixtures += shared
        return Inner(times_of(phases), own, len(shared))

    def _allowed(self, text: ErrorText) -> ErrorText:
        if self._errors == "full":
            return text
        return ErrorText(text.message) if self._errors == "message" else ErrorText()


def _over() -> Gathered:
    """Return what stands for an attempt that has ended: more reports of it change nothing."""
    over = Gathered()
    over.is_over = True
    return over


def _was_interrupted(report: pytest.TestReport) -> bool:
    """Whether xdist takes ``pytest.exit`` for a crash: a worker that is dead has not said goodbye."""
    return hasattr(getattr(report, "node", None), "workeroutput")


def _error_type(verdict: Verdict, extras: Extras | None) -> str:
    if verdict.status in ("passed", "skipped"):
        return ""
    known = extras.error_types if extras else {}
    return known.get(verdict.when_phase) or "Failed"
