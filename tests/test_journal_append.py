"""Appending in a process where anything may happen to descriptors, to the file and to the disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_test_observer._journal.append import Appender
from pytest_test_observer._journal.locks import WRITER, FileLock
from tests.journals import begun, listing, names, reader_of, record, run_line


def number_of(appender: Appender) -> int:
    """Return the descriptor of an appender: the one that the suite would hit."""
    return appender._fd


def test_lines_are_there_at_once(tmp_path: Path) -> None:
    appender = Appender(f"{tmp_path}/file", create=True)
    appender.write(b"one\n")
    appender.write(b"two\n")
    assert (tmp_path / "file").read_bytes() == b"one\ntwo\n"


def test_a_file_that_exists_is_never_taken_over(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old\n")
    with pytest.raises(FileExistsError):
        Appender(f"{tmp_path}/file", create=True)


def test_a_descriptor_that_a_test_closed_is_opened_again(tmp_path: Path) -> None:
    appender = Appender(f"{tmp_path}/file", create=True)
    os.close(number_of(appender))
    appender.write(b"one\n")
    assert (tmp_path / "file").read_bytes() == b"one\n"


def test_a_descriptor_whose_number_belongs_to_somebody_else_is_left_alone(tmp_path: Path) -> None:
    appender = Appender(f"{tmp_path}/file", create=True)
    theirs = os.open(tmp_path / "theirs", os.O_WRONLY | os.O_CREAT)
    os.dup2(theirs, number_of(appender))
    appender.write(b"one\n")
    appender.close()
    assert (tmp_path / "file").read_bytes() == b"one\n"
    assert (tmp_path / "theirs").read_bytes() == b""


def test_closing_does_not_close_what_belongs_to_somebody_else(tmp_path: Path) -> None:
    appender = Appender(f"{tmp_path}/file", create=True)
    theirs = os.open(tmp_path / "theirs", os.O_WRONLY | os.O_CREAT)
    os.dup2(theirs, number_of(appender))
    appender.close()
    assert os.fstat(number_of(appender)).st_ino == os.stat(tmp_path / "theirs").st_ino


def test_a_file_that_a_test_deleted_is_made_again_with_all_it_held(tmp_path: Path) -> None:
    directory = tmp_path / "below"
    directory.mkdir()
    appender = Appender(f"{directory}/file", create=True)
    appender.write(b"one\n")
    os.unlink(directory / "file")
    directory.rmdir()
    appender.write(b"two\n")
    assert (directory / "file").read_bytes() == b"one\ntwo\n"


def test_who_did_not_make_the_file_follows_who_did(tmp_path: Path) -> None:
    creator = Appender(f"{tmp_path}/file", create=True)
    follower = Appender(f"{tmp_path}/file")
    creator.write(b"one\n")
    os.unlink(tmp_path / "file")
    with pytest.raises(FileNotFoundError):
        follower.write(b"lost\n")
    creator.write(b"two\n")
    follower.write(b"three\n")
    assert (tmp_path / "file").read_bytes() == b"one\ntwo\nthree\n"


def test_a_file_that_somebody_put_in_our_place_is_not_written_to(tmp_path: Path) -> None:
    appender = Appender(f"{tmp_path}/file", create=True)
    os.unlink(tmp_path / "file")
    (tmp_path / "file").write_bytes(b"theirs\n")
    with pytest.raises(OSError, match="File exists"):
        appender.write(b"one\n")
    assert (tmp_path / "file").read_bytes() == b"theirs\n"


# With a limit on the size of files a write is cut off like on a full disk.
_LIMITED = """
import resource, sys
from pytest_test_observer._journal.append import Appender
appender = Appender(sys.argv[1], create=True, alone=sys.argv[2] == "alone")
appender.write(b"a" * 59 + b"\\n")
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
try:
    appender.write(b"b" * 59 + b"\\n")
except OSError as error:
    print(error.strerror)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
