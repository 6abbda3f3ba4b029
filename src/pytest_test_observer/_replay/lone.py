"""Replaying a file that has no sidecar: one of version 0.2.0, or one of ours whose sidecar is gone."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from pytest_test_observer._destinations import Answer, Reply
from pytest_test_observer._journal.cuts import BATCH_BYTES, BATCH_ROWS
from pytest_test_observer._journal.files import EVENTS_SUFFIX, SUFFIX
from pytest_test_observer._lines import digest
from pytest_test_observer._replay.careful import Refused
from pytest_test_observer._replay.lines import batch_of
from pytest_test_observer._replay.older import LineError, completed, read_row, table_of
from pytest_test_observer._replay.outcome import Outcome
from pytest_test_observer._replay.quarantine import Quarantine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_test_observer._replay.lanes import Lanes

FOREIGN = "it holds no rows of pytest-test-observer, so it was left alone"
CHANGED = "it was written to meanwhile: replay it again"

# A file is somebody else's when none of its first lines is a row of ours.
_LOOKED_AT = 100


class _Piece(NamedTuple):
    """Consecutive lines of a file; ``rows`` by table, as they are sent, with the line each was made from."""

    size: int
    rows: dict[str, dict[bytes, bytes]]
    damaged: list[Refused]
    origin: str


def is_ours(path: str) -> bool:
    """Whether a file has rows of this plugin."""
    with open(path, "rb") as file:
        for _, line in zip(range(_LOOKED_AT), file, strict=False):
            try:
                table_of(read_row(line))
            except LineError:
                continue
            return True
    return False


def replay_lone(path: str, lanes: Lanes, *, keep: bool, advance: Callable[[int], None]) -> Outcome:
    """Send a file; it stays whole until all of it has arrived. Raises OSError."""
    if not os.path.getsize(path):
        return Outcome(path, kept=True)
    if not is_ours(path):
        return Outcome(path, problem=FOREIGN, kept=keep)
    before = os.stat(path)
    outcome = _LoneReplay(path, lanes, advance).send()._replace(kept=keep)
    after = os.stat(path)
    if not outcome.problem and (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        return outcome._replace(problem=CHANGED)
    in_quarantine_already = outcome.set_aside and outcome.quarantine == os.path.dirname(path)
    if not outcome.problem and not keep and not in_quarantine_already:
        os.unlink(path)
    return outcome


class _LoneReplay:
    def __init__(self, path: str, lanes: Lanes, advance: Callable[[int], None]) -> None:
        directory, name = os.path.split(path)
        suffix = EVENTS_SUFFIX if name.endswith(EVENTS_SUFFIX) else SUFFIX
        self._path = path
        self._fallback = "events" if suffix == EVENTS_SUFFIX else "results"
        self._quarantine = Quarantine(directory, name.removesuffix(suffix))
        self._lanes = lanes
        self._advance = advance
        self._outcome = Outcome(path, quarantine=self._quarantine.directory)
        self._rows = Counter[str]()

    def send(self) -> Outcome:
        """Send piece by piece; ends at the first that does not arrive."""
        for piece in _pieces(self._path):
            reply = self._send(piece)
            if reply.answer is not Answer.TAKEN:
                self._outcome = self._outcome._replace(problem=reply.message, is_outage=True)
                break
            self._put_aside(self._fallback, piece, piece.damaged)
            self._advance(piece.size)
        return self._outcome._replace(results=self._rows["results"], events=self._rows["events"])

    def _send(self, piece: _Piece) -> Reply:
        for table, rows in piece.rows.items():
            delivered = self._lanes.deliver_one(batch_of(table, rows))
            if delivered.reply.answer is not Answer.TAKEN:
                return delivered.reply
            refused = [Refused(rows[line], reason) for line, reason in delivered.refused]
            self._put_aside(table, piece, refused)
            self._rows[table] += delivered.stored + delivered.already
            self._outcome = self._outcome._replace(already=self._outcome.already + delivered.already)
        return Reply(Answer.TAKEN)

    def _put_aside(self, table: str, piece: _Piece, lines: list[Refused]) -> None:
        if not lines:
            return
        self._quarantine.put(table, piece.origin, self._path, lines)
        self._outcome = self._outcome._replace(
            set_aside=self._outcome.set_aside + len(lines),
            reason=self._outcome.reason or lines[0].reason,
        )


def _pieces(path: str) -> Iterator[_Piece]:
    """Cut a file into pieces, the same ones each time; equal lines of a piece are one row."""
    with open(path, "rb") as file:
        while lines := _take(file):
            yield _piece(lines)


def _piece(lines: list[bytes]) -> _Piece:
    data = b"".join(lines)
    piece = _Piece(len(data), {}, [], f"lone-{digest(data)}")
    for line in filter(bytes.strip, lines):
        try:
            row = read_row(line)
            piece.rows.setdefault(table_of(row), {}).setdefault(completed(line, row), line)
        except LineError as error:  # noqa: PERF203 - each line has its own fate
            piece.damaged.append(Refused(line, str(error)))
    return piece


def _take(file: Iterator[bytes]) -> list[bytes]:
    lines: list[bytes] = []
    size = 0
    for line in file:
        lines.append(line)
        size += len(line)
        if len(lines) == BATCH_ROWS or size >= BATCH_BYTES:
            break
    return lines
