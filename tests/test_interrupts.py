"""Ctrl-C and pytest.exit: the interrupted test has no row, and the run says that it is not complete."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.kit import Run
from tests.verdict_kit import PASSED, Finished, finished, wait_until

if TYPE_CHECKING:
    from tests.kit import Observed

WAITING = """
    import pathlib, pytest, time

    HERE = pathlib.Path(__file__).parent

    def wait():
        (HERE / "ready").touch()
        time.sleep(60)

    @pytest.fixture
    def slow_setup(): wait()

    @pytest.fixture
    def slow_teardown():
        yield
        wait()

    def test_before(): pass
    def test_setup(slow_setup): pass
    def test_call(): wait()
    def test_teardown(slow_teardown): pass
    def test_after(): pass
"""

# "reported": a report that is still on its way from a worker when the interrupt comes is lost with it.
SECOND_INTERRUPT = """
    import os, pathlib, pytest, signal

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(report):
        if report.when == "teardown" and "PYTEST_XDIST_WORKER" not in os.environ:
            (pathlib.Path(__file__).parent / "reported").touch()

    def pytest_keyboard_interrupt():
        os.kill(os.getpid(), signal.SIGINT)
"""

LEAVING = """
    import pytest

    @pytest.fixture
    def leaving(): pytest.exit("enough"{code})

    def test_before(): pass
    def test_call(): pytest.exit("enough"{code})
    def test_setup(leaving): pass
    def test_after(): pass
"""


def _interrupted(observed: Observed, *arguments: str, signs: tuple[str, ...] = ("ready",)) -> Finished:
    process = observed.start(*arguments, start_new_session=True)
    paths = [observed.bench.suite / sign for sign in signs]
    wait_until(lambda: all(path.exists() for path in paths) or process.poll() is not None, "the slow test")
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    return finished(observed, Run(process.returncode, stdout, stderr))


@pytest.mark.parametrize("phase", ["setup", "call", "teardown"])
def test_ctrl_c_leaves_the_interrupted_test_without_a_row(observed: Observed, phase: str) -> None:
    observed.bench.write(test_a=WAITING)
    done = _interrupted(observed, "-k", f"before or {phase} or after")
    assert done.run.returncode == pytest.ExitCode.INTERRUPTED
    assert done.verdicts == {"test_before": [PASSED]}
    assert (done.session["status"], done.session["exit_status"], done.session["not_run"]) == ("aborted", 2, 2)
    assert "2 collected tests not run" in done.run.summary


def test_ctrl_c_under_xdist_leaves_the_interrupted_test_without_a_row(observed: Observed) -> None:
    observed.bench.write(test_a=WAITING)
    done = _interrupted(observed, "-n2", "-k", "before or call or after")
    assert "test_call" not in done.verdicts
    assert done.session["status"] == "aborted"
    assert done.session["not_run"] == 3 - len(done.rows) > 0


@pytest.mark.parametrize("flags", [(), ("-n2",)], ids=["serial", "xdist"])
def test_a_second_ctrl_c_does_not_make_the_run_a_success(observed: Observed, flags: tuple[str, ...]) -> None:
    observed.bench.write(test_a=WAITING, conftest=SECOND_INTERRUPT)
    done = _interrupted(observed, "-k", "before or call", *flags, signs=("ready", "reported"))
    assert done.run.returncode == -signal.SIGINT
    assert done.verdicts == {"test_before": [PASSED]}
    assert (done.session["status"], done.session["not_run"]) == ("aborted", 1)


@pytest.mark.parametrize(("phase", "code"), [("setup", ""), ("call", ", returncode=0")], ids=["setup", "zero"])
def test_pytest_exit_aborts_the_run_whatever_code_it_gives(observed: Observed, phase: str, code: str) -> None:
    observed.bench.write(test_a=LEAVING.format(code=code))
    done = finished(observed, observed.run("-k", f"before or {phase} or after"))
    assert done.run.returncode == (0 if code else 2)
    assert done.verdicts == {"test_before": [PASSED]}
    assert (done.session["status"], done.session["not_run"]) == ("aborted", 2)


@pytest.mark.parametrize("phase", ["setup", "call"])
def test_pytest_exit_in_a_worker_is_no_crash(observed: Observed, phase: str) -> None:
    observed.bench.write(test_a=LEAVING.format(code=""))
    done = finished(observed, observed.run("-n2", "-k", f"before or {phase} or after"))
    assert f"test_{phase}" not in done.verdicts
    assert done.session["status"] == "aborted"
    assert done.session["not_run"] == 3 - len(done.rows) > 0
