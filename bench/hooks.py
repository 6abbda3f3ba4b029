"""What our hooks take of each test, without the rest of pytest: the least of many rounds, in microseconds.

Whole runs (``bench.cost``) show what a user pays, but on a shared machine they cannot resolve a microsecond. Here
one real test is run, and its hooks are then called again and again: with our plugins, and without.

usage: python -m bench.hooks [--rounds 30] [--profile]
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

_TESTS_PER_ROUND = 500


class Call(NamedTuple):
    """A hook call as it was recorded."""

    name: str
    arguments: dict[str, Any]


class Reporter:
    """Stands for pytest's own plugins: each hook has implementations without us, and reports are made."""

    def __init__(self) -> None:
        self.reports: dict[str, pytest.TestReport] = {}

    @pytest.hookimpl
    def pytest_runtest_makereport(self, call: pytest.CallInfo[Any]) -> pytest.TestReport:
        """Return the report that pytest made of this phase."""
        return self.reports[call.when]

    def pytest_runtest_setup(self) -> None:
        """Do nothing."""

    def pytest_runtest_call(self) -> None:
        """Do nothing."""

    def pytest_runtest_teardown(self) -> None:
        """Do nothing."""

    def pytest_runtest_logreport(self) -> None:
        """Do nothing."""


class Recording:
    """Remembers the hook calls of one test, then measures what repeating them costs."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._calls: list[Call] = []
        self._reporter = Reporter()

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Remember."""
        self._calls.append(Call("pytest_runtest_setup", {"item": item}))

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        """Remember."""
        self._calls.append(Call("pytest_runtest_call", {"item": item}))

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        """Remember."""
        self._calls.append(Call("pytest_runtest_teardown", {"item": item, "nextitem": None}))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[Any]) -> None:
        """Remember."""
        self._calls.append(Call("pytest_runtest_makereport", {"item": item, "call": call}))

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember."""
        self._calls.append(Call("pytest_runtest_logreport", {"report": report}))
        self._reporter.reports[report.when] = report

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Measure, while the observed session is still open."""
        registered = session.config.pluginmanager.list_name_plugin()
        ours = [plugin for name, plugin in registered if name.startswith("test_observer_")]
        without, with_ours = self._manager([]), self._manager(ours)
        profiler = cProfile.Profile() if self._options.profile else None
        rounds = range(self._options.rounds)
        base = min(self._round(without, None) for _ in rounds)
        cost = min(self._round(with_ours, profiler) for _ in rounds) - base
        hooks = len(self._calls)
        print(f"\n{cost * 1e6:.1f} µs a test in {hooks} hooks, besides {base * 1e6:.1f} µs without us")
        if profiler is not None:
            pstats.Stats(profiler).sort_stats("tottime").print_stats(32)

    def _manager(self, plugins: list[Any]) -> pytest.PytestPluginManager:
        manager = pytest.PytestPluginManager()
        for plugin in [self._reporter, *plugins]:
            manager.register(plugin)
        return manager

    def _round(self, manager: pytest.PytestPluginManager, profiler: cProfile.Profile | None) -> float:
        calls = [(getattr(manager.hook, call.name), call.arguments) for call in self._calls]
        started = time.process_time()
        if profiler is not None:
            profiler.enable()
        for _ in range(_TESTS_PER_ROUND):
            for hook, arguments in calls:
                hook(**arguments)
        if profiler is not None:
            profiler.disable()
        return (time.process_time() - started) / _TESTS_PER_ROUND


def main() -> None:
    """Run one test, observed, with a journal in a temporary directory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "test_one.py").write_text("def test_one():\n    pass\n")
        os.environ.update(
            PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
            XDG_CACHE_HOME=str(directory / "cache"),
            PYTEST_OBSERVER_EXIT_TIMEOUT="0",
        )
        quiet = ["-q", "-s", "-p", "no:cacheprovider", "--disable-warnings"]
        ours = ["-p", "pytest_test_observer.plugin", "--ch-url=127.0.0.1:9"]
        pytest.main([*quiet, *ours, str(directory)], plugins=[Recording(options)])


if __name__ == "__main__":
    main()
