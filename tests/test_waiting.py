"""What earlier runs left in the cache directory is told at the end of a run, and bounded, never silently."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from pytest_test_observer._journal.locks import SENDER
from pytest_test_observer._journal.remove import remove
from pytest_test_observer._shipper import waiting as module
from pytest_test_observer._shipper.waiting import MOST_BYTES, Waiting
from tests.journals import begun, record
from tests.replay_kit import DEAD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_test_observer._journal.files import JournalFiles
    from tests.kit import Observed

HOUR = 3600


def left(cache: Path, run_id: str, hours: float, *, size: int = 0, alive: bool = False) -> JournalFiles:
    """Leave the files of a run that were written to so many hours ago; ``size`` bytes, without filling the disk."""
    journal = begun(cache, run_id) if alive else begun(cache, run_id, process=DEAD)
    journal.append(record("a"))
    journal.close()
    files = journal.files
    if size:
        os.truncate(files.results, size)
    when = time.time() - hours * HOUR
    for path in (files.results, files.meta):
        os.utime(path, (when, when))
    return files


def present(cache: Path) -> list[str]:
    return sorted(
        path.name.removesuffix(".meta.jsonl") for path in (cache / "pytest-test-observer").glob("*.meta.jsonl")
    )


HOLD = """
import sys
from pytest_test_observer._journal.locks import FileLock
assert FileLock(sys.argv[1], int(sys.argv[2])).acquire()
print("held", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def held(path: str, byte: int) -> Iterator[None]:
    """Let another process hold a lock."""
    command = [sys.executable, "-c", HOLD, path, str(byte)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        yield
        process.communicate()


@pytest.fixture
def mine(tmp_path: Path) -> JournalFiles:
    return left(tmp_path, "mine", 0)


def test_without_older_runs_nothing_is_said(mine: JournalFiles) -> None:
    assert Waiting(mine).notes() == []


def test_older_runs_are_counted_and_the_command_is_told(tmp_path: Path, mine: JournalFiles) -> None:
    left(tmp_path, "old", 3)
    directory = str(tmp_path / "pytest-test-observer")
    told = f"older runs that wait in {directory}: 1, 1 KiB; send with: pytest-observer replay"
    assert [re.sub(r"\d+ KiB", "1 KiB", note) for note in Waiting(mine).notes()] == [told]
    left(tmp_path, "older", 30, size=5 << 20)
    assert Waiting(mine).notes() == [
        f"older runs that wait in {directory}: 2, 5.0 MiB; send with: pytest-observer replay"
    ]


def test_files_of_0_2_0_count_too(tmp_path: Path, mine: JournalFiles) -> None:
    directory = tmp_path / "pytest-test-observer"
    for name in ("build.7.jsonl", "build.7_events.jsonl"):
        (directory / name).write_text("{}\n")
        os.utime(directory / name, (0, 0))
    assert f"{directory}: 1, 1 KiB;" in Waiting(mine).notes()[0]


def test_a_run_that_goes_on_beside_this_one_does_not_wait(tmp_path: Path, mine: JournalFiles) -> None:
    left(tmp_path, "beside", 0.5)
    left(tmp_path, "long", 5, alive=True)
    assert Waiting(mine).notes() == []


def test_beyond_the_limit_the_oldest_go_and_that_is_told(tmp_path: Path, mine: JournalFiles) -> None:
    for number in range(5):
        left(tmp_path, f"old{number}", 10 - number, size=MOST_BYTES // 3)
    removed, waits = Waiting(mine).notes()
    directory = tmp_path / "pytest-test-observer"
    assert removed == f"older runs removed from {directory}, never sent, as more than 1.0 GiB waited: 3"
    assert waits.startswith(f"older runs that wait in {directory}: 2, ")
    assert present(tmp_path) == ["mine", "old3", "old4"]
    assert not [path for path in directory.iterdir() if path.name.startswith(("old0", "old1", "old2"))]


def test_up_to_the_limit_nothing_goes(tmp_path: Path, mine: JournalFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [os.stat(left(tmp_path, f"old{number}", 5).results).st_size for number in range(3)]
    metas = sum(path.stat().st_size for path in (tmp_path / "pytest-test-observer").glob("old*.meta.jsonl"))
    monkeypatch.setattr(module, "MOST_BYTES", sum(sizes) + metas)
    assert len(Waiting(mine).notes()) == 1
    assert len(present(tmp_path)) == 4


def test_several_that_end_at_once_do_not_remove_more_than_is_too_much(tmp_path: Path, mine: JournalFiles) -> None:
    for number in range(5):
        left(tmp_path, f"old{number}", 10 - number, size=MOST_BYTES // 3)
    first, second = Waiting(mine), Waiting(mine)  # both have seen all five
    assert "waited: 3" in first.notes()[0]
    assert [note.startswith("older runs that wait") for note in second.notes()] == [True]
    assert present(tmp_path) == ["mine", "old3", "old4"]


def test_who_finds_another_at_it_removes_nothing(tmp_path: Path, mine: JournalFiles) -> None:
    for number in range(5):
        left(tmp_path, f"old{number}", 10 - number, size=MOST_BYTES // 3)
    with held(str(tmp_path / "pytest-test-observer" / "room.lock"), 0):
        assert [note for note in Waiting(mine).notes() if "removed" in note] == []
    assert len(present(tmp_path)) == 6


def test_what_was_sent_meanwhile_does_not_wait(tmp_path: Path, mine: JournalFiles) -> None:
    sent = left(tmp_path, "sent", 3)
    waiting = Waiting(mine)
    remove(sent)
    assert waiting.notes() == []


def test_what_somebody_is_sending_and_what_is_not_ours_stays(tmp_path: Path, mine: JournalFiles) -> None:
    foreign = tmp_path / "pytest-test-observer" / "notes.jsonl"
    foreign.touch()
    os.truncate(foreign, 2 * MOST_BYTES)
    os.utime(foreign, (0, 0))
    sending = left(tmp_path, "sending", 9)
    with held(sending.lock, SENDER):
        assert not [note for note in Waiting(mine).notes() if "removed" in note]
    assert foreign.exists()
    assert os.path.exists(sending.results)


def test_the_last_line_of_a_run_tells_it(observed: Observed) -> None:
    left(observed.bench.cache, "old", 3)
    left(observed.bench.cache, "huge", 5, size=2 * MOST_BYTES)
    observed.bench.write(test_a="def test_ok(): pass\n")
    run = observed.run("--observer-exit-timeout=30")
    assert run.returncode == 0
    buffers = observed.bench.buffers
    assert run.summary.startswith(f"test-observer: 1 result sent to {observed.server.url}.")
    assert f" Older runs removed from {buffers}, never sent, as more than 1.0 GiB waited: 1." in run.summary
    assert f" Older runs that wait in {buffers}: 1, " in run.summary
    assert run.summary.endswith("KiB; send with: pytest-observer replay.")
    assert present(observed.bench.cache) == ["old"]
