"""Where a run's files go when the cache directory is read-only, full, somebody else's, a link, or without locks."""

from __future__ import annotations

import errno
import os
import re
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_test_observer._journal.files import usable_directories
from pytest_test_observer._journal.locks import WRITER, FileLock
from pytest_test_observer._journal.tidy import _cut_out
from pytest_test_observer._journal.writer import JournalWriter
from pytest_test_observer._shipper.spawn import _open
from tests.beside import without_others
from tests.kit import Run
from tests.servers.faulty import faulty

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit import Observed, Workbench

TESTS = 60
SUITE = f"import pytest\n@pytest.mark.parametrize('n', range({TESTS}))\ndef test_ok(n): pass\n"
NOBODY = 65_534
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
# In a namespace of its own, so that nothing stays mounted whatever happens: $1 options, $2 where, $3 where the files
# go afterwards, then the command.
MOUNTED = """
mount -t tmpfs -o "$1" tmpfs "$2" || exit 99
at=$2 kept=$3
shift 3
"$@"
status=$?
cp -r "$at/." "$kept"
exit $status
"""


@pytest.fixture(scope="module")
def namespace() -> list[str]:
    """Return a command before which others have file systems of their own."""
    ways = ["unshare --mount", "unshare --user --map-root-user --mount"]
    for way in ways[os.getuid() != 0 :]:
        command = [*way.split(), "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        try:
            if subprocess.run(command, capture_output=True, check=False).returncode == 0:
                return way.split()
        except OSError:
            break
    pytest.skip("this user may mount nothing")


@pytest.fixture
def temporary(bench: Workbench) -> Path:
    """A temporary directory of the bench's own."""
    path = bench.suite.parent / "tmp"
    path.mkdir()
    return path


def run_mounted(bench: Workbench, namespace: list[str], options: str, *arguments: str, temporary: Path) -> Run:
    """Run pytest with a small file system where its cache is; what was on it is in ``kept`` afterwards."""
    bench.cache.mkdir()
    kept = bench.suite.parent / "kept"
    kept.mkdir()
    flags = [*without_others(arguments, bench.suite), *arguments]
    command = ["sh", "-c", MOUNTED, "sh", options, str(bench.cache), str(kept)]
    done = subprocess.run(
        [*namespace, *command, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *flags],
        cwd=bench.suite,
        env=bench.environment({"TMPDIR": str(temporary)}),
        capture_output=True,
        text=True,
        check=False,
    )
    return Run(done.returncode, done.stdout, done.stderr)


def lines(paths: Iterator[Path]) -> int:
    files = [path for path in paths if path.name.endswith(".jsonl") and not path.name.endswith(".meta.jsonl")]
    return sum(path.read_bytes().count(b"\n") for path in files)


@pytest.mark.parametrize("options", ["ro", "size=4k,nr_inodes=3"], ids=["read-only", "full"])
def test_a_cache_that_takes_no_file_has_the_temporary_directory_behind_it(
    bench: Workbench, namespace: list[str], temporary: Path, options: str
) -> None:
    bench.write(test_a=SUITE)
    with faulty("refusing") as server:
        run = run_mounted(bench, namespace, options, f"--ch-url={server.url}", temporary=temporary)
    assert run.returncode == 0, run.stdout
    assert f"{TESTS} kept on disk" in run.summary
    [kept] = re.findall(r"Kept in (\S+);", run.summary)
    assert Path(kept).parent == temporary / f"pytest-test-observer-{os.getuid()}"
    assert lines(temporary.rglob("*")) == TESTS
    assert run.stderr == ""


def test_a_cache_that_fills_up_loses_what_did_not_fit_and_says_how_much(
    bench: Workbench, namespace: list[str], temporary: Path
) -> None:
    bench.write(test_a=SUITE)
    with faulty("refusing") as server:
        options = "size=40k"
        run = run_mounted(bench, namespace, options, f"--ch-url={server.url}", temporary=temporary)
    assert run.returncode == 0, run.stdout
    found = re.search(r"(\d+) kept on disk, (\d+) lost \(\[Errno 28\] No space left on device\)", run.summary)
    assert found, run.summary
    kept, lost = map(int, found.groups())
    assert kept + lost == TESTS
    assert lines((bench.suite.parent / "kept").rglob("*")) == kept > 5
    assert run.stderr == ""


CREATE = f"""
import os
import tempfile  # as this user, who may not read where Python is
from pytest_test_observer._journal.tidy import _cut_out
from pytest_test_observer._journal.writer import JournalWriter
os.setgid({NOBODY}); os.setuid({NOBODY})
print(JournalWriter.create(os.environ, "run").files.directory)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root has directories of others")
def test_directories_of_somebody_else_are_left_alone(bench: Workbench) -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/tmp")) as place:  # ours is closed to nobody
        os.chmod(place, 0o755)
        cache, temporary = Path(place, "cache"), Path(place, "tmp")
        theirs = cache / "pytest-test-observer", temporary / f"pytest-test-observer-{NOBODY}"
        for directory in theirs:
            directory.mkdir(parents=True)
        temporary.chmod(0o777)
        environment = bench.environment({"TMPDIR": str(temporary), "XDG_CACHE_HOME": str(cache)})
        done = subprocess.run([sys.executable, "-c", CREATE], env=environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        made = Path(done.stdout.decode().strip())
        assert (made.parent, made in theirs, made.stat().st_uid) == (temporary, False, NOBODY)
        assert stat.S_IMODE(made.stat().st_mode) == 0o700
        assert not [file for directory in theirs for file in directory.iterdir()]


def test_a_link_to_a_directory_is_followed_and_what_it_leads_to_stays_as_it_is(observed: Observed) -> None:
    elsewhere = observed.bench.suite.parent / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    observed.bench.cache.mkdir()
    observed.bench.buffers.symlink_to(elsewhere)
    observed.bench.write(test_a=SUITE)
    with faulty("refusing") as server:
        run = observed.bench.run(f"--ch-url={server.url}")
    assert f"{TESTS} kept on disk" in run.summary
    assert lines(elsewhere.iterdir()) == TESTS
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o755
    assert {stat.S_IMODE(path.stat().st_mode) for path in elsewhere.iterdir()} == {0o600}


def test_a_link_to_nothing_is_no_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "pytest-test-observer").symlink_to(tmp_path / "gone")
    assert (
        next(usable_directories({"XDG_CACHE_HOME": str(tmp_path)})) == f"{tmp_path}/pytest-test-observer-{os.getuid()}"
    )


@pytest.mark.parametrize("ending", [".meta.jsonl", ".jsonl", ".lock", ".log", ".running"])
def test_a_file_that_somebody_planted_as_a_link_is_not_written_through(tmp_path: Path, ending: str) -> None:
    """Where others can write to the directory; names are known where the run id is."""
    victim = tmp_path / "victim"
    victim.write_text("")
    directory = tmp_path / "pytest-test-observer"
    directory.mkdir()
    (directory / f"run{ending}").symlink_to(victim)
    journal = JournalWriter.create({"XDG_CACHE_HOME": str(tmp_path)}, "run")
    with _open(journal.files.log) as log:
        os.write(log, b"said\n")
    journal.close()
    assert victim.read_text() == ""


def test_what_has_arrived_is_not_cut_out_through_a_planted_link(tmp_path: Path) -> None:
    rows, victim, new = tmp_path / "run.jsonl", tmp_path / "victim", tmp_path / "run.jsonl.new"
    rows.write_text("sent\nkept\n")
    victim.write_text("mine")
    new.symlink_to(victim)
    _cut_out(str(rows), str(new), [(0, 5)])
    assert victim.read_text() == "mine"
    assert rows.read_text() == "sent\nkept\n"
    _cut_out(str(rows), str(new), [(0, 5)])
    assert rows.read_text() == "kept\n"


@pytest.mark.parametrize("number", NO_LOCKS, ids=errno.errorcode.get)
def test_a_file_system_without_locks_keeps_nobody_from_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.lockf", refuse)
    assert FileLock(str(tmp_path / "lock"), WRITER).acquire()
    first, second = (JournalWriter.create({"XDG_CACHE_HOME": str(tmp_path)}, "same") for _ in range(2))
    assert first.files != second.files


@pytest.mark.parametrize("target", ["server", "embedded"])
def test_without_locks_a_run_is_sent_all_the_same(observed: Observed, target: str) -> None:
    """The process that sends is a fork here, so that it has no locks either."""
    observed.bench.write(
        test_a=SUITE,
        conftest="""
            import errno, fcntl, os, sys
            def refuse(*arguments):
                raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
            fcntl.lockf = refuse
            sys.executable = ""
            """,
    )
    flags = observed.flags if target == "server" else ["--ch-url=chdb://observer.db"]
    run = observed.bench.run(*flags, "--observer-exit-timeout=30", env=observed.env)
    assert run.returncode == 0
    assert f"{TESTS} results sent" in run.summary
    assert observed.bench.buffered("") == []
    assert run.stderr == ""
