"""The helper process as pytest sees it: started, told when the journal is done, waited for, ended."""

from __future__ import annotations

import builtins
import io
import os
import select
import signal
import sys
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from pytest_test_observer._activation import search_path
from pytest_test_observer._clock import Clock
from pytest_test_observer._journal.append import identity
from pytest_test_observer._journal.files import JournalFiles
from pytest_test_observer._process import describe, is_alive, kill
from pytest_test_observer._shipper.protocol import (
    Done,
    Final,
    Flush,
    Inbox,
    Ready,
    Task,
    ToHelper,
    decode_from_helper,
    encode_message,
)
from pytest_test_observer._shipper.spawn import NoHelper, Spawned, pipes, spawn
from pytest_test_observer._system import System

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_test_observer._journal.sidecar import Process

# What a pipe takes at once; a task that is longer would have to wait for a reader that is only just starting.
_PIPE_TAKES = 65_536
_REAP_SECONDS = 5.0
# How often the files are looked at where the pipe that would tell was closed under us.
_LOOK_SECONDS = 0.02
# Nobody waits longer, and systems take no number that is much larger (poll() 24 days).
_LONGEST_LOOK_SECONDS = 86_400.0


class Helper:
    """One helper. Its pipes are only touched while they are still ours: tests may close any descriptor."""

    def __init__(self, write: int, read: int, reap: Callable[[], None]) -> None:
        self._write = write
        self._read = read
        self._identities = {fd: identity(fd) for fd in (write, read)}
        self._inbox = Inbox()
        self._finals: list[Final] = []
        self._reap: Callable[[], None] | None = reap
        self._process: Process | None = None

    @classmethod
    def start(cls, task: Task) -> Helper:
        """Start a helper that is nobody's child; raises NoHelper."""
        return cls.adopt(spawn(JournalFiles(task.directory, task.stem)), task)

    @classmethod
    def adopt(cls, spawned: Spawned, task: Task) -> Helper:
        """Give a process that waits for a task its task; raises NoHelper."""
        if len(encode_message(task)) > _PIPE_TAKES:
            spawned.abandon()
            raise NoHelper("its task does not fit into a pipe")
        helper = cls(spawned.write, spawned.read, spawned.reap)
        helper._say(task)
        return helper

    @classmethod
    def fork(cls, task: Task, serve: Callable[[int, int], None]) -> Helper:
        """Start ``serve`` in a fork of this process; for the end of a session, where no test can meet it."""
        if not hasattr(os, "fork"):
            raise NoHelper("this system cannot fork")
        with pipes() as (task_read, task_write, answer_read, answer_write):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of threads, from Python 3.12 on
                pid = os.fork()
            if pid == 0:
                for fd in (task_write, answer_read):
                    System.close(fd)  # or it would never hear that we are gone
                _serve(serve, task_read, answer_write)
            helper = cls(task_write, answer_read, lambda: None)
            helper._process = describe(pid)
        helper._say(task)
        return helper

    def reap(self) -> None:
        """Collect the intermediate process; to be called before the first test."""
        if self._reap is not None:
            reap, self._reap = self._reap, None
            self._hear(_REAP_SECONDS)
            reap()
            if self._process is None:  # what came first was somebody else's
                self._hear(0)

    def flush(self) -> None:
        """Say that no more results will come."""
        self._say(Flush())

    def finish(self, deadline: float, is_sent: Callable[[], bool]) -> Final | None:
        """Say that the journal is complete and wait for the account until ``deadline`` (monotonic seconds).

        ``is_sent`` is asked where the pipes were closed under us. None if the helper does not answer in time.
        """
        self._say(Done())
        return self._await(deadline, is_sent)

    def end(self) -> None:
        """End the helper, if it still runs, and let go of the pipes."""
        self.reap()
        if self._process is not None:
            kill(self._process)
            _collect(self._process.pid)
            self._process = None
        for fd in (self._write, self._read):
            if self._is_ours(fd):
                System.close(fd)
        self._identities.clear()

    def _say(self, message: ToHelper) -> None:
        if self._is_ours(self._write):
            with _no_sigpipe():
                _write_all(self._write, encode_message(message))

    def _await(self, deadline: float, is_sent: Callable[[], bool]) -> Final | None:
        while not self._finals and (left := deadline - Clock.monotonic()) > 0:
            if self._is_ours(self._read):
                if not self._hear(left):
                    return None
            elif is_sent():
                return Final(None, complete=True)
            elif self._process is not None and not is_alive(self._process):
                return None
            else:
                Clock.sleep(_LOOK_SECONDS)
        return self._finals[0] if self._finals else None

    def _hear(self, seconds: float) -> bool:
        """Wait for something to be said, at most ``seconds``; returns whether more can come."""
        if not self._is_ours(self._read) or not _is_readable(self._read, seconds):
            return True
        data = System.read(self._read, _PIPE_TAKES)
        self._finals.extend(self._take(data))
        return bool(data)

    def _take(self, data: bytes) -> Iterator[Final]:
        for line in self._inbox.feed(data):
            try:
                message = decode_from_helper(line)
            except msgspec.MsgspecError:
                continue
            if isinstance(message, Ready):
                self._process = describe(message.pid)
            else:
                yield message

    def _is_ours(self, fd: int) -> bool:
        try:
            return identity(fd) == self._identities.get(fd)
        except OSError:
            return False


def _is_readable(fd: int, seconds: float) -> bool:
    """Wait until ``fd`` can be read, a day at most; its number may be higher than select() takes."""
    seconds = min(seconds, _LONGEST_LOOK_SECONDS)
    if not hasattr(select, "poll"):
        return bool(select.select([fd], [], [], seconds)[0])
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


@contextmanager
def _no_sigpipe() -> Iterator[None]:
    """Keep a broken pipe from killing pytest where a test has set SIGPIPE to its default."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
    try:
        yield
    finally:
        if signal.SIGPIPE not in before:
            if signal.SIGPIPE in signal.sigpending():
                signal.sigwait({signal.SIGPIPE})
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _write_all(fd: int, data: bytes) -> None:
    try:
        while data:
            data = data[System.write(fd, data) :]
    except OSError:
        pass  # the helper is gone; what it did not send is on disk


def _collect(pid: int) -> None:
    """Leave no zombie of a helper: it is a child where it was forked, and where pytest is PID 1."""
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _serve(serve: Callable[[int, int], None], listen: int, answer: int) -> None:
    """Be the forked helper; never returns into pytest."""
    try:
        _forget_pytest()
        serve(listen, answer)
    except BaseException:  # noqa: BLE001, S110 - a fork of pytest must not go on as pytest
        pass
    finally:
        os._exit(0)


def _forget_pytest() -> None:
    """Leave the terminal's process group, and what the suite did to signals and to the search for modules."""
    os.setsid()
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    sys.path[:] = search_path()
    builtins.open = io.open
