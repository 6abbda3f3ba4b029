"""Having a run's files to oneself: not while its pytest writes, nor while somebody else sends."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from pytest_test_observer._journal.locks import SENDER, WRITER, FileLock
from pytest_test_observer._journal.sidecar import Begin, Run, Tail
from pytest_test_observer._process import is_alive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_test_observer._journal.files import JournalFiles

WRITING = "a run is writing to it"
SENDING = "another process is sending it"


@contextlib.contextmanager
def claim(path: str, run: JournalFiles | None) -> Iterator[str]:
    """Hold the locks of a file, or of its run; yields why they are not to be had, empty when they are."""
    lock = run.lock if run else f"{path}.lock"
    is_new = not os.path.exists(lock)
    writer, sender = FileLock(lock, WRITER), FileLock(lock, SENDER)
    obstacle = _obstacle(run, writer, sender)
    try:
        yield obstacle
    finally:
        if not obstacle and (is_new or run is None):
            with contextlib.suppress(OSError):
                os.unlink(lock)
        sender.release()
        writer.release()


def looks_busy(run: JournalFiles) -> str:
    """Say who is at a run's files, without making any; empty when nobody is."""
    if is_written(run):
        return WRITING
    if not os.path.exists(run.lock):
        return ""
    writer, sender = FileLock(run.lock, WRITER), FileLock(run.lock, SENDER)
    try:
        return _obstacle(None, writer, sender)
    finally:
        sender.release()
        writer.release()


def is_written(run: JournalFiles) -> bool:
    """Whether a run's pytest lives and has not come to its end, by what the sidecar says."""
    begin = None
    for line in Tail(run.meta).lines():
        if isinstance(line, Run):
            return False
        if isinstance(line, Begin):
            begin = line
    return begin is not None and is_alive(begin.process)


def last_change_ns(run: JournalFiles) -> int:
    """When a run's files were written to last, nanoseconds since the epoch; 0 when there are none."""
    paths = [path for path in (run.results, run.events, run.meta) if os.path.exists(path)]
    return max((os.stat(path).st_mtime_ns for path in paths), default=0)


def _obstacle(run: JournalFiles | None, writer: FileLock, sender: FileLock) -> str:
    # The writer first: a helper that finds its own lock taken would not send.
    if run is not None and is_written(run):
        return WRITING
    if not writer.acquire():
        return WRITING
    return "" if sender.acquire() else SENDING
