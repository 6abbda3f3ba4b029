"""Which hooks observe a session or a worker, and the hooks of processes that run tests.

Those of the process where reports arrive are in ``_session_hooks``. The body of each hook hands over to a ``Guard``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from pytest_test_observer._activation import WORKER_KEY, shielded
from pytest_test_observer._allure import install
from pytest_test_observer._capture import Capture
from pytest_test_observer._extras import Packer
from pytest_test_observer._guard import Guard
from pytest_test_observer._journal.marks import MASTER_SLOT, MarkWriter
from pytest_test_observer._naming import MASTER
from pytest_test_observer._run import ObservedRun
from pytest_test_observer._selection import Selection
from pytest_test_observer._session_hooks import SessionHooks
from pytest_test_observer.plugin import CAPTURE

if TYPE_CHECKING:
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
            detail=run.detail,
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
    guard = Guard()
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

    def add_event(self, nodeid: str, name: str, payload: dict[str, str]) -> None:
        """Keep a custom event of a running test."""
        self.guard(self.capture.add_event, nodeid, name, payload)

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
        self._pack = Packer().pack
        self._selection = selection
        self._pid, self._getpid = self._guard.pid, os.getpid
        self._guard(self._selection.asked_for_part, config)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """See pytest_runtest_logreport: called before xdist sends the report."""
        if self._getpid() == self._pid:
            try:
                self._pack(report, self._extras_for(report))
            except Exception as error:  # noqa: BLE001 - as in Guard
                self._guard.report(error)

    def pytest_sessionfinish(self) -> None:
        """See pytest_sessionfinish: the worker's last word."""
        if self._guard.is_home:
            plain = {**self._selection.as_plain(), "error": self._guard.error}
            self._config.workeroutput[WORKER_KEY] = plain  # type: ignore[attr-defined] # set by xdist
