"""What a replay would send: counted without touching anything."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from pytest_test_observer._journal.reader import FILES, JournalReader
from pytest_test_observer._replay.claim import looks_busy
from pytest_test_observer._replay.lone import is_ours

if TYPE_CHECKING:
    from pytest_test_observer._journal.files import JournalFiles
    from pytest_test_observer._replay.find import Found

_CHUNK = 1 << 20


class Survey(NamedTuple):
    """What waits in a file or a run's files: ``state`` in words, ``rows`` in lines, ``size`` in bytes.

    ``goes`` tells whether a replay would send it now, ``unreadable`` whether this user may not even look.
    """

    path: str
    state: str
    rows: int = 0
    size: int = 0
    goes: bool = False
    unreadable: bool = False


def survey(thing: Found) -> Survey:
    """Look at one thing that a replay would send."""
    try:
        return _run(thing.run) if thing.run else _lone(thing)
    except OSError as error:
        return Survey(thing.path, f"cannot be read: {error.strerror or error}", unreadable=True)


def _lone(thing: Found) -> Survey:
    ours = is_ours(thing.path)
    state = "without a sidecar, as version 0.2.0 wrote it" if ours else "not ours"
    return Survey(thing.path, state, _lines(thing.path, []), thing.size, ours)


def _run(run: JournalFiles) -> Survey:
    """Count what has not arrived; what has can still stand in the files of a run whose helper was killed."""
    busy = looks_busy(run)
    journal = JournalReader(run)
    journal.recover()
    rows = size = 0
    for table in FILES:
        path, arrived = run.table(table), journal.taken_ranges(table)
        if os.path.exists(path):
            rows += _lines(path, arrived)
            size += os.stat(path).st_size - sum(end - start for start, end in arrived)
    state = f"live: {busy}" if busy else "run that ended" if journal.run else "dead run"
    return Survey(run.results, state, rows, size, not busy)


def _lines(path: str, gaps: list[tuple[int, int]]) -> int:
    """Count lines outside of ``gaps`` (ranges of bytes, in order), also a last one without its end."""
    count, last = 0, b"\n"
    with open(path, "rb") as file:
        for gap_start, gap_end in [*gaps, (os.stat(path).st_size, 0)]:
            while chunk := file.read(min(_CHUNK, gap_start - file.tell())):
                count += chunk.count(b"\n")
                last = chunk[-1:]
            file.seek(gap_end)
    return count + (last != b"\n")
