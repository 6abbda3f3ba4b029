"""Kills pytest, its helper or both at any moment, and finds out what was lost or doubled.

Of use to the tests, which do it a few times, and to ``bench/faults.py``, which does it often.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.kit import Observed, Workbench

TESTS = 200
# The side files are written by means of the suite's own, so that they do not share a fault with what they
# check: a test is in ``entered`` once its body began, in ``finished`` once all hooks for its last report have
# returned.
CONFTEST = """
import os, pytest
def note(name, nodeid):
    fd = os.open(os.path.join(os.path.dirname(__file__), name), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, nodeid.encode() + b"\\n")
    os.close(fd)
@pytest.fixture(autouse=True)
def entered(request):
    note("entered", request.node.nodeid)
@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report):
    if report.when == "teardown":
        note("finished", report.nodeid)
"""
SUITE = f"""
import time, pytest
@pytest.mark.parametrize("number", range({TESTS}))
def test_one(number):
    time.sleep(0.003)
"""
# An orphan ends within 30 s; the rest is for a loaded machine.
ORPHAN_SECONDS = 40


def suite(bench: Workbench) -> None:
    """Write the suite that is killed."""
    bench.write(test_k=SUITE, conftest=CONFTEST)


def wait_until(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Wait for a condition, and fail after a while."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.005)


def relatives(bench: Workbench) -> Iterator[int]:
    """Yield the processes that belong to a bench: pytest, its workers and its helpers, by their environment."""
    mark = f"XDG_CACHE_HOME={bench.cache}".encode()
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if not name.isdigit():
                continue
            with open(f"/proc/{name}/environ", "rb") as file:
                if mark in file.read().split(b"\0"):
                    yield int(name)


def helpers(bench: Workbench, *others: int) -> list[int]:
    """Return the helpers of a bench's runs; ``others`` are processes that are none."""
    found = []
    for pid in relatives(bench):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
            if b"_shipper.helper" in file.read() and pid not in others:
                found.append(pid)
    return found


def is_left_alone(bench: Workbench) -> bool:
    """Whether no process of a bench runs any more."""
    return not list(relatives(bench))


def kill(*pids: int) -> None:
    """Kill processes as nothing can prevent."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def noted(bench: Workbench, name: str) -> list[str]:
    """Return the lines of a side file, but for one that was cut off."""
    path = bench.suite / name
    return path.read_text().split("\n")[:-1] if path.exists() else []


def kill_at(bench: Workbench, process: subprocess.Popen[str], seconds: float, *, helper_too: bool) -> None:
    """Kill pytest, or both it and its helper, so many seconds after its first test, and wait for all to end.

    A negative number means so many seconds after the start of pytest instead.
    """
    if seconds > 0:
        wait_until(lambda: process.poll() is not None or noted(bench, "entered"), "tests run")
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(abs(seconds))
    kill(process.pid, *(helpers(bench, process.pid) if helper_too else ()))
    stdout, stderr = process.communicate()
    assert process.returncode in (0, -signal.SIGKILL), stdout + stderr
    if helper_too:  # one that had not been there yet
        kill(*helpers(bench))
    wait_until(lambda: is_left_alone(bench), "the helper ends", ORPHAN_SECONDS)


def replay(observed: Observed) -> subprocess.CompletedProcess[str]:
    """Send what is on disk to the server of ``observed``."""
    return subprocess.run(
        [sys.executable, "-m", "pytest_test_observer.replay", *observed.flags],
        env=observed.bench.environment({**observed.env, "TMPDIR": str(observed.bench.suite.parent)}),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


class Found(NamedTuple):
    """What a server has of one killed run."""

    rows: list[dict[str, Any]]
    runs: list[dict[str, Any]]


def stored(observed: Observed) -> Found:
    """Return what the server has; nothing where a run never came to its tables."""
    tables = {name for (name,) in observed.server.query("SHOW TABLES", database=observed.database)}
    rows = observed.rows("nodeid, outcome") if "pytest_results" in tables else []
    runs = (
        observed.rows("status, exit_status", "pytest_results_runs", "run_id") if "pytest_results_runs" in tables else []
    )
    return Found(rows, runs)


def problems(bench: Workbench, found: Found) -> list[str]:
    """Say what was lost, doubled or told wrong; empty when all is as it should be."""
    outcomes: dict[str, list[str]] = {}
    for row in found.rows:
        outcomes.setdefault(row["nodeid"], []).append(row["outcome"])
    finished, entered = set(noted(bench, "finished")), noted(bench, "entered")
    wrong = [f"lost: {nodeid}" for nodeid in entered if nodeid not in outcomes]
    wrong += [f"doubled: {nodeid} {of}" for nodeid, of in outcomes.items() if len(of) > 1]
    wrong += [
        f"finished, but {of}: {nodeid}" for nodeid, of in outcomes.items() if nodeid in finished and of != ["passed"]
    ]
    crashed = Counter(outcome for of in outcomes.values() for outcome in of)["crashed"]
    if crashed > 1:
        wrong.append(f"{crashed} tests crashed at once")
    if entered and len(found.runs) != 1:
        wrong.append(f"{len(found.runs)} runs")
    if crashed and [run["status"] for run in found.runs] != ["aborted"]:
        wrong.append(f"the run is told as {found.runs}")
    return wrong
