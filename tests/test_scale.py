"""What the plugin holds in memory does not grow with the tests; how that is measured."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from bench.peak import VARIABLE, peak_mib, read_peaks
from tests.kit import TESTED_PYTHON
from tests.measure import VARIABLE as MEASURED

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit import Observed

# Counts what our code has allocated while tests ran and holds after 100 of them, and after the last.
CONFTEST = """
import gc, sys, tracemalloc
import pytest

held, ended = [], 0

def look():
    gc.collect()
    filters = [tracemalloc.Filter(True, "*pytest_test_observer*")]
    if sys.version_info < (3, 11):
        filters.append(tracemalloc.Filter(False, "*_extras.py"))  # makes names of pytest's own reports anew there
    ours = tracemalloc.take_snapshot().filter_traces(filters)
    held.append(str(sum(trace.size for trace in ours.traces)))

@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop():
    tracemalloc.start()

def pytest_runtest_logfinish():
    global ended
    ended += 1
    if ended in (100, 500):
        look()

@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session):
    tracemalloc.stop()
    worker = getattr(session.config, "workerinput", {}).get("workerid", "master")
    with open(f"held-{worker}", "w") as file:
        file.write(" ".join(held))
"""
TESTS = 500
HELD_MIB = 200


@pytest.mark.parametrize("mode", [(), ("-n", "1")], ids=["serial", "xdist"])
def test_a_test_that_passed_leaves_nothing_in_memory(
    observed: Observed, mode: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(MEASURED, raising=False)  # what coverage holds of our lines is not ours
    functions = "".join(f"def test_{number}(): pass\n" for number in range(TESTS // 2))
    cases = f"import pytest\n@pytest.mark.parametrize('n', range({TESTS // 2}))\ndef test_case(n): pass\n"
    observed.bench.write(test_a=functions + cases, conftest=CONFTEST)
    run = observed.run(*mode)
    assert run.returncode == 0, run.stdout
    held = {path.name: path.read_text().split() for path in observed.bench.suite.glob("held-*")}
    assert len(held) == (2 if mode else 1)
    more = {name: int(after) - int(before) for name, (before, after) in held.items()}
    assert all(size < (TESTS - 100) * 8 for size in more.values()), more
    assert len(observed.rows("nodeid")) == TESTS


def test_a_peak_is_that_of_a_program_and_not_of_what_started_it(tmp_path: Path) -> None:
    memory = bytearray(HELD_MIB << 20)
    memory[::4096] = b"x" * len(memory[::4096])
    (tmp_path / "test_a.py").write_text("def test_a(): pass\n")
    peaks = tmp_path / "peaks"
    peaks.mkdir()
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), VARIABLE: str(peaks)}
    command = [TESTED_PYTHON, "-m", "pytest", "-q", "-p", "bench.peak", "-n", "1", str(tmp_path)]
    subprocess.run(command, env=env, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    found = read_peaks(peaks)
    assert set(found) == {"master", "gw0"}
    assert all(5 < peak < HELD_MIB for peak in found.values())
    own = peak_mib()
    assert own is not None
    assert own > HELD_MIB
    assert peak_mib(2**22 + 1) is None
