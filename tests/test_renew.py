"""A helper that opens the embedded engine often goes on as a fresh program, and nothing is lost or doubled by it."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_test_observer._destinations.config import Destinations
from pytest_test_observer._destinations.settings import ClickHouseSettings
from pytest_test_observer._process import describe, this_process
from pytest_test_observer._shipper.protocol import (
    Done,
    Final,
    Flush,
    Task,
    decode_from_helper,
    encode_message,
)
from pytest_test_observer._shipper.renew import can_renew
from tests.journals import begun, record, run_line
from tests.killing import wait_until
from tests.servers.client import embedded_query

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_test_observer._journal.sidecar import Process
    from pytest_test_observer._journal.writer import JournalWriter

PASSWORD = "not-on-a-command-line"
# A helper that goes on as a fresh program as soon as it has sent something.
HELPER = """
from pytest_test_observer._shipper import helper
helper._OPENINGS = 1
helper.main()
"""


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[JournalWriter]:
    (tmp_path / "buffers").mkdir()
    made = begun(tmp_path / "buffers")
    yield made
    made.close()


def command_of(process: subprocess.Popen[bytes]) -> str:
    return Path(f"/proc/{process.pid}/cmdline").read_bytes().decode()


def task_of(journal: JournalWriter, owner: Process, path: Path | str) -> Task:
    settings = ClickHouseSettings(embedded=True, path=str(path), database="default", password=PASSWORD)
    return Task(journal.files.directory, journal.files.stem, owner, Destinations(settings))


@contextmanager
def renewed(journal: JournalWriter, task: Task) -> Iterator[subprocess.Popen[bytes]]:
    """Give a helper that has sent a row and become a new program."""
    journal.append(record("a"))
    command = [sys.executable, "-c", HELPER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        process.stdin.write(encode_message(task))
        process.stdin.flush()
        wait_until(lambda: "go_on" in command_of(process), "it goes on as a fresh program")
        assert PASSWORD not in command_of(process)
        yield process


def test_rows_of_before_and_after_arrive_once_and_pytest_gets_its_account(
    journal: JournalWriter, tmp_path: Path
) -> None:
    database = tmp_path / "observer.db"
    with renewed(journal, task_of(journal, this_process(), database)) as process:
        journal.append(record("b"))
        wait_until(lambda: b'"number":2}' in Path(journal.files.meta).read_bytes(), "it sends again")
        journal.append(record("c"))
        journal.note(run_line())
        output, _ = process.communicate(encode_message(Flush()) + encode_message(Done()), timeout=60)
    final = decode_from_helper(output.splitlines()[-1])
    assert final == Final(3, complete=True)
    found = embedded_query(database, "SELECT nodeid FROM pytest_results ORDER BY nodeid")
    assert [row["nodeid"] for row in found] == ["a", "b", "c"]
    assert list(Path(journal.files.directory).iterdir()) == []


def test_the_death_of_pytest_is_noticed_afterwards(journal: JournalWriter, tmp_path: Path) -> None:
    database = tmp_path / "observer.db"
    with (
        subprocess.Popen(["sleep", "60"]) as owner,
        renewed(journal, task_of(journal, describe(owner.pid), database)) as process,
    ):
        owner.kill()
        owner.wait()
        assert process.wait(60) == 0
    found = embedded_query(database, "SELECT status FROM pytest_results_runs")
    assert found == [{"status": "aborted"}]


def test_only_what_is_on_disk_can_be_left_behind(journal: JournalWriter) -> None:
    task = task_of(journal, this_process(), "memory")
    assert not can_renew(task)
    server = Task(task.directory, task.stem, task.process, Destinations(ClickHouseSettings(host="localhost")))
    assert not can_renew(server)
    assert can_renew(task_of(journal, this_process(), "/somewhere"))
