"""Starts the process that becomes the helper; imports little, so that it can start before all else is loaded."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from pytest_test_observer._activation import INERT, search_path
from pytest_test_observer._clock import Clock
from pytest_test_observer._journal.files import NO_LINK
from pytest_test_observer._secrets import PRIVATE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_test_observer._journal.files import JournalFiles

# The intermediate process says the name of the detached one and is reaped before the first test, or tests
# that wait for any child would wait for ours. The line feed in front: something may have been printed while
# Python started.
_BOOT = """
import os, sys
pid = os.fork()
if pid:
    os.write(1, b'\\n{"kind":"ready","pid":%d}\\n' % pid)
    os._exit(0)
os.write(2, b"the process that sends was still loading its libraries\\n")
import gc, json
gc.disable()  # until the libraries are loaded: nothing of that is garbage, and looking for it takes a tenth
sys.path += [path for path in json.loads(sys.argv[1]) if path not in sys.path]
from pytest_test_observer._shipper.helper import main
main(journal=sys.argv[2:])
"""
_DETACHED = rb'"kind":"ready","pid":(\d+)'
_REAP_SECONDS = 5.0
# How often a process that is nobody's child is looked for: it cannot be waited for.
_LOOK_SECONDS = 0.005


class NoHelper(Exception):  # noqa: N818 - a state of affairs, and it is handled as one
    """No helper could be started; the text says why."""


class Spawned(NamedTuple):
    """A process that loads its libraries and waits for a task: ours are ``write`` and ``read``, ends of its pipes."""

    write: int
    read: int
    process: subprocess.Popen[bytes]

    def reap(self) -> None:
        """Collect the intermediate process."""
        try:
            self.process.wait(_REAP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def abandon(self) -> None:
        """End it, whether it has its task or not: it must touch no file any more."""
        self.reap()
        found = re.search(_DETACHED, _said(self.read))
        for fd in (self.write, self.read):
            with suppress(OSError):
                os.close(fd)
        if found:
            _end(int(found[1]))


def _said(fd: int) -> bytes:
    """Return what stands in a pipe."""
    with suppress(OSError):
        os.set_blocking(fd, False)
        return os.read(fd, 65_536)
    return b""


def _end(pid: int) -> None:
    from pytest_test_observer._process import describe, is_alive, kill  # noqa: PLC0415 - rarely needed

    process = describe(pid)
    kill(process)
    deadline = Clock.monotonic() + _REAP_SECONDS
    while is_alive(process) and Clock.monotonic() < deadline:
        Clock.sleep(_LOOK_SECONDS)
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # where pytest is PID 1


def spawn(files: JournalFiles) -> Spawned:
    """Start a helper that is nobody's child, with its errors in the log of the run of ``files``; raises NoHelper."""
    if not sys.executable or getattr(sys, "frozen", False):
        raise NoHelper("there is no Python interpreter to start one with")
    command = [sys.executable, "-I", "-c", _BOOT, json.dumps(search_path()), *files]
    try:
        with pipes() as (task_read, task_write, answer_read, answer_write), _open(files.log) as errors:
            process = subprocess.Popen(
                command,
                stdin=task_read,
                stdout=answer_write,
                stderr=errors,  # why it cannot start, for the warning to quote
                env=_environment(),
                start_new_session=True,
            )
            return Spawned(task_write, answer_read, process)
    except OSError as error:  # of too many open files, too
        raise NoHelper(str(error)) from error


@contextmanager
def pipes() -> Iterator[tuple[int, int, int, int]]:
    """Make the pipes for tasks and for answers, the reading end of each first.

    Afterwards only ours are open: the end that tasks are written to, and the one that answers are read from. None is
    where something failed.
    """
    fds = list(os.pipe())
    try:
        fds += os.pipe()
        task_read, task_write, answer_read, answer_write = fds
        yield task_read, task_write, answer_read, answer_write
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise
    os.close(task_read)
    os.close(answer_write)


def _environment() -> dict[str, str]:
    """Return pytest's environment without what would measure the helper, configure it, or hold secrets."""
    dropped = ("COV", "PYTEST_", *PRIVATE)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return {**kept, INERT: "1"}


@contextmanager
def _open(log: str) -> Iterator[int]:
    """Open the helper's log, or nothing where that cannot be."""
    try:
        fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | NO_LINK, 0o600)
    except OSError:
        fd = os.open(os.devnull, os.O_WRONLY)
    try:
        yield fd
    finally:
        os.close(fd)
