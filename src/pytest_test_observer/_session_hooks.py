"""The hooks of the process where reports arrive: pytest itself, or xdist's controller."""

from __future__ import annotations

import os
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from pytest_test_observer._activation import WORKER_KEY
from pytest_test_observer._clock import Clock
from pytest_test_observer._guard import Guard
from pytest_test_observer._journal.marks import MASTER_SLOT
from pytest_test_observer._messages import PREFIX, Outcome, summary, warn

FINISHED_NAME = "test_observer_finished"

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from pytest_test_observer._run import ObservedRun
    from pytest_test_observer._settings import Settings


class FinishedHooks:
    """Says when no more reports of a test will come: registered where some tests run out of reach of our hooks."""

    def __init__(self, guard: Guard, finished: Callable[[str], None]) -> None:
        self._guard = guard
        self._finished = finished

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """See pytest_runtest_logfinish."""
        self._guard(self._finished, nodeid)


class SessionHooks:
    """Begins and ends a run, hands reports to its recorder, and tells workers what they have to know."""

    def __init__(self, config: pytest.Config, run: ObservedRun, settings: Settings) -> None:
        self._config = config
        self._guard = Guard()
        self._pid, self._getpid = self._guard.pid, os.getpid
        self._run = run
        self._recorder = recorder = run.recorder
        recorder.on_foreign = lambda: config.pluginmanager.register(
            FinishedHooks(self._guard, recorder.finished), FINISHED_NAME
        )
        self._settings = settings
        self._collecting_since_ns = 0
        self._begun = False
        self._finished = False
        self._printed = False
        self._outcome: Outcome | None = None
        self._worker_error = ""
        self._alive: set[str] = set()
        self._slots = count(MASTER_SLOT + 1)

    def start(self) -> None:
        """Start the helper: it loads while pytest configures itself and collects."""
        self._guard(self._run.start)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """See pytest_collection."""
        self._guard(self._begin)

    def pytest_collectstart(self) -> None:
        """See pytest_collectstart."""
        self._collecting_since_ns = Clock.time_ns()

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """See pytest_collectreport: what cannot be collected is a result too."""
        if report.failed:
            since = self._collecting_since_ns or Clock.time_ns()
            self._guard(self._run.recorder.on_collection_error, report, since)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """See pytest_collection_finish; xdist's controller collects nothing and does not call it."""
        self._guard(self._collected, len(session.items))

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:  # noqa: ANN401 - xdist has no public type for it
        """See xdist's pytest_configure_node: what a worker has to know."""
        node.workerinput[WORKER_KEY] = {
            "marks": self._run.marks,
            "slot": next(self._slots),
            "events": self._settings.custom_events,
            "detail": self._run.detail,
            "grouped": self._run.recorder.grouped,
            "nesting": self._nesting_on(node.workerinput["workercount"]),
        }
        self._alive.add(node.gateway.id)
        self._run.selection.workers = max(self._run.selection.workers, len(self._alive))

    def _nesting_on(self, workers: int) -> dict[str, Any]:
        copies = workers if self._config.option.dist == "each" else 1
        return {**self._run.nesting, "workers": workers, "copies": copies}

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """See xdist's pytest_xdist_node_collection_finished: called for each worker."""
        if not self._run.selection.collected:
            copies = self._run.selection.workers if self._config.option.dist == "each" else 1
            self._guard(self._collected, len(ids) * copies)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:  # noqa: ANN401 - xdist has no public type for it
        """See xdist's pytest_testnodedown: called twice for a worker that was interrupted."""
        self._alive.discard(node.gateway.id)
        said = getattr(node, "workeroutput", {}).get(WORKER_KEY, {})
        self._guard(self._run.selection.add_worker, said)
        self._worker_error = self._worker_error or said.get("error", "")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """See pytest_runtest_logreport: before other reporters, so that none of them sees our attribute."""
        if self._getpid() == self._pid:
            try:
                self._recorder.on_report(report)
            except Exception as error:  # noqa: BLE001 - as in Guard
                self._guard.report(error)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """See pytest_sessionfinish: sending goes on while the other plugins finish."""
        self._guard(self._run.flush)
        try:
            return (yield)
        finally:
            if session.shouldstop or session.shouldfail:
                self._run.selection.is_partial = True
            self._guard(self._finish, int(session.exitstatus))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> Generator[None, object, object]:
        """See pytest_terminal_summary: after the sections of the others, before pytest's last line."""
        try:
            return (yield)
        finally:
            self._guard(self._print, terminalreporter.write_line)

    def pytest_unconfigure(self) -> None:
        """See pytest_unconfigure: where there is no terminal summary, the line still is."""
        self.clean_up()

    def clean_up(self) -> None:
        """Leave nothing behind, however the session ended."""
        if self._begun and not self._finished:
            self._guard(self._finish, 3)
        if not self._begun:
            self._guard(self._run.abandon)
        self._guard(self._print, print)

    def _begin(self) -> None:
        self._run.selection.asked_for_part(self._config)
        self._run.begin()
        self._begun = True

    def _collected(self, collected: int) -> None:
        self._run.selection.collected = collected
        self._run.collected()
        self._run.reap()

    def _finish(self, exit_status: int) -> None:
        if not self._begun:
            return
        self._finished = True
        outcome = self._with_errors(self._run.finish(exit_status))
        if outcome.needs_attention:
            warn(self._config, summary(outcome))
        self._outcome = outcome

    def _with_errors(self, outcome: Outcome) -> Outcome:
        errors = tuple(error for error in (self._guard.error, self._worker_error) if error)
        return outcome._replace(notes=(*outcome.notes, *errors))

    def _print(self, write: Callable[[str], object]) -> None:
        if self._printed:
            return
        if self._outcome is not None:
            line = "\n".join([*self._run.highlights(), summary(self._outcome)])
        elif self._guard.error:
            line = f"{PREFIX} the results of this run are not complete: {self._guard.error}."
        else:
            return  # there was no run, or it is not over
        self._printed = True
        write(line)
