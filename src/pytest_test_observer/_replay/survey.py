"""What a replay would send: counted without touching anything."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from pytest_test_observer._journal.sidecar import Run, Tail
from pytest_test_observer._replay.claim import looks_busy
from pytest_test_observer._replay.lone import is_ours

if TYPE_CHECKING:
    from pytest_test_observer._replay.find import Found

_CHUNK = 1 << 20


class Survey(NamedTuple):
    """What is in a file or a run's files: ``state`` in words, ``rows`` in lines, ``size`` in bytes."""

    path: str
    state: str
    rows: int
    size: int


def survey(thing: Found) -> Survey:
    """Look at one thing that a replay would send."""
    if thing.run is None:
        state = "without a sidecar, as version 0.2.0 wrote it" if is_ours(thing.path) else "not ours"
        return Survey(thing.path, state, _lines(thing.path), thing.size)
    busy = looks_busy(thing.run)
    rows = sum(_lines(path) for path in (thing.run.results, thing.run.events))
    return Survey(thing.path, f"live: {busy}" if busy else _state(thing.run.meta), rows, thing.size)


def _state(meta: str) -> str:
    ended = any(isinstance(line, Run) for line in Tail(meta).lines())
    return "run that ended" if ended else "dead run"


def _lines(path: str) -> int:
    """Count lines, also a last one without its end."""
    if not os.path.exists(path):
        return 0
    count, last = 0, b"\n"
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            count += chunk.count(b"\n")
            last = chunk[-1:]
    return count + (last != b"\n")
