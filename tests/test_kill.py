"""Death at any moment: each finished test is there exactly once, and the one that was running as crashed.

``bench/faults.py`` does the same 25 times in each of the four ways.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_test_observer._destinations.clickhouse import ClickHouseDestination, ClickHouseSettings
from pytest_test_observer._journal.files import JournalFiles
from pytest_test_observer._journal.reader import JournalReader
from pytest_test_observer._shipper.ship import Shipper
from tests.killing import (
    TESTS,
    helpers,
    is_left_alone,
    kill,
    kill_at,
    noted,
    problems,
    replay,
    stored,
    suite,
    wait_until,
)
from tests.kit import Observed, Run
from tests.servers.faulty import faulty

if TYPE_CHECKING:
    from tests.servers.client import ClickHouse

SEED = int(os.environ.get("KILL_SEED") or random.randrange(10**6))
# The tests of the suite take this many seconds on an idle machine.
_LONGEST = 1.0


@pytest.mark.parametrize("victims", ["pytest", "pytest and its helper"])
@pytest.mark.parametrize(("server", "number"), [("up", 1), ("up", 2), ("down", 1)])
def test_a_kill_at_any_moment_loses_and_doubles_nothing(
    observed: Observed, server: str, victims: str, number: int
) -> None:
    name = f"{SEED} {server} {victims} {number}"
    moment = random.Random(name).uniform(0, _LONGEST)
    print(f"KILL_SEED={SEED}; killed {moment:.3f} s after the first test")
    suite(observed.bench)
    with faulty("refusing") as refusing:
        url = observed.server.url if server == "up" else refusing.url
        flags = (f"--ch-url={url}", f"--ch-db={observed.database}")
        process = observed.bench.start(*flags, env=observed.env)
        kill_at(observed.bench, process, moment, helper_too=victims != "pytest")
    sent = replay(observed)
    assert sent.returncode in (0, 3), sent.stdout + sent.stderr
    assert problems(observed.bench, stored(observed)) == []


def start_and_wait(observed: Observed, *arguments: str, tests: int = 20) -> int:
    """Start the suite, and return pytest's pid once some tests are over."""
    suite(observed.bench)
    process = observed.start(*arguments, start_new_session=True)
    wait_until(lambda: process.poll() is not None or len(noted(observed.bench, "finished")) >= tests, "tests run")
    observed.bench.process = process  # type: ignore[attr-defined]
    return process.pid


def ended(observed: Observed) -> Run:
    process = observed.bench.process  # type: ignore[attr-defined]
    stdout, stderr = process.communicate(timeout=60)
    wait_until(lambda: is_left_alone(observed.bench), "the helper ends", 40)
    return Run(process.returncode, stdout, stderr)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_without_pytest_the_helper_sends_the_rest_and_tells_the_crash(observed: Observed, number: int) -> None:
    observed.bench.write(test_l="import time\ndef test_that_runs(entered): time.sleep(60)\n")
    pid = start_and_wait(observed, "test_k.py", "test_l.py", tests=TESTS)
    wait_until(lambda: noted(observed.bench, "entered")[-1].startswith("test_l.py"), "a test runs")
    os.kill(pid, number)
    assert ended(observed).returncode == -number
    found = stored(observed)
    assert problems(observed.bench, found) == []
    assert [row["nodeid"] for row in found.rows if row["outcome"] == "crashed"] == ["test_l.py::test_that_runs"]
    assert found.runs == [{"status": "aborted", "exit_status": -1}]
    assert observed.bench.buffered("") == []


def test_a_kill_of_pytests_process_group_does_not_reach_the_helper(observed: Observed) -> None:
    os.killpg(start_and_wait(observed), signal.SIGKILL)
    ended(observed)
    assert problems(observed.bench, stored(observed)) == []
    assert observed.bench.buffered("") == []


def test_a_test_that_leaves_by_os_exit_is_told_as_crashed(observed: Observed) -> None:
    suite(observed.bench)
    observed.bench.write(test_l="import os\ndef test_leave(): os._exit(7)\ndef test_never(): pass\n")
    run = observed.run()
    wait_until(lambda: is_left_alone(observed.bench), "the helper ends", 40)
    found = stored(observed)
    assert run.returncode == 7
    assert problems(observed.bench, found) == []
    assert [row["nodeid"] for row in found.rows if row["outcome"] == "crashed"] == ["test_l.py::test_leave"]
    [run_row] = observed.rows("collected, not_run, passed, broken", "pytest_results_runs", "run_id")
    assert run_row == {"collected": TESTS + 2, "not_run": 1, "passed": TESTS, "broken": 1}


def test_ctrl_c_in_the_terminal_ends_the_run_as_ever_and_all_is_sent(observed: Observed) -> None:
    os.killpg(start_and_wait(observed), signal.SIGINT)
    run = ended(observed)
    found = stored(observed)
    assert run.returncode == pytest.ExitCode.INTERRUPTED
    assert "KeyboardInterrupt" in run.stdout
    assert f"{len(found.rows)} results sent" in run.summary
    assert "collected tests not run" in run.summary
    finished = set(noted(observed.bench, "finished"))
    assert finished <= {row["nodeid"] for row in found.rows if row["outcome"] == "passed"}
    assert found.runs == [{"status": "aborted", "exit_status": 2}]
    assert observed.bench.buffered("") == []


