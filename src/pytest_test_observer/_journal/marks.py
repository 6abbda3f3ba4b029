"""Marks of what is running: kept where tests run, read when a process has died.

A mark must survive a kill -9 and is set three times a test. It is therefore a store to a page of a file that
is mapped into memory: a tenth of what an append costs, no descriptor that it depends on, no room that grows
with the tests. Each process has a slot of the file to itself.

What it costs: a suite that truncates the file ends its process by SIGBUS at the next mark. No guard against that is
free: to look at the file before each mark is a system call, and what has no name to be truncated by (a memfd, an
unlinked file) is gone with the processes that it is to tell of.
"""

from __future__ import annotations

import mmap
import os
import sys
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

import msgspec

from pytest_test_observer._gathered import location_of, ungrouped
from pytest_test_observer._ids import SpanIds  # noqa: TC001 - msgspec reads it at run time
from pytest_test_observer._journal.append import identity
from pytest_test_observer._naming import Key, Running
from pytest_test_observer._rows import encode
from pytest_test_observer._verdict import PHASES

if TYPE_CHECKING:
    from pytest_test_observer._extras import Extras
    from pytest_test_observer._gathered import ItemLocation

MASTER_SLOT = 0

# Mapped pieces of a file begin at multiples of the granularity: 4 KiB on Linux, 16 or 64 elsewhere.
_SLOT = max(16384, mmap.ALLOCATIONGRANULARITY)
# A slot has two halves for texts, used in turn, so that a death in the middle of one leaves the other. Its first byte
# says which one counts and what phase that attempt is in.
_HALVES = (1, _SLOT // 2)
_ROOM = _SLOT // 2 - 1
_END = b"\n"
_PHASE_INDEX = {when: index for index, when in enumerate(PHASES)}
# A map closes the number of its descriptor with itself. Where a test has closed that one, the number is
# somebody else's by now: such a map lives as long as the process.
_STRAY: list[mmap.mmap] = []


class Start(msgspec.Struct, array_like=True):
    """The attempt that a slot's process began last; ``location`` is an ``ItemLocation``."""

    worker: str
    nodeid: str
    occurrence: int
    attempt: int
    time_ns: int
    location: tuple[str, int | None, str]
    markers: list[str]
    span: SpanIds | None = None


@cache
def _decoder() -> msgspec.json.Decoder[Start]:
    return msgspec.json.Decoder(Start)  # made where it is needed: that takes a while


class MarkWriter:
    """Marks down the running test of one process, in ``slot`` of the file at ``path``.

    Marks only sharpen what is said of a death, so where none can be kept the run goes on without. ``grouped``
    is ``--dist loadgroup``.
    """

    def __init__(self, path: str, slot: int, worker: str, *, grouped: bool = False) -> None:
        self._worker = worker
        self._grouped = grouped
        self._page, self._fd, self._identity = _mapped(path, slot)
        self._half = 0

    def start(self, nodeid: str, location: ItemLocation, extras: Extras, now_ns: int) -> None:
        """An attempt begins."""
        page = self._page
        if page is None:
            return
        if self._grouped:
            nodeid = ungrouped(nodeid)
        # in the order of the fields of Start, which is encoded as such an array
        mark = (self._worker, nodeid, extras.occurrence, extras.attempt, now_ns, location, extras.markers, extras.span)
        text = encode(mark) + _END
        if len(text) > _ROOM:
            text = _END  # a node id of kilobytes: its death is told from its reports alone
        self._half = half = 1 - self._half
        at = _HALVES[half]
        page[at : at + len(text)] = text
        page[0] = half * len(PHASES)

    def phase(self, when: str) -> None:
        """The attempt enters its call or its teardown."""
        if self._page is not None:
            self._page[0] = self._half * len(PHASES) + _PHASE_INDEX[when]

    def close(self) -> None:
        """Set no more marks."""
        page, self._page = self._page, None
        if page is None:
            return
        if self._fd < 0 or _is(self._fd, self._identity):
            page.close()
        else:
            _STRAY.append(page)


def create_marks(path: str) -> None:
    """Make the file that the marks of a run's processes stand in; without it there are none."""
    with suppress(OSError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def read_marks(path: str) -> dict[str, Running]:
    """Return the last mark of each worker: what it ran, or had finished, when it set a mark for the last time."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return {}
    slots = (data[start : start + _SLOT] for start in range(0, len(data), _SLOT))
    return {mark.key.worker: mark for mark in map(_read, slots) if mark is not None}


def _read(slot: bytes) -> Running | None:
    half, phase = divmod(slot[0], len(PHASES))
    try:
        text, _, _ = slot[_HALVES[half] :].partition(_END)
        start = _decoder().decode(text)
    except (IndexError, msgspec.MsgspecError, UnicodeDecodeError):
        return None  # empty
    key = Key(start.nodeid, start.worker, start.occurrence, start.attempt)
    return Running(key, PHASES[phase], start.time_ns, location_of(start.location), tuple(start.markers), start.span)


def _mapped(path: str, slot: int) -> tuple[mmap.mmap | None, int, tuple[int, int]]:
    """Map a slot; returns the descriptor that the map keeps (-1 for none) and what it belongs to as well.

    The slot's room on the disk is taken first: a store to a page that the disk cannot hold would kill us.
    """
    try:
        fd = os.open(path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
    except OSError:  # a worker on another machine
        return None, -1, (0, 0)
    try:
        os.pwrite(fd, bytes(_SLOT), slot * _SLOT)
        free = os.dup(fd)  # the map takes the lowest number as well, and does not tell it
        os.close(free)
        kept = {"trackfd": False} if sys.version_info >= (3, 13) else {}
        page = mmap.mmap(fd, _SLOT, offset=slot * _SLOT, **kept)
        return page, -1 if kept else free, identity(fd)
    except (OSError, ValueError, AttributeError):
        return None, -1, (0, 0)
    finally:
        os.close(fd)


def _is(fd: int, owner: tuple[int, int]) -> bool:
    try:
        return identity(fd) == owner
    except OSError:
        return False
