"""Where batches end."""

from __future__ import annotations

import re

BATCH_ROWS = 10_000
BATCH_BYTES = 4_000_000
# The end of a line that is not whole: no JSON object, or an empty line.
_BROKEN = re.compile(rb"\A\n|[^}]\n")


def first_cut(chunk: bytes) -> tuple[int, int]:
    """Return how many bytes of whole lines, and how many lines, the first batch of ``chunk`` has."""
    end = chunk.rfind(b"\n", 0, BATCH_BYTES) + 1
    if end == 0:  # one line alone is larger than a batch may be
        end = chunk.find(b"\n") + 1
        return end, int(end > 0)
    rows = chunk.count(b"\n", 0, end)
    if rows - 1 != chunk.count(b'}\n{"', 0, end) or chunk[end - 2 : end] != b"}\n":
        end = _until_broken(chunk, end)
        rows = chunk.count(b"\n", 0, end)
    if rows <= BATCH_ROWS:
        return end, rows
    end = 0
    for _ in range(BATCH_ROWS):
        end = chunk.find(b"\n", end) + 1
    return end, BATCH_ROWS


def _until_broken(chunk: bytes, end: int) -> int:
    """Return where a broken line begins, or its end if it comes first: no good line shares its fate."""
    broken = _BROKEN.search(chunk, 0, end)
    if broken is None:  # lines that begin in some other way
        return end
    start = chunk.rfind(b"\n", 0, broken.end() - 1) + 1
    return start or broken.end()
