"""Removing from disk what has arrived."""

from __future__ import annotations

import contextlib
import os

from pytest_test_observer._journal.files import NO_LINK
from pytest_test_observer._journal.reader import FILES, JournalReader
from pytest_test_observer._journal.remove import remove

_COPY = 1 << 20


def tidy(journal: JournalReader) -> None:
    """Delete a journal whose batches have all arrived; else cut those that have out of its files.

    Only for whoever holds the journal's locks, once nobody writes to it any more. A death in the middle does
    no harm: each file is replaced at once, and the sidecar's batches are found by their digests.
    """
    if not journal.pending() and not journal.unsealed_bytes():
        remove(journal.files)
        return
    for table in FILES:
        gaps = journal.taken_ranges(table)
        if gaps:
            _cut_out(journal.files.table(table), journal.files.rewritten(table), gaps)


def _cut_out(path: str, new: str, gaps: list[tuple[int, int]]) -> None:
    """Rewrite a file without some ranges of its bytes, in order; on a full disk it stays as it is."""
    try:
        _copy_but(path, new, gaps)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(new)
    else:
        os.replace(new, path)


def _copy_but(path: str, new: str, gaps: list[tuple[int, int]]) -> None:
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | NO_LINK, 0o600)
    with open(path, "rb") as source, open(descriptor, "wb") as target:
        for gap_start, gap_end in [*gaps, (os.stat(path).st_size, 0)]:
            while source.tell() < gap_start:
                target.write(source.read(min(_COPY, gap_start - source.tell())))
            source.seek(gap_end)
        target.flush()
        os.fsync(descriptor)  # a power cut after the exchange must not find an empty file