@pytest.mark.parametrize("interrupted", [False, True], ids=["after a full run", "after a Ctrl-C"])
def test_ctrl_c_during_the_final_wait_ends_the_wait_and_not_the_run(observed: Observed, interrupted: bool) -> None:
    suite(observed.bench)
    with faulty("silent") as silent:
        flags = (f"--ch-url={silent.url}", "--observer-exit-timeout=60")
        process = observed.bench.start(*flags, start_new_session=True)
        if interrupted:
            wait_until(lambda: len(noted(observed.bench, "finished")) >= 20, "tests run")
            os.killpg(process.pid, signal.SIGINT)
        wait_until(lambda: b'"kind":"run"' in sidecar(observed), "the run is over")
        wait_until(lambda: bool(silent.requests), "the helper asks the server")
        wait_until(lambda: "poll" in Path(f"/proc/{process.pid}/wchan").read_text(), "pytest waits")
        start = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    run = Run(process.returncode, stdout, stderr)
    assert time.monotonic() - start < 20
    assert run.returncode == (pytest.ExitCode.INTERRUPTED if interrupted else 0)
    assert ("KeyboardInterrupt" in stdout) == interrupted
    assert " - sending was interrupted" in run.summary
    assert f"{len(observed.bench.kept_rows())} kept on disk" in run.summary
    assert " passed" in stdout.splitlines()[-1]
    wait_until(lambda: is_left_alone(observed.bench), "the helper ends", 10)


def test_a_further_ctrl_c_while_the_wait_is_wound_up_changes_nothing(observed: Observed) -> None:
    suite(observed.bench)
    with (observed.bench.suite / "conftest.py").open("a") as conftest:
        conftest.write(INTERRUPT_THE_END)
    with faulty("silent") as silent:
        run = observed.bench.run(f"--ch-url={silent.url}", "--observer-exit-timeout=60")
    assert run.returncode == 0
    assert " - sending was interrupted" in run.summary
    assert noted(observed.bench, "interrupted") == ["wait", "end"]
    assert " passed" in run.stdout.splitlines()[-1]
    wait_until(lambda: is_left_alone(observed.bench), "the helper ends", 10)


INTERRUPT_THE_END = """
import signal
from pytest_test_observer._shipper.delivery import Delivery
def interrupt(name, action):
    def interrupted(*arguments):
        note("interrupted", name)
        signal.raise_signal(signal.SIGINT)
        return action(*arguments)
    return interrupted
Delivery._await = interrupt("wait", Delivery._await)
Delivery._end = interrupt("end", Delivery._end)
"""


def sidecar(observed: Observed) -> bytes:
    return b"".join(path.read_bytes() for path in observed.bench.buffered(".meta.jsonl"))


def test_a_helper_that_is_killed_on_the_way_is_replaced_at_the_end(observed: Observed) -> None:
    pid = start_and_wait(observed, "--observer-exit-timeout=30")
    kill(*helpers(observed.bench, pid))
    run = ended(observed)
    found = stored(observed)
    assert run.returncode == 0
    assert run.summary == f"test-observer: {TESTS} results sent to {observed.server.url}."
    assert problems(observed.bench, found) == []
    assert found.runs == [{"status": "success", "exit_status": 0}]
    assert observed.bench.buffered("") == []


def test_the_check_notices_results_that_never_reached_the_disk(observed: Observed) -> None:
    suite(observed.bench)
    observed.bench.write(
        test_journal_off="""
            from pytest_test_observer._journal.append import Appender
            def test_off():
                Appender.write = lambda self, data: None
        """
    )
    process = observed.start("test_journal_off.py", "test_k.py")
    kill_at(observed.bench, process, 0.3, helper_too=False)
    assert [problem for problem in problems(observed.bench, stored(observed)) if problem.startswith("lost: ")]


@pytest.mark.parametrize("tokens", ["as they are", "switched off"])
def test_the_check_notices_batches_that_are_sent_twice_without_their_token(
    observed: Observed,
    controllable_clickhouse: ClickHouse,
    monkeypatch: pytest.MonkeyPatch,
    tokens: str,
) -> None:
    suite(observed.bench)
    with faulty("refusing") as refusing:
        observed.bench.run(f"--ch-url={refusing.url}", f"--ch-db={observed.database}")
    if tokens == "switched off":
        load = JournalReader.load
        monkeypatch.setattr(
            JournalReader, "load", lambda self, sealed: load(self, sealed)._replace(token=os.urandom(8).hex())
        )
    controllable_clickhouse.fail(0, after=True, keyword="INSERT")
    [meta] = observed.bench.buffered(".meta.jsonl")
    journal = JournalReader(JournalFiles(str(meta.parent), meta.name.removesuffix(".meta.jsonl")))
    journal.recover()
    server = observed.server
    settings = ClickHouseSettings(
        host=server.host, port=server.port, user=server.user, password=server.password, database=observed.database
    )
    destination = ClickHouseDestination(settings)
    shipper = Shipper(journal, destination)
    for _ in range(2):
        shipper.hurry()
        shipper.ship()
    destination.close()
    doubled = [problem for problem in problems(observed.bench, stored(observed)) if problem.startswith("doubled")]
    assert bool(doubled) == (tokens == "switched off")
