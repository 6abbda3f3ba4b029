"""What earlier runs have left in the cache directory: told, and bounded.

Nothing that waits is ever removed below ``MOST_BYTES``; beyond it the oldest goes, and the run that removes it
says so.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from pytest_test_observer._clock import Clock
from pytest_test_observer._journal.files import EVENTS_SUFFIX, META_SUFFIX, SUFFIX, JournalFiles
from pytest_test_observer._journal.locks import FileLock
from pytest_test_observer._journal.remove import remove
from pytest_test_observer._replay.claim import claim, is_written

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MOST_BYTES", "Waiting", "discard_unbegun"]

# Some 800,000 results: weeks without a server, on most disks a small part of them.
MOST_BYTES = 1 << 30
# Seconds: what was written to since is a run beside this one, or one that has only just said what it kept.
_RECENT = 3600
_ROOM_LOCK = "room.lock"
# Seconds between two looks at a lock.
_PAUSE = 0.1
_SUFFIXES = (META_SUFFIX, EVENTS_SUFFIX, SUFFIX)


class _Left(NamedTuple):
    """Files of an earlier run: when they were written to last (seconds since the epoch), their bytes."""

    changed: float
    size: int
    files: JournalFiles


class Waiting:
    """The earlier runs beside ``files`` that wait to be sent, the oldest first."""

    def __init__(self, files: JournalFiles) -> None:
        self._files = files
        self._left = sorted(_left_beside(files))

    def notes(self) -> list[str]:
        """Make room where there is too much, and say what was removed and what waits."""
        where = self._files.directory
        removed = self._make_room() if _size(self._left) > MOST_BYTES else 0
        notes = []
        if removed:
            most = _bytes(MOST_BYTES)
            notes.append(f"older runs removed from {where}, never sent, as more than {most} waited: {removed}")
        left = [run for run in self._left if _exists(run.files)]
        if left:
            waits = f"{len(left)}, {_bytes(_size(left))}"
            notes.append(f"older runs that wait in {where}: {waits}; send with: pytest-observer replay")
        return notes

    def _make_room(self) -> int:
        """Remove the oldest runs until the rest fits; one process at a time, or several would remove too much."""
        lock = FileLock(os.path.join(self._files.directory, _ROOM_LOCK), 0)
        if not lock.acquire():
            return 0
        try:
            return self._remove_oldest()
        finally:
            lock.release()

    def _remove_oldest(self) -> int:
        self._left = sorted(_left_beside(self._files))
        too_much = _size(self._left) - MOST_BYTES
        removed = 0
        for run in self._left:
            if too_much <= 0:
                break
            if _removed(run.files):
                removed += 1
                too_much -= run.size
        return removed


def discard_unbegun(files: JournalFiles, patience: float) -> None:
    """Remove the files of a pytest that died before it wrote to them; it may hold their lock for some seconds yet."""
    deadline = Clock.monotonic() + patience
    with suppress(OSError):  # pytest lives, and removes them itself
        while not os.path.getsize(files.meta):
            if _removed(files) or Clock.monotonic() > deadline:
                return
            Clock.sleep(_PAUSE)


def _size(runs: list[_Left]) -> int:
    return sum(run.size for run in runs)


def _exists(run: JournalFiles) -> bool:
    return any(os.path.exists(path) for path in (run.meta, run.results, run.events))


def _removed(run: JournalFiles) -> bool:
    """Remove the files of a run, unless somebody is at them; those without a sidecar are not ours to remove."""
    with suppress(OSError):
        if os.path.exists(run.meta):
            with claim(run.results, run) as obstacle:
                if not obstacle:
                    remove(run)
                    return True
    return False


def _left_beside(files: JournalFiles) -> Iterator[_Left]:
    since = Clock.time_ns() / 1e9 - _RECENT
    for stem, (changed, size) in _buffers(files.directory).items():
        run = JournalFiles(files.directory, stem)
        if stem != files.stem and changed < since and not is_written(run):
            yield _Left(changed, size, run)


def _buffers(directory: str) -> dict[str, tuple[float, int]]:
    """Return the last change and the bytes of each run that has files in a directory."""
    found: dict[str, tuple[float, int]] = {}
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            suffix = next((suffix for suffix in _SUFFIXES if entry.name.endswith(suffix)), None)
            if suffix is None:
                continue
            with suppress(OSError):  # it has been sent meanwhile
                status = entry.stat()
                changed, size = found.get(entry.name.removesuffix(suffix), (0.0, 0))
                changed = max(changed, status.st_mtime)
                found[entry.name.removesuffix(suffix)] = (changed, size + status.st_size)
    return found


def _bytes(size: int) -> str:
    if size >= 1 << 30:
        return f"{size / (1 << 30):.1f} GiB"
    return f"{size / (1 << 20):.1f} MiB" if size >= 1 << 20 else f"{max(1, size >> 10)} KiB"
