"""What git tells of the rootdir, on real repositories and real processes; and repository URLs."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from pytest_test_observer._context import git as git_module
from pytest_test_observer._context.git import GitFacts, GitReader, repository_name, without_credentials

if TYPE_CHECKING:
    from pathlib import Path

EMPTY = GitFacts()


@pytest.fixture(autouse=True)
def _calm_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the machine's git configuration and repositories above the temporary directory out."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))


def git(directory: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ("git", "-C", str(directory), *identity, *arguments), check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def new_repository(directory: Path, branch: str = "main") -> str:
    """Make a repository with one commit; return the commit."""
    directory.mkdir()
    git(directory, "init", "-q")
    git(directory, "checkout", "-q", "-b", branch)
    git(directory, "commit", "-q", "--allow-empty", "-m", "one")
    return git(directory, "rev-parse", "HEAD")


def fake_git(directory: Path, script: str) -> dict[str, str]:
    """Return an environment whose git is a shell script."""
    directory.mkdir()
    program = directory / "git"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {**os.environ, "PATH": f"{directory}{os.pathsep}{os.environ['PATH']}"}


def test_commit_branch_and_origin_of_a_repository(tmp_path: Path) -> None:
    commit = new_repository(tmp_path / "repo", branch="feature/ünï")
    git(tmp_path / "repo", "remote", "add", "origin", "https://ada:token@example.com/org/repo.git")
    facts = GitReader(tmp_path / "repo", os.environ).result()
    assert facts == GitFacts(commit, "feature/ünï", "https://example.com/org/repo.git")


def test_a_rootdir_below_the_top_of_the_repository_is_enough(tmp_path: Path) -> None:
    commit = new_repository(tmp_path / "repo")
    (tmp_path / "repo" / "packages" / "a").mkdir(parents=True)
    assert GitReader(tmp_path / "repo" / "packages" / "a", os.environ).result().commit == commit


def test_without_an_origin_commit_and_branch_are_still_told(tmp_path: Path) -> None:
    commit = new_repository(tmp_path / "repo")
    assert GitReader(tmp_path / "repo", os.environ).result() == GitFacts(commit, "main", "")


def test_a_detached_head_is_called_head_as_git_calls_it(tmp_path: Path) -> None:
    commit = new_repository(tmp_path / "repo")
    git(tmp_path / "repo", "checkout", "-q", "--detach")
    assert GitReader(tmp_path / "repo", os.environ).result() == GitFacts(commit, "HEAD", "")


def test_a_repository_without_a_commit_has_neither_commit_nor_branch(tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    git(tmp_path / "repo", "init", "-q")
    assert GitReader(tmp_path / "repo", os.environ).result() == EMPTY


def test_outside_a_repository_all_is_empty(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    assert GitReader(tmp_path / "plain", os.environ).result() == EMPTY
    assert GitReader(tmp_path / "missing", os.environ).result() == EMPTY


def test_without_git_all_is_empty(tmp_path: Path) -> None:
    new_repository(tmp_path / "repo")
    assert GitReader(tmp_path / "repo", {**os.environ, "PATH": str(tmp_path)}).result() == EMPTY


def test_an_environment_that_no_process_can_have_is_no_error(tmp_path: Path) -> None:
    assert GitReader(tmp_path, {"PATH": os.environ["PATH"], "BAD": "a\0b"}).result() == EMPTY


def test_a_git_hook_s_variables_do_not_point_at_another_repository(tmp_path: Path) -> None:
    commit = new_repository(tmp_path / "repo")
    new_repository(tmp_path / "other", branch="elsewhere")
    hook = {
        "GIT_DIR": str(tmp_path / "other" / ".git"),
        "GIT_WORK_TREE": str(tmp_path / "other"),
        "GIT_INDEX_FILE": str(tmp_path / "other" / ".git" / "index"),
        "GIT_COMMON_DIR": str(tmp_path / "other" / ".git"),
        "GIT_PREFIX": "x/",
    }
    assert GitReader(tmp_path / "repo", {**os.environ, **hook}).result() == GitFacts(commit, "main", "")


def test_a_deleted_working_directory_does_not_matter(tmp_path: Path) -> None:
    commit = new_repository(tmp_path / "repo")
    program = (
        "import os, sys\n"
        "os.mkdir(sys.argv[2]); os.chdir(sys.argv[2]); os.rmdir(sys.argv[2])\n"
        "from pytest_test_observer._context.git import GitReader\n"
        "print(GitReader(sys.argv[1], os.environ).result().commit)\n"
    )
    command = (sys.executable, "-c", program, str(tmp_path / "repo"), str(tmp_path / "gone"))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    assert subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout.strip() == commit


def test_the_start_does_not_wait_for_git_and_a_slow_git_is_ended_at_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_module, "TIME_LIMIT_S", 0.3)
    environ = fake_git(tmp_path / "bin", "exec sleep 60")
    began = time.monotonic()
    reader = GitReader(tmp_path, environ)
    assert reader.result() == EMPTY
    assert time.monotonic() - began < 5
    assert_reaped(reader)


def test_the_limit_counts_from_the_start_so_a_late_question_waits_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_module, "TIME_LIMIT_S", 0.0)
    reader = GitReader(tmp_path, fake_git(tmp_path / "bin", "exec sleep 60"))
    began = time.monotonic()
    assert reader.result() == EMPTY
    assert time.monotonic() - began < 2


def test_an_answer_that_came_in_time_counts_however_late_it_is_collected(tmp_path: Path) -> None:
    commit = new_repository(tmp_path / "repo")
    reader = GitReader(tmp_path / "repo", os.environ)
    for process in reader._processes:
        assert process is not None
        process.wait()
    reader._deadline = 0.0
    assert reader.result().commit == commit


@pytest.mark.skipif(sys.platform == "win32", reason="process groups are POSIX's")
def test_what_a_wrapper_script_started_is_ended_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_module, "TIME_LIMIT_S", 30.0)
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    # The child holds the FIFO open for writing: its end is our end of file.
    environ = fake_git(tmp_path / "bin", f"sleep 60 >'{fifo}' & echo $!; wait")
    reader = GitReader(tmp_path, environ)
    with fifo.open("rb") as alive:  # opens once a child has it open
        began = time.monotonic()
        reader.close()
        assert alive.read() == b""
    assert time.monotonic() - began < 10
    assert_reaped(reader)


def test_a_process_that_git_left_behind_with_the_pipe_open_does_not_hold_us(tmp_path: Path) -> None:
    reader = GitReader(tmp_path, fake_git(tmp_path / "bin", "sleep 5 & exit 0"))
    began = time.monotonic()
    assert reader.result() == EMPTY
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("script", ["exec yes", "echo one; echo two; echo three", "echo one", "exit 3", "kill -9 $$"])
def test_a_git_that_answers_nonsense_is_no_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    monkeypatch.setattr(git_module, "TIME_LIMIT_S", 1.0)
    facts = GitReader(tmp_path, fake_git(tmp_path / "bin", script)).result()
    assert (facts.commit, facts.branch) == ("", "")


def test_git_sees_no_terminal_no_prompt_and_takes_no_locks(tmp_path: Path) -> None:
    script = (
        'case "$3" in remote) echo "$GIT_OPTIONAL_LOCKS,$GIT_TERMINAL_PROMPT,$LC_ALL"; exit;; esac\n'
        "(exec 3</dev/tty) 2>/dev/null && echo tty || echo none; cat; echo noise >&2; echo end"
    )
    facts = GitReader(tmp_path, fake_git(tmp_path / "bin", script)).result()
    assert facts == GitFacts("none", "end", "0,0,C")


def test_nothing_is_left_to_warn_about(tmp_path: Path) -> None:
    new_repository(tmp_path / "repo")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reader = GitReader(tmp_path / "repo", os.environ)
        reader.close()
        reader.close()
        assert reader.result() == reader.result()
    assert_reaped(reader)


def assert_reaped(reader: GitReader) -> None:
    for process in reader._processes:
        assert process is not None
        assert process.returncode is not None
        assert process.stdout is not None
        assert process.stdout.closed
        with pytest.raises(ProcessLookupError):
            os.kill(process.pid, 0)


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("", ""),
        ("https://github.com/org/repo.git", "https://github.com/org/repo.git"),
        ("https://ada:secret@github.com/org/repo", "https://github.com/org/repo"),
        ("https://secret@github.com/org/repo.git", "https://github.com/org/repo.git"),
        ("https://x-access-token:secret@github.com/o/r\n", "https://github.com/o/r"),
        ("HTTPS://gitlab-ci-token:secret@gitlab.com:8443/g/sub/r.git", "HTTPS://gitlab.com:8443/g/sub/r.git"),
        ("https://ada:sec@ret@host/r", "https://host/r"),
        ("https://oauth2:sec/ret@host/r", "https://host/r"),
        ("https://host/@scope/r@v1", "https://host/@scope/r@v1"),
        ("https://host:8443/@scope/r", "https://host:8443/@scope/r"),
        ("https://[::1]:8443/r", "https://[::1]:8443/r"),
        ("https://:secret@[::1]/r", "https://[::1]/r"),
        ("https://host/r?private_token=secret", "https://host/r"),
        ("https://host/r?a=1&access_token=secret&b=2", "https://host/r?a=1&b=2"),
        ("https://host/results?buildId=12", "https://host/results?buildId=12"),
        ("ssh://git@github.com/org/repo.git", "ssh://git@github.com/org/repo.git"),
        ("ssh://git:secret@host:2222/org/repo.git", "ssh://git@host:2222/org/repo.git"),
        ("git@github.com:org/repo.git", "git@github.com:org/repo.git"),
        ("ada:secret@host/org/repo.git", "ada@host/org/repo.git"),
        ("codecommit::eu-west-1://secret@repo", "codecommit::eu-west-1://repo"),
        ("file:///srv/git/a@b.git", "file:///srv/git/a@b.git"),
        ("/srv/git/a@b.git", "/srv/git/a@b.git"),
        (r"C:\git\repo", r"C:\git\repo"),
    ],
)
def test_credentials_are_removed_from_urls(url: str, clean: str) -> None:
    assert without_credentials(url) == clean
    assert without_credentials(clean) == clean
    assert "sec" not in clean


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("https://ada:secret@github.com/org/repo.git", ("github.com", "org", "repo")),
        ("https://gitlab.com:8443/group/sub/repo/", ("gitlab.com", "group/sub", "repo")),
        ("git@github.com:org/repo.git", ("github.com", "org", "repo")),
        ("ssh://git@host:2222/org/repo.git", ("host", "org", "repo")),
        ("https://dev.azure.com/org/project/_git/repo", ("dev.azure.com", "org/project/_git", "repo")),
        ("https://host/repo.git?x=1#y", ("host", "", "repo")),
        ("file:///srv/git/repo.git", ("", "", "repo")),
        ("/srv/git/repo.git/", ("", "", "repo")),
        (r"C:\git\repo", ("", "", "repo")),
        ("", ("", "", "")),
    ],
)
def test_a_repository_has_a_host_an_owner_and_a_name(url: str, parts: tuple[str, str, str]) -> None:
    assert repository_name(url) == parts


def test_an_interrupt_between_the_questions_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[subprocess.Popen[bytes]] = []
    start = git_module._start

    def interrupted(*arguments: Any) -> subprocess.Popen[bytes]:
        if begun:
            raise KeyboardInterrupt
        process = start(*arguments)
        assert process
        begun.append(process)
        return process

    monkeypatch.setattr(git_module, "_start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        GitReader(tmp_path, fake_git(tmp_path / "bin", "exec sleep 60"))
    (process,) = begun
    assert process.returncode is not None
    assert process.stdout
    assert process.stdout.closed
