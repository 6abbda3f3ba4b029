"""Names of a run's files, and the directories they may live in."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest

from pytest_test_observer._journal.append import Appender
from pytest_test_observer._journal.files import buffer_directory, stem_for, usable_directories
from pytest_test_observer._journal.reserve import JournalError
from pytest_test_observer._journal.writer import JournalWriter

if TYPE_CHECKING:
    from pathlib import Path

RUN_IDS = (
    "plain-Id_1", "", "a.b", "a%2Eb", "a/b", "../../etc/passwd", "..", "x_events", "x%5Fevents", "x.meta",
    "x~2", "x", "X", "with space", "ünï", "\udc80", "\udc81", "\\udc80", "line\nfeed", "a" * 180, "a" * 181,
    "a" * 182,
    "a" * 110 + "b" * 80, "/" * 100, "/" * 101, "é" * 400,
)  # fmt: skip


def reserved(cache: Path, run_id: str) -> JournalWriter:
    return JournalWriter.create({"XDG_CACHE_HOME": str(cache)}, run_id)


def mode(path: str | Path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def test_a_relative_cache_is_taken_from_where_pytest_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GitLab keeps nothing outside the project's directory. The helper works elsewhere, tests go where they like."""
    monkeypatch.chdir(tmp_path)
    journal = JournalWriter.create({"XDG_CACHE_HOME": "cache"}, "id")
    monkeypatch.chdir("/")
    assert os.path.dirname(os.path.dirname(journal.files.results)) == str(tmp_path / "cache")


def test_without_a_home_the_temporary_directory_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    """``expanduser`` leaves the tilde where a user has no entry and no HOME: a directory of that name helps nobody."""
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert buffer_directory({}) == ""
    assert os.path.dirname(next(usable_directories({}))) == tempfile.gettempdir()


def test_different_run_ids_have_different_names() -> None:
    stems = [stem_for(run_id) for run_id in RUN_IDS]
    assert len(set(stems)) == len(RUN_IDS)


@pytest.mark.parametrize("run_id", RUN_IDS, ids=range(len(RUN_IDS)))
def test_a_name_stays_in_its_directory_and_is_short_enough(run_id: str) -> None:
    stem = stem_for(run_id)
    assert 0 < len(os.fsencode(stem)) <= 200
    assert not set("/\\.\0\n~ ") & set(stem)


def test_no_short_name_can_look_like_that_of_a_long_run_id() -> None:
    assert "%%" in stem_for("a" * 500)
    assert not [run_id for run_id in ("%", "%%", "%%25", "a%%b") if "%%" in stem_for(run_id)]


def test_the_rows_of_one_run_are_never_the_events_or_the_sidecar_of_another() -> None:
    assert not [run_id for run_id in RUN_IDS if stem_for(run_id).endswith(("_events", ".meta"))]


def test_files_and_directory_are_for_their_user_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        journal = reserved(tmp_path / "cache", "run")
    finally:
        os.umask(before)
    files = journal.files
    journal.close()
    assert mode(files.directory) == 0o700
    assert {mode(path) for path in (files.meta, files.results, files.lock)} == {0o600}


def test_a_directory_that_was_open_to_others_is_closed(tmp_path: Path) -> None:
    directory = tmp_path / "pytest-test-observer"
    directory.mkdir(mode=0o755)
    reserved(tmp_path, "run").discard()
    assert mode(directory) == 0o700


def test_a_run_id_that_comes_back_gets_files_of_its_own(tmp_path: Path) -> None:
    journals = [reserved(tmp_path, "same") for _ in range(3)]
    assert [os.path.basename(journal.files.results) for journal in journals] == [
        "same.jsonl", "same~2.jsonl", "same~3.jsonl",
    ]  # fmt: skip
    for journal in journals:
        journal.discard()
    assert os.listdir(journals[0].files.directory) == []


@pytest.mark.parametrize("left", ["same.jsonl", "same_events.jsonl", "same.meta.jsonl"])
def test_files_that_an_earlier_run_left_are_not_touched(tmp_path: Path, left: str) -> None:
    old = tmp_path / "pytest-test-observer" / left
    old.parent.mkdir()
    old.write_text("old\n")
    journal = reserved(tmp_path, "same")
    assert journal.files.stem == "same~2"
    journal.discard()
    assert old.read_text() == "old\n"


_RESERVE = """
import os, sys
from pytest_test_observer._journal.writer import JournalWriter
sys.stdin.readline()
journal = JournalWriter.create(os.environ, "same")
print(journal.files.results, flush=True)
sys.stdin.readline()
"""


def test_processes_with_one_run_id_never_share_a_file(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _RESERVE],
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:  # all at once
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    paths = [process.stdout.readline() for process in processes if process.stdout]
    for process in processes:
        process.communicate("end\n")
    assert len(set(paths)) == 4
    assert all(path.strip().endswith(".jsonl") for path in paths)


def test_the_temporary_directory_is_the_way_out_where_the_cache_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "file").write_text("")
    journal = reserved(tmp_path / "file" / "cache", "run")
    assert journal.files.directory == f"{tmp_path}/pytest-test-observer-{os.getuid()}"
    assert mode(journal.files.directory) == 0o700
    journal.discard()


def test_a_directory_that_somebody_else_may_have_planted_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "file").write_text("")
    (tmp_path / "elsewhere").mkdir(mode=0o755)
    (tmp_path / f"pytest-test-observer-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    found = list(usable_directories({"XDG_CACHE_HOME": str(tmp_path / "file")}))
    assert [os.path.realpath(path) for path in found] == found
    assert len(found) == 1
    assert mode(tmp_path / "elsewhere") == 0o755


def test_a_directory_whose_name_is_no_utf_8_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    nameless = {"XDG_CACHE_HOME": f"{tmp_path}/\udcff"}
    assert next(usable_directories(nameless)) == f"{tmp_path}/pytest-test-observer-{os.getuid()}"
    monkeypatch.setattr(tempfile, "tempdir", f"{tmp_path}/\udcfe")
    assert list(usable_directories(nameless)) == []


def test_without_any_directory_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    with pytest.raises(JournalError, match="no directory for buffers could be made"):
        reserved(tmp_path / "file", "run")


def test_a_read_only_system_without_a_temporary_directory_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    (tmp_path / "file").write_text("")
    monkeypatch.setattr(tempfile, "gettempdir", none)
    with pytest.raises(JournalError, match="no directory for buffers could be made"):
        reserved(tmp_path / "file", "run")


def test_a_directory_whose_name_is_no_text_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither xdist's workers nor the helper could be told of it, and no command could be quoted that names it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = list(usable_directories({"XDG_CACHE_HOME": f"{tmp_path}/caf\udce9"}))
    assert os.path.join(str(tmp_path), f"pytest-test-observer-{os.getuid()}") == found[0]
    monkeypatch.setattr(tempfile, "tempdir", os.fsdecode(os.fsencode(tmp_path) + b"/\xe9"))
    os.mkdir(tempfile.gettempdir())
    assert list(usable_directories({"XDG_CACHE_HOME": f"{tmp_path}/caf\udce9"})) == []


def test_no_umask_of_a_test_hides_a_file_from_the_helper(tmp_path: Path) -> None:
    """The file of events is made with the first one, in the middle of a test."""
    before = os.umask(0o777)
    try:
        Appender(str(tmp_path / "file"), create=True).close()
    finally:
        os.umask(before)
    assert mode(tmp_path / "file") == 0o600
