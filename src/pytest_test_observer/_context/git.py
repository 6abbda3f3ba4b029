"""What git knows of the rootdir, asked without waiting; and what may be told of a repository's URL."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from pytest_test_observer._secrets import PRIVATE

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["GitFacts", "GitReader", "RepositoryName", "repository_name", "without_credentials"]

TIME_LIMIT_S = 2.0
_MAX_OUTPUT = 65_536  # one pipe's worth: an answer is a line or two

# One process answers two questions: --abbrev-ref holds for what follows it.
_HEAD = ("rev-parse", "HEAD", "--abbrev-ref", "HEAD")
_REMOTE = ("remote", "get-url", "origin")

# What git sets for its hooks and what points it away from the directory it runs in (git rev-parse
# --local-env-vars, but for the GIT_CONFIG_* that containers use to declare a safe.directory).
_ELSEWHERE = frozenset(
    "GIT_" + name
    for name in (
        "ALTERNATE_OBJECT_DIRECTORIES",
        "COMMON_DIR",
        "DIR",
        "GRAFT_FILE",
        "IMPLICIT_WORK_TREE",
        "INDEX_FILE",
        "INTERNAL_SUPER_PREFIX",
        "NAMESPACE",
        "NO_REPLACE_OBJECTS",
        "OBJECT_DIRECTORY",
        "PREFIX",
        "QUARANTINE_PATH",
        "REPLACE_REF_BASE",
        "SHALLOW_FILE",
        "WORK_TREE",
    )
)


class GitFacts(NamedTuple):
    """Commit, branch (``HEAD`` when detached) and URL of the remote ``origin``; empty where unknown."""

    commit: str = ""
    branch: str = ""
    repository: str = ""


class GitReader:
    """Asks git about a directory in the background.

    The constructor starts git and returns at once; :meth:`result` collects the answers, at the latest
    ``TIME_LIMIT_S`` seconds after the start. Nothing is raised: what git does not tell in time is empty.
    """

    def __init__(self, rootdir: str | os.PathLike[str], environ: Mapping[str, str]) -> None:
        self._deadline = time.monotonic() + TIME_LIMIT_S
        env = _git_environment(environ)
        self._processes: list[subprocess.Popen[bytes] | None] = []
        try:
            for arguments in (_HEAD, _REMOTE):
                self._processes.append(_start(arguments, os.fspath(rootdir), env))
        except BaseException:  # Ctrl-C
            for process in filter(None, self._processes):
                _end(process)
            raise
        self._facts: GitFacts | None = None

    def result(self) -> GitFacts:
        """Return the facts; ends and reaps every process, also when called again."""
        if self._facts is None:
            head, remote = (_answer(process, self._deadline) for process in self._processes)
            commit, branch = head if len(head) == 2 else ("", "")
            self._facts = GitFacts(commit, branch, without_credentials(remote[0]) if remote else "")
        return self._facts

    def close(self) -> None:
        """End git without waiting for its answers."""
        self._deadline = 0.0
        self.result()


def _git_environment(environ: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in environ.items() if name not in _ELSEWHERE and not name.startswith(PRIVATE)}
    return {**kept, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}


def _start(arguments: tuple[str, ...], rootdir: str, env: dict[str, str]) -> subprocess.Popen[bytes] | None:
    # ValueError: a name or value with a NUL byte. A session of its own has no terminal to ask at, and can be
    # ended as a whole where git is a wrapper script.
    with contextlib.suppress(OSError, ValueError):
        return subprocess.Popen(
            ("git", "-C", rootdir, *arguments),
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            close_fds=True,
            start_new_session=True,
        )
    return None


def _answer(process: subprocess.Popen[bytes] | None, deadline: float) -> list[str]:
    if process is None:
        return []
    try:
        succeeded = process.wait(max(0.0, deadline - time.monotonic())) == 0
        return _lines(process) if succeeded else []
    except subprocess.TimeoutExpired:
        return []
    finally:
        _end(process)


def _lines(process: subprocess.Popen[bytes]) -> list[str]:
    # Non-blocking: something that git left behind may hold the pipe open without writing. ValueError: closed,
    # because an interrupt ended an earlier attempt to collect.
    with contextlib.suppress(OSError, ValueError):
        if process.stdout is not None:
            os.set_blocking(process.stdout.fileno(), False)
            return os.fsdecode(os.read(process.stdout.fileno(), _MAX_OUTPUT)).split("\n")[:-1]
    return []


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        if sys.platform != "win32":
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*(?:::[A-Za-z][A-Za-z0-9+.-]*)?)://(?P<rest>.*)", re.DOTALL)
_SCP_PASSWORD = re.compile(r"^([^/@:]+):[^/@]*@")
_SECRET_PARAMETER = re.compile(
    r"(?<=[?&#])[^=&#]*(?:token|passw|secret|api_?key|signature|credential)[^=&#]*=[^&#]*&?", re.IGNORECASE
)


def without_credentials(url: str) -> str:
    """Return a URL without user information, and without parameters that are named like secrets.

    A user name may be a token itself, so none is kept but SSH's (``ssh://git@host/…``, ``git@host:…``), which
    is part of the address.
    """
    url = url.strip()
    parts = _URL.match(url)
    if parts is None:
        return _SCP_PASSWORD.sub(r"\1@", url)
    scheme, rest = parts["scheme"], parts["rest"]
    authority = _authority(rest)
    userinfo, at, host = authority.rpartition("@")
    user = userinfo.partition(":")[0] if scheme.lower() in ("ssh", "git+ssh", "ssh+git") else ""
    kept = f"{user}{at}{host}" if user else host
    clean = _SECRET_PARAMETER.sub("", f"{scheme}://{kept}{rest[len(authority) :]}")
    return clean.rstrip("?&") if clean[-1:] in "?&" else clean


def _authority(rest: str) -> str:
    """Return the part of a URL before its path, with all of an unescaped password that holds a ``/``."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    port = authority.partition(":")[2]
    if "@" in authority or not port or port.isdecimal() or authority.startswith("["):
        return authority
    before, at, after = rest.rpartition("@")
    return before + at + re.split(r"[/?#]", after, maxsplit=1)[0] if at else authority


class RepositoryName(NamedTuple):
    """The parts of a repository's URL: ``github.com``, ``owner`` (with groups between), ``name``."""

    host: str = ""
    owner: str = ""
    name: str = ""


def repository_name(url: str) -> RepositoryName:
    """Split the URL or path of a repository; empty parts where it has none."""
    text = re.split(r"[?#]", without_credentials(url), maxsplit=1)[0].replace("\\", "/")
    scheme, found, rest = text.rpartition("://")
    if not found and re.match(r"[^/:]{2,}:(?!/)", rest):  # scp's host:path, not a drive's C:/path
        rest, found = rest.replace(":", "/", 1), ":"
    host, _, path = rest.partition("/") if found and scheme != "file" else ("", "", rest)
    owner, _, name = path.strip("/").rpartition("/")
    host = re.sub(r":[0-9]*$", "", host.rpartition("@")[2])
    # A path on a disk has directories, not owners.
    return RepositoryName(host, owner if host else "", name.removesuffix(".git"))
