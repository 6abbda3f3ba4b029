"""How pytest gets a journal delivered: by a helper from the start, by another at the end if need be."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from pytest_test_observer._clock import Clock
from pytest_test_observer._journal.sidecar import count_taken
from pytest_test_observer._process import this_process
from pytest_test_observer._shipper.client import Helper
from pytest_test_observer._shipper.log import last_line
from pytest_test_observer._shipper.protocol import Final, Task
from pytest_test_observer._shipper.spawn import NoHelper

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_test_observer._destinations.config import Destinations
    from pytest_test_observer._journal.files import JournalFiles
    from pytest_test_observer._shipper.spawn import Spawned

# Seconds: nothing on a network can hang an embedded engine, and a cold library is slow to load.
_EMBEDDED_DEADLINE = 30.0


class Delivered(NamedTuple):
    """What was sent in the end: ``sent`` counts rows of results (None: all), ``message`` says why not all."""

    sent: int | None
    complete: bool
    message: str = ""
    notes: tuple[str, ...] = ()


class Delivery:
    """Delivers one journal. pytest itself loads no client and opens no socket for it."""

    def __init__(self, files: JournalFiles, destinations: Destinations, spawned: Spawned | None = None) -> None:
        self._files = files
        self._destinations = destinations
        self._task = Task(files.directory, files.stem, this_process(), destinations)
        self._spawned = spawned
        self._helper: Helper | None = None

    def start(self) -> None:
        """Give the process that was ``spawned`` its task; without one the journal is sent at the end."""
        if self._spawned is not None:
            with suppress(NoHelper):
                self._helper = Helper.adopt(self._spawned, self._task)

    def reap(self) -> None:
        """Collect the helper's intermediate process."""
        if self._helper is not None:
            self._helper.reap()

    def flush(self) -> None:
        """Tell the helper that no more results will come."""
        if self._helper is not None:
            self._helper.flush()

    def abandon(self) -> None:
        """End the helper; there is nothing to send."""
        self._end()

    def finish(self, timeout: float) -> Delivered:
        """Wait for the rest to be sent, at most ``timeout`` seconds (longer for an embedded engine).

        An interrupt ends the wait, not the run.
        """
        seconds = max(timeout, _EMBEDDED_DEADLINE) if self._destinations.is_embedded else timeout
        deadline = Clock.monotonic() + seconds
        final = None
        why = f"not all was sent within {seconds:g} s (--observer-exit-timeout)"
        try:
            final = self._await(deadline)
        except KeyboardInterrupt:
            why = "sending was interrupted"
        else:
            if final is None and Clock.monotonic() < deadline:
                why = "the process that sends them ended"
        with _no_interrupt():
            self._end()
            if final is None:
                return self._look_at_disk(why)
        return Delivered(final.sent, final.complete, final.message, tuple(final.notes))

    def _await(self, deadline: float) -> Final | None:
        """Wait for an account, from further helpers if the first one is dead or never was."""
        final = self._account(deadline)
        for replace in (self._start, self._fork):
            if final is not None or Clock.monotonic() >= deadline:
                break
            self._end()
            self._helper = replace()
            final = self._account(deadline)
        return final

    def _account(self, deadline: float) -> Final | None:
        return self._helper.finish(deadline, self._is_gone) if self._helper is not None else None

    def _end(self) -> None:
        if self._helper is not None:
            self._helper.end()

    def _start(self) -> Helper | None:
        try:
            return Helper.start(self._task)
        except NoHelper:
            return None

    def _fork(self) -> Helper | None:
        """Send from a fork of this process: less well shielded, but there is no other."""
        try:
            return Helper.fork(self._task, _serve)
        except (NoHelper, OSError):
            return None

    def _is_gone(self) -> bool:
        return not os.path.exists(self._files.meta)

    def _look_at_disk(self, why: str) -> Delivered:
        """Say what was sent where no helper can: the journal knows what was confirmed."""
        if self._is_gone():
            return Delivered(None, complete=True)
        said = last_line(self._files.log)
        return Delivered(count_taken(self._files.meta), complete=False, message=f"{why}: {said}" if said else why)


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Let no Ctrl-C come between the wait and the line that tells how it ended: impatience repeats it."""
    before = signal.getsignal(signal.SIGINT)
    if before is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(listen: int, answer: int) -> None:
    from pytest_test_observer._shipper.helper import main  # noqa: PLC0415 - clients are loaded in the fork only

    main(listen, answer)
