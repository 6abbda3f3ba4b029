"""What our hooks take of each test where they run: between pytest's own, which leave the processor's caches cold.

Whole runs (``bench.cost``) show what a user pays, but on a shared machine they cannot resolve a microsecond. Here each
of our hooks is timed in a real run of trivial tests: the median over the tests, and of some runs the least. What
pytest takes to dispatch the calls comes on top. The same code called in a loop takes a third of it.

usage: python -m bench.hooks [--rounds 5] [--tests 2000] [arguments for pytest, such as --otlp-endpoint=...]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench.cost import write_suite

if TYPE_CHECKING:
    from collections.abc import Callable

_OURS = "test_observer_"
_OF_EACH_TEST = (
    "pytest_runtest_setup",
    "pytest_runtest_call",
    "pytest_runtest_teardown",
    "pytest_runtest_makereport",
    "pytest_runtest_logreport",
    "pytest_fixture_setup",
    "pytest_fixture_post_finalizer",
)
_REPORT = "BENCH_HOOKS_REPORT"


class Timer:
    """A plugin that times the hooks of the plugins whose names begin with ``_OURS``."""

    def __init__(self) -> None:
        self._of_test: dict[str, float] = {}
        self._tests: list[dict[str, float]] = []

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Put a clock around each hook."""
        for name in _OF_EACH_TEST:
            for implementation in getattr(session.config.hook, name).get_hookimpls():
                if implementation.plugin_name.startswith(_OURS) and not implementation.wrapper:
                    implementation.function = self._timed(name, implementation.function)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Say what was measured, in microseconds a test."""
        tests = self._tests[len(self._tests) // 10 :]  # the first ones warm up
        medians = {name: statistics.median(of.get(name, 0.0) for of in tests) * 1e6 for name in tests[0]}
        medians["in all"] = statistics.median(sum(of.values()) for of in tests) * 1e6
        Path(os.environ[_REPORT]).write_text(json.dumps(medians))

    def _timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        now = time.perf_counter

        def timed(*arguments: Any) -> Any:
            if name == "pytest_runtest_setup":
                self._of_test = {}
                self._tests.append(self._of_test)
            started = now()
            try:
                return function(*arguments)
            finally:
                self._of_test[name] = self._of_test.get(name, 0.0) + now() - started

        return timed


def pytest_configure(config: pytest.Config) -> None:
    """Take part in a run that is measured."""
    if _REPORT in os.environ:
        config.pluginmanager.register(Timer())


def measure(suite: Path, directory: Path, arguments: list[str]) -> dict[str, float]:
    """Run pytest once; returns microseconds a test by hook."""
    report = directory / "report.json"
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYT")},
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "XDG_CACHE_HOME": str(directory / "cache"),
        _REPORT: str(report),
    }
    ours = ["-p", "pytest_test_observer.plugin", "-p", "bench.hooks", "--observer-exit-timeout=0", *arguments]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *ours, str(suite)]
    root = Path(__file__).parent.parent
    run = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(run.stdout + run.stderr)
    found: dict[str, float] = json.loads(report.read_text())
    return found


def main() -> None:
    """Measure some runs and print the least of each hook."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tests", type=int, default=2000)
    options, arguments = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        suite = write_suite(directory, options.tests)
        runs = [measure(suite, directory, arguments or ["--ch-url=127.0.0.1:9"]) for _ in range(options.rounds)]
    for hook in runs[0]:
        print(f"{min(run[hook] for run in runs):6.1f} µs  {hook}")


if __name__ == "__main__":
    main()
