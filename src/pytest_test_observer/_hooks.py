"""The hooks that observe a session: ``SessionHooks`` where reports arrive, ``CaptureHooks`` where tests run.

Every body hands over to ``Guard``, which keeps three promises: nothing happens in a process that the tested
suite forked, no error of ours reaches the suite, and the first one is reported.
"""

from __future__ import annotations

import os
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from pytest_test_observer._activation import WORKER_KEY, shielded
from pytest_test_observer._allure import install
from pytest_test_observer._capture import Capture
from pytest_test_observer._clock import Clock
from pytest_test_observer._extras import pack
from pytest_test_observer._journal.marks import MASTER_SLOT, MarkWriter
from pytest_test_observer._messages import PREFIX, Outcome, summary, warn
from pytest_test_observer._naming import MASTER
from pytest_test_observer._run import ObservedRun
from pytest_test_observer._selection import Selection
from pytest_test_observer.plugin import CAPTURE

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from pytest_test_observer._nest import Nest
    from pytest_test_observer._opening import Opening
    from pytest_test_observer._settings import Settings

SESSION_NAME = "test_observer_session"
CAPTURE_NAME = "test_observer_capture"
FIXTURES_NAME = "test_observer_fixtures"
NEST_NAME = "test_observer_nest"
FORKED_NAME = "test_observer_forked"


def observe_session(config: pytest.Config, settings: Settings, opening: Opening) -> None:
    """Observe the session of the process that the user started."""
    has_workers = bool(getattr(config.option, "tx", None))
    dist = config.option.dist if has_workers else "no"
    verbose = getattr(config.option, "verbose", 0) > 0  # an option of pytest's terminal plugin, which can be off
    run = ObservedRun(settings, opening, config.rootpath, per_worker=dist == "each", verbose=verbose)
    run.recorder.grouped = dist == "loadgroup"
    hooks = SessionHooks(config, run, settings)
    config.pluginmanager.register(hooks, SESSION_NAME)
    config.add_cleanup(hooks.clean_up)
    hooks.start()
    if not has_workers:
        marks = MarkWriter(run.marks, MASTER_SLOT, MASTER)
        here = _capture(
            config,
            marks,
            keep_events=settings.custom_events,
            detail=_detail(settings),
            selection=run.selection,
            nesting=run.nesting,
        )
        run.recorder.tests_run_here(here.capture)


def observe_worker(config: pytest.Config, worker_input: dict[str, Any]) -> None:
    """Observe the tests that an xdist worker runs; the controller records them."""
    given = worker_input[WORKER_KEY]
    selection = Selection()
    marks = MarkWriter(given["marks"], given["slot"], worker_input["workerid"], grouped=given["grouped"])
    hooks = _capture(
        config,
        marks,
        keep_events=given["events"],
        detail=given["detail"],
        selection=selection,
        nesting={**given["nesting"], "worker": worker_input["workerid"], "slot": given["slot"]},
    )
    config.pluginmanager.register(WorkerHooks(config, hooks, selection), SESSION_NAME)


def _capture(
    config: pytest.Config,
    marks: MarkWriter,
    *,
    keep_events: bool,
    detail: str,
    selection: Selection,
    nesting: dict[str, Any],
) -> CaptureHooks:
    guard = Guard(config)
    config.add_cleanup(lambda: guard(marks.close))
    allure = install(config)
    capture = Capture(
        marks,
        read_allure=allure.meta if allure else None,
        keep_events=keep_events,
        nest=guard(_nest, config, nesting, detail, guard) if nesting["always"] else None,
        load_nest=lambda: _nest(config, nesting, detail, guard),
    )
    hooks = CaptureHooks(guard, capture, selection)
    config.pluginmanager.register(hooks, CAPTURE_NAME)
    if config.pluginmanager.hasplugin("pytest_forked"):
        from pytest_test_observer._forked import ForkedHooks  # noqa: PLC0415 - only beside that plugin

        config.pluginmanager.register(ForkedHooks(hooks), FORKED_NAME)
    if detail == "fixture":
        from pytest_test_observer._fixtures import FixtureHooks  # noqa: PLC0415 - only where it is asked for

        config.pluginmanager.register(FixtureHooks(capture.add_fixture, hooks.guard), FIXTURES_NAME)
    config.stash[CAPTURE] = hooks
    return hooks


