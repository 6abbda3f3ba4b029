"""Beside other plugins: they do the same as without us, and we record what they make of the tests.

All of it with warnings as errors. A neighbour that the tested environment does not have is left to ``make
neighbours``, which has all of them.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.kit import TESTED_PYTHON, TESTED_VARIABLE
from tests.verdict_kit import observed_in, wait_until

from .table import NEIGHBOURS, Neighbour

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit import Observed, Run, Workbench
    from tests.servers.client import ClickHouse

OURS = ("-p", "pytest_test_observer.plugin")
# The first run of a new environment compiles all it imports, on a busy machine beside others.
PATIENT = "--observer-exit-timeout=60"
INI = """\
[pytest]
addopts = -ra -v
filterwarnings = error
markers =
    telling: tells what is kept
"""
MODES = {"serial": (), "xdist": ("-p", "xdist", "-n2")}  # before pytest-rerunfailures, which imports it
# What differs between any two runs.
_CHANGING = re.compile(
    r"(?<= in )\d[\d.]*s|0x[0-9a-f]+|=+|\b\d+(?:\.\d+)?(?: m?s|us)\b|~+|\(\d+\)|"
    r'"?(?:created|start|stop|duration|timestamp|uuid|time|hostname|pid)"?(?:=|: ?)"?[\w.:+-]+"?|'
    r"\d\d:\d\d:\d\d|\b\d{4}-\d\d-\d\d[T ][\d:.]*|[0-9a-f]{8}-[0-9a-f-]{27}|&#34;duration&#34;: &#34;[^&]*|"
    r"\d+ ms|Thread-\d+|\d+-MainThread|\d{10,}",
)
_WORKER = re.compile(r"gw\d|\[ *\d+%\] *")
_PRINTED = re.compile(
    r"^(?:test-observer:.*|plugins: .*|test-observer-.*|(?:Slowest|Flaky) tests of this run.*(?:\n  .*)*)\n",
    re.MULTILINE,
)


class Told(NamedTuple):
    """All that a run leaves: exit code, output, reports, and the names of its files."""

    returncode: int
    stdout: str
    stderr: str
    reports: list[str]
    files: list[str]


@functools.cache
def _versions() -> dict[str, str]:
    """Versions of the distributions in the environment whose pytest is tested, by name."""
    code = "from importlib.metadata import *; [print(d.metadata['Name'].lower(), d.version) for d in distributions()]"
    done = subprocess.run([TESTED_PYTHON, "-c", code], capture_output=True, text=True, check=True)
    return dict(line.split() for line in done.stdout.splitlines())


def _have(neighbour: Neighbour) -> None:
    if neighbour.only_below and int(_versions()["pytest"].partition(".")[0]) >= neighbour.only_below:
        pytest.skip(f"pytest {_versions()['pytest']} has no use for {neighbour.package}")
    if neighbour.package not in _versions():
        assert TESTED_VARIABLE not in os.environ, f"{neighbour.package} is missing"
        pytest.skip(f"{neighbour.package} is tested by make neighbours")


def _told(bench: Workbench, neighbour: Neighbour, run: Run, mode: str = "serial") -> Told:
    """Collect what a run left, and remove it."""
    # pytest-html and others take the order of directories; results of Allure have random names
    reports = sorted(
        _CHANGING.sub("", path.read_text()) for name in neighbour.reports for path in bench.suite.glob(name)
    )
    files = sorted(re.sub(r"[0-9a-f-]{36}", "", path.relative_to(bench.suite).as_posix()) for path in _left(bench))
    for path in _left(bench):
        if path.name not in neighbour.suite and path.name != "pytest.ini":
            path.unlink()
    told = Told(run.returncode, _clean(run.stdout), _clean(run.stderr), reports, files)
    return told if mode == "serial" else _in_any_order(told)


def _in_any_order(told: Told) -> Told:
    """Make the same of runs whose two workers took the tests differently."""
    texts = (_WORKER.sub("", text) for text in (told.stdout, told.stderr, *told.reports))
    stdout, stderr, *reports = ("\n".join(sorted(re.split(r"[\n,{}[\]]\s*", text))) for text in texts)
    return told._replace(stdout=stdout, stderr=stderr, reports=sorted(reports))


def _left(bench: Workbench) -> list[Path]:
    # what Hypothesis keeps there are constants out of all modules that are loaded
    return [path for path in bench.suite.rglob("*") if path.is_file() and ".hypothesis" not in path.parts]


def _clean(text: str) -> str:
    return _CHANGING.sub("", _PRINTED.sub("", text))


def _write(bench: Workbench, suite: dict[str, str]) -> None:
    for name, text in {**suite, "pytest.ini": INI}.items():
        (bench.suite / name).write_text(text, encoding="utf-8")


def _outcomes(observed: Observed) -> dict[str, str]:
    """Outcomes of all attempts, as the table of neighbours has them."""
    found: dict[str, list[str]] = {}
    for row in observed.rows("nodeid, outcome, when_phase"):
        outcome = row["outcome"] + ("" if row["when_phase"] == "call" else f":{row['when_phase']}")
        found.setdefault(row["nodeid"].rpartition("::")[2], []).append(outcome)
    return {name: " ".join(outcomes) for name, outcomes in found.items()}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", NEIGHBOURS)
def test_a_neighbour_does_the_same_and_its_tests_are_recorded(
    name: str, mode: str, tmp_path: Path, clickhouse_server: ClickHouse
) -> None:
    neighbour = NEIGHBOURS[name]
    _have(neighbour)
    if mode == "xdist" and TESTED_VARIABLE not in os.environ:
        pytest.skip("make neighbours does it with workers too")
    plugins = [flag for plugin in (neighbour.plugin, *neighbour.also) if plugin for flag in ("-p", plugin)]
    flags = [*MODES[mode], *plugins, *neighbour.flags]
    alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONHASHSEED": "0"}  # Allure's labels are a set
    with observed_in(tmp_path, clickhouse_server) as observed:
        bench = observed.bench
        _write(bench, neighbour.suite)
        # the plugin is there, and off: its fixture is asked for
        without = _told(bench, neighbour, bench.run(*OURS, *flags, env=alone), mode)
        started = time.time()
        run = observed.run(*OURS, *flags, "--custom-events=true", PATIENT, env=alone)
        dies = neighbour.dies and mode == "serial"
        if dies:
            wait_until(lambda: not list(bench.buffers.iterdir()), "the helper to send everything")
        ended = time.time()
        assert _outcomes(observed) == {**neighbour.rows, **(neighbour.with_workers if mode == "xdist" else {})}
        rows = observed.rows("nodeid, markers, attributes, attempt, worker_id, started_at, finished_at, duration")
        events = observed.rows("nodeid, event_name, payload", "pytest_results_events")
    told = _told(bench, neighbour, run, mode)
    for field in Told._fields:  # one after the other: what differs can be read then
        assert getattr(told, field) == getattr(without, field)
    assert without.returncode != 0
    assert run.summary.startswith(f"test-observer: {len(rows)} results sent") or dies
    assert list(bench.buffers.iterdir()) == []
    for row in rows:
        assert started <= row["started_at"] / 1000 + 0.001 <= row["finished_at"] / 1000 + 0.002 <= ended + 0.002, row
        assert row["duration"] < ended - started
    for row in rows:
        if row["nodeid"] == "test_a.py::test_good" and "ticket" in "".join(neighbour.suite.values()):
            assert row["attributes"] == {"ticket": "7"}
            assert row["markers"] == ["telling"]
            assert {"nodeid": row["nodeid"], "event_name": "seen", "payload": {"a": "b"}} in events


def test_all_neighbours_that_load_themselves_at_once(tmp_path: Path, clickhouse_server: ClickHouse) -> None:
    suite = {"test_a.py": NEIGHBOURS["html"].suite["test_a.py"]}
    with observed_in(tmp_path, clickhouse_server) as observed:
        bench = observed.bench
        bench.all_plugins = True
        _write(bench, suite)
        # an order of its own is what pytest-randomly is for; each report of the terminal is then the same
        flags = ["-p", "no:randomly", "-o", "asyncio_default_fixture_loop_scope=function"]
        all_ = NEIGHBOURS["html"]
        without = _told(bench, all_, bench.run(*flags))
        with_us = _told(bench, all_, observed.run(*flags, PATIENT))
        assert _outcomes(observed) == all_.rows
    assert with_us == without
