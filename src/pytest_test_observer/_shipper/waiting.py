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
from pytest_test_observer._journal.remove import remove
from pytest_test_observer._replay.claim import claim, is_written

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MOST_BYTES", "Waiting"]

# Some 800,000 results: weeks without a server, on most disks a small part of them.
MOST_BYTES = 1 << 30
# Seconds: what was written to since is a run beside this one, or one that has only just said what it kept.
_RECENT = 3600
_SUFFIXES = (META_SUFFIX, EVENTS_SUFFIX, SUFFIX)


class _Left(NamedTuple):
    """Files of an earlier run: when they were written to last (seconds since the epoch), their bytes."""

    changed: float
    size: int
    files: JournalFiles


class Waiting:
    """The earlier runs beside ``files`` that wait to be sent, the oldest first."""

    def __init__(self, files: JournalFiles) -> None:
        self._directory = files.directory
        self._left = sorted(_left_beside(files))
        self._size = sum(run.size for run in self._left)

    def notes(self) -> list[str]:
        """Make room where there is too much, and say what was removed and what waits."""
        removed = self._make_room()
        where = self._directory
        notes = []
        if removed:
            most = _bytes(MOST_BYTES)
            notes.append(f"older runs removed from {where}, never sent, as more than {most} waited: {len(removed)}")
        if self._left:
            waits = f"{len(self._left)}, {_bytes(self._size)}"
            notes.append(f"older runs that wait in {where}: {waits}; send with: pytest-observer replay")
        return notes

    def _make_room(self) -> list[_Left]:
        removed = []
        for run in list(self._left):
            if self._size <= MOST_BYTES:
                break
            if _removed(run.files):
                removed.append(run)
                self._left.remove(run)
                self._size -= run.size
        return removed


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