def _nest(config: pytest.Config, nesting: dict[str, Any], detail: str, guard: Guard) -> Nest:
    with shielded():
        from pytest_test_observer._nest import Nest, NestHooks  # noqa: PLC0415 - needs OpenTelemetry, few suites do
        from pytest_test_observer._nested_ids import NestPlan  # noqa: PLC0415

    nest = Nest(NestPlan(**nesting, has_inner_spans=detail != "test"))
    config.pluginmanager.register(NestHooks(nest, guard), NEST_NAME)
    return nest


def _detail(settings: Settings) -> str:
    return settings.otlp_detail if settings.otlp else "test"


class Guard:
    """Runs our code inside somebody else's program."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.pid = os.getpid()
        self._getpid = os.getpid  # a suite may replace it
        self.error = ""

    def __call__(self, action: Callable[..., Any], *args: object) -> Any:  # noqa: ANN401 - whatever the action returns
        """Call ``action``; returns None in a foreign process and after an error."""
        if self._getpid() != self.pid:
            return None
        try:
            return action(*args)
        except Exception as error:  # noqa: BLE001 - the suite must not see it, whatever it is
            self.report(error)
            return None

    @property
    def is_home(self) -> bool:
        """Whether this is the process that was configured, not a fork of it."""
        return self._getpid() == self.pid

    def report(self, error: Exception) -> None:
        """Keep the first error, for the end of the session."""
        if self.error:
            return
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        place = f" ({os.path.basename(where.tb_frame.f_code.co_filename)}:{where.tb_lineno})" if where else ""
        self.error = f"an error of the plugin's own: {type(error).__name__}: {error}{place}"


class CaptureHooks:
    """Hooks of the process that runs tests."""

    def __init__(self, guard: Guard, capture: Capture, selection: Selection) -> None:
        self.guard = guard
        self.capture = capture
        self._selection = selection
        self._found = 0
        self._pid, self._getpid = guard.pid, os.getpid
        self._begin, self._ended = capture.begin, capture.ended

    def move_in(self) -> None:
        """Take this process for the one that was configured, of which it is a fork."""
        self.guard.pid = self._pid = self._getpid()

    def add_event(self, name: str, payload: dict[str, str]) -> None:
        """Keep a custom event of the running test."""
        self.guard(self.capture.add_event, name, payload)

    def trace_environment(self) -> dict[str, str]:
        """Return the running test's span as environment variables, empty where it is not nested."""
        return self.guard(self.capture.trace_environment) or {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """See pytest_collection_modifyitems: how many tests there were before anybody dropped some."""
        self._found = len(items)

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """See pytest_deselected."""
        self._selection.deselected += len(items)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """See pytest_collection_finish."""
        self._selection.settle(self._found, len(session.items))
        self.guard(self.capture.collected, session.items)

    # The hooks of every phase of every test do what the guard does themselves: what a call more costs there is felt.

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """See pytest_runtest_setup: an attempt begins."""
        if self._getpid() == self._pid:
            try:
                self._begin(item)
            except Exception as error:  # noqa: BLE001 - as in Guard
                self.guard.report(error)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[Any]) -> None:
        """See pytest_runtest_makereport: what a report will lack is known now; others make the report."""
        if self._getpid() == self._pid:
            try:
                self._ended(item, call)
            except Exception as error:  # noqa: BLE001
                self.guard.report(error)


class WorkerHooks:
    """Hooks of an xdist worker: what it knows goes to the controller."""

    def __init__(self, config: pytest.Config, hooks: CaptureHooks, selection: Selection) -> None:
        self._config = config
        self._guard = hooks.guard
        self._extras_for = hooks.capture.extras_for
        self._selection = selection
        self._pid, self._getpid = self._guard.pid, os.getpid
        self._guard(self._selection.asked_for_part, config)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """See pytest_runtest_logreport: called before xdist sends the report."""
        if self._getpid() == self._pid:
            try:
                pack(report, self._extras_for(report))
            except Exception as error:  # noqa: BLE001 - as in Guard
                self._guard.report(error)

    def pytest_sessionfinish(self) -> None:
        """See pytest_sessionfinish: the worker's last word."""
        if self._guard.is_home:
            plain = {**self._selection.as_plain(), "error": self._guard.error}
            self._config.workeroutput[WORKER_KEY] = plain  # type: ignore[attr-defined] # set by xdist


class SessionHooks:
    """Hooks of the process where reports arrive: pytest itself, or xdist's controller."""

    def __init__(self, config: pytest.Config, run: ObservedRun, settings: Settings) -> None:
        self._config = config
        self._guard = Guard(config)
        self._pid, self._getpid = self._guard.pid, os.getpid
        self._run = run
        self._recorder = run.recorder
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
            "detail": _detail(self._settings),
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
