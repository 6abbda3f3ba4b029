"""How pytest gets a journal delivered: by a helper from the start, by another one at the end if that is needed."""

from __future__ import annotations

import os
from typing import NamedTuple

from pytest_test_observer._clock import Clock
from pytest_test_observer._destinations.config import Destinations
from pytest_test_observer._journal.files import JournalFiles
from pytest_test_observer._journal.reader import JournalReader
from pytest_test_observer._process import this_process
from pytest_test_observer._shipper.client import Helper, NoHelper
from pytest_test_observer._shipper.log import last_line
from pytest_test_observer._shipper.protocol import Final, Task

# Seconds: nothing on a network can hang an embedded engine, and a cold library is slow to load.
_EMBEDDED_DEADLINE = 30.0


class Delivered(NamedTuple):
    """What was sent in the end: ``sent`` counts rows of results, None means all; ``message`` says why not all."""

    sent: int | None
    complete: bool
    message: str = ""
    notes: tuple[str, ...] = ()


class Delivery:
    """Delivers one journal. pytest itself loads no client and opens no socket for it."""

    def __init__(self, files: JournalFiles, destinations: Destinations) -> None:
        self._files = files
        self._destinations = destinations
        self._task = Task(files.directory, files.stem, this_process(), destinations)
        self._helper: Helper | None = None

    def start(self) -> None:
        """Start a helper; without one the journal is sent at the end."""
        try:
            self._helper = Helper.start(self._task)
        except NoHelper:
            self._helper = None

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
        if self._helper is not None:
            self._helper.end()

    def finish(self, timeout: float) -> Delivered:
        """Wait for the rest to be sent, at most ``timeout`` seconds (longer for an embedded engine).

        An interrupt ends the wait, not the run.
        """
        seconds = max(timeout, _EMBEDDED_DEADLINE) if self._destinations.is_embedded else timeout
        deadline = Clock.monotonic() + seconds
        interrupted = False
        final = None
        try:
            final = self._finish(self._helper, deadline)
            if final is None and Clock.monotonic() < deadline:
                final = self._finish(self._replacement(), deadline)
        except KeyboardInterrupt:
            interrupted = True
        if final is not None:
            return Delivered(final.sent, final.complete, final.message, tuple(final.notes))
        return self._look_at_disk(seconds, interrupted=interrupted)

    def _finish(self, helper: Helper | None, deadline: float) -> Final | None:
        return helper.finish(deadline, self._is_gone) if helper is not None else None

    def _replacement(self) -> Helper | None:
        """Return a helper for a session whose own could not start, or is dead."""
        try:
            return Helper.start(self._task)
        except NoHelper:
            pass
        try:
            return Helper.fork(self._task, _serve)
        except (NoHelper, OSError):
            return None

    def _is_gone(self) -> bool:
        return not os.path.exists(self._files.meta)

    def _look_at_disk(self, seconds: float, *, interrupted: bool) -> Delivered:
        """Say what was sent where no helper can: the journal knows what was confirmed."""
        if self._is_gone():
            return Delivered(None, complete=True)
        journal = JournalReader(self._files)
        journal.recover()
        why = "sending was interrupted" if interrupted else f"not all was sent within {seconds:g} s"
        said = last_line(self._files.log)
        return Delivered(journal.taken_rows, complete=False, message=f"{why}: {said}" if said else why)


def _serve(listen: int, answer: int) -> None:
    from pytest_test_observer._shipper.helper import main  # noqa: PLC0415 - clients are loaded in the fork only

    main(listen, answer)
