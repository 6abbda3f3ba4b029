"""The helper's end of the pipes: hears what pytest says, and notices its death at once."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from typing import TYPE_CHECKING

import msgspec

from pytest_test_observer._process import is_alive, open_pidfd
from pytest_test_observer._shipper.protocol import (
    Done,
    Final,
    Flush,
    Inbox,
    Task,
    decode_to_helper,
    encode_message,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_test_observer._journal.sidecar import Process

_READ = 65_536
# An orphan ends after this many seconds, whatever the server does.
_ORPHAN_SECONDS = 30
# How often a process is looked for where the system cannot tell its end, in seconds.
_POLL_SECONDS = 0.5


class Link:
    """Two pipes, and what came through them.

    ``flush``: no more results will be written; ``done``: the journal is complete; ``deaf``: pytest's end of
    the pipe is closed although it lives (a test closed it); ``orphaned``: pytest is dead. ``on_done`` is
    called, by the thread that listens, when somebody begins to wait.
    """

    def __init__(self, listen: int, answer: int) -> None:
        self.listen = listen
        self.answer = answer
        self._inbox = Inbox()
        self._changed = threading.Condition()
        self.on_done: Callable[[], None] = lambda: None
        self.flush = False
        self.done = False
        self.deaf = False
        self.orphaned = False

    def first(self) -> Task | None:
        """Wait for the task; None if pytest went away before it said what to do."""
        while data := os.read(self.listen, _READ):
            messages = [decode_to_helper(line) for line in self._inbox.feed(data)]
            for message in messages[1:]:
                self._take(message)
            if messages:
                return messages[0] if isinstance(messages[0], Task) else None
        return None

    def watch(self, process: Process) -> None:
        """Listen in a thread of its own from now on, and watch over ``process``."""
        threading.Thread(target=self._run, args=(process,), daemon=True).start()

    def wait(self, seconds: float) -> None:
        """Sleep until the run is over, or ``seconds`` have passed."""
        with self._changed:
            if not (self.done or self.orphaned):
                self._changed.wait(seconds)

    def say(self, message: Final) -> None:
        """Answer pytest, if it still listens."""
        with contextlib.suppress(OSError):
            os.write(self.answer, encode_message(message))

    def _run(self, process: Process) -> None:
        # The pipe's end tells nothing of a death: a forked leftover of a test can hold it open for as long as
        # it lives.
        death = open_pidfd(process)
        pause = None if death is not None else _POLL_SECONDS
        while not self.orphaned:
            watched = [fd for fd in (death, None if self.deaf else self.listen) if fd is not None]
            ready = _readable(watched, pause)
            if self.listen in ready:
                self._read()
            if death in ready if death is not None else not is_alive(process):
                self._orphan()

    def _read(self) -> None:
        data = os.read(self.listen, _READ)
        self.deaf = not data
        for line in self._inbox.feed(data):
            try:
                self._take(decode_to_helper(line))
            except msgspec.MsgspecError:  # noqa: PERF203
                continue

    def _take(self, message: object) -> None:
        with self._changed:
            self.flush = self.flush or isinstance(message, (Flush, Done))
            self.done = self.done or isinstance(message, Done)
            self._changed.notify_all()
        if isinstance(message, Done):
            self.on_done()

    def _orphan(self) -> None:
        if hasattr(signal, "alarm"):
            signal.alarm(_ORPHAN_SECONDS)
        with self._changed:
            self.orphaned = True
            self._changed.notify_all()


def _readable(watched: list[int], pause: float | None) -> list[int]:
    """Wait until something can be read; the numbers may be higher than select() takes."""
    if not hasattr(select, "poll"):  # Windows knows no waiting on pipes: a read that blocks is all there is
        return watched
    poll = select.poll()
    for fd in watched:
        poll.register(fd, select.POLLIN)
    return [fd for fd, _ in poll.poll(None if pause is None else pause * 1000)]