appender.write(b"c" * 59 + b"\\n")
"""


def written_with_a_limit(path: Path, how: str) -> list[bytes]:
    command = [sys.executable, "-c", _LIMITED, str(path), how]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said == "File too large\n"
    return path.read_bytes().splitlines()


def test_what_a_full_disk_cut_off_is_taken_back(tmp_path: Path) -> None:
    assert written_with_a_limit(tmp_path / "file", "alone") == [b"a" * 59, b"c" * 59]


def test_what_a_full_disk_cut_off_swallows_no_other_line_where_several_append(tmp_path: Path) -> None:
    assert written_with_a_limit(tmp_path / "file", "shared") == [b"a" * 59, b"b" * 40, b"c" * 59]


def test_rows_wait_in_memory_until_the_disk_takes_them_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = begun(tmp_path)
    journal.append(record("first"))
    with monkeypatch.context() as full:
        full.setattr(Appender, "write", no_space)
        journal.append(record("second", events=2))
        assert "No space" in journal.error
    journal.append(record("third"))
    journal.give_up()
    assert names(Path(journal.files.results).read_bytes()) == ["first", "second", "third"]
    assert (journal.written, journal.lost) == (3, 0)


def test_what_never_found_room_is_counted_as_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = begun(tmp_path)
    with monkeypatch.context() as full:
        full.setattr(Appender, "write", no_space)
        journal.append(record("first", events=1))
        journal.append(record("second"))
        journal.give_up()
    assert (journal.written, journal.lost) == (2, 2)


def test_the_run_is_told_although_a_row_before_it_never_found_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = begun(tmp_path)
    write = Appender.write
    monkeypatch.setattr(
        Appender, "write", lambda self, data: write(self, data) if len(data) < 2000 else no_space(self, data)
    )
    journal.append(record("huge", text="x" * 2000))
    journal.note(run_line())
    journal.give_up()
    reader = reader_of(journal.files)
    assert reader.run is not None
    assert journal.lost == 1


def test_memory_is_bounded_while_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_test_observer._journal.writer.HELD_BYTES", 5000)
    journal = begun(tmp_path)
    with monkeypatch.context() as full:
        full.setattr(Appender, "write", no_space)
        for number in range(10):
            journal.append(record(f"test_{number}", text="x" * 1000))
    journal.give_up()
    kept = names(Path(journal.files.results).read_bytes())
    assert kept == [f"test_{number}" for number in range(len(kept))]
    assert 0 < len(kept) < 5
    assert journal.lost == 10 - len(kept)


def no_space(_appender: Appender, _data: bytes) -> None:
    raise OSError(28, "No space left on device")


def test_a_full_disk_is_not_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "tmp"
    other.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(other))
    write = Appender.write
    full = str(tmp_path / "cache")
    monkeypatch.setattr(
        Appender,
        "write",
        lambda self, data: no_space(self, data) if self.path.startswith(full) else write(self, data),
    )
    journal = begun(tmp_path / "cache")
    assert journal.files.directory.startswith(str(other))
    assert listing(journal.files._replace(directory=f"{full}/pytest-test-observer")) == []


def test_a_deleted_directory_comes_back_whole_at_the_end(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    journal.append(record("first", events=1))
    for name in listing(journal.files):
        os.unlink(f"{journal.files.directory}/{name}")
    os.rmdir(journal.files.directory)
    journal.ensure()
    assert names(Path(journal.files.results).read_bytes()) == ["first"]
    assert listing(journal.files) == ["run.jsonl", "run.lock", "run.meta.jsonl", "run_events.jsonl"]
    assert reader_of(journal.files).begin is not None


def test_the_writers_lock_survives_a_test_that_closes_all_descriptors(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    os.close(journal._lock._fd)
    os.close(number_of(journal._results))
    journal.append(record("first"))
    assert others_can_lock(journal.files.lock) is False
    journal.close()
    assert others_can_lock(journal.files.lock) is True


_LOCK = """
import sys
from pytest_test_observer._journal.locks import WRITER, FileLock
print(FileLock(sys.argv[1], WRITER).acquire())
"""


def others_can_lock(path: str) -> bool:
    """Ask from another process: to its own one a lock is free."""
    done = subprocess.run([sys.executable, "-c", _LOCK, path], capture_output=True, text=True, check=True)
    return done.stdout == "True\n"


def test_a_forked_child_neither_holds_nor_loses_the_lock(tmp_path: Path) -> None:
    lock = FileLock(f"{tmp_path}/lock", WRITER)
    assert lock.acquire()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(write)
        os.read(read, 1)
        os._exit(0)
    try:
        assert not others_can_lock(f"{tmp_path}/lock")
        lock.release()
        assert others_can_lock(f"{tmp_path}/lock")
    finally:
        os.close(write)
        os.close(read)
        os.waitpid(pid, 0)
