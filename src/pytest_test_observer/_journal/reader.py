"""The side of the journal that sends: the helper while tests run, replay afterwards.

Bytes of a table are cut into batches once, the cut is written down before anything is sent, and from then on
a batch is only ever these bytes. Where a batch stands in its file follows from its order and its digest:
batches that were taken may have been cut out since, so positions are not written down.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, BinaryIO

from pytest_test_observer._destinations import Batch
from pytest_test_observer._journal.append import Appender
from pytest_test_observer._journal.cuts import BATCH_BYTES, first_cut
from pytest_test_observer._journal.sidecar import (
    Begin,
    Collected,
    Line,
    Run,
    Sealed,
    SetAside,
    Tail,
    Taken,
    encode_line,
)
from pytest_test_observer._lines import digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_test_observer._journal.files import JournalFiles

# Events first: a row that is there has its events.
FILES = ("events", "results")
_LOOK_BYTES = 1 << 20


class JournalReader:
    """Batches of one run's files.

    ``begin``, ``collected`` and ``run`` are what the sidecar says of the run, None where it does not (yet).
    """

    def __init__(self, files: JournalFiles) -> None:
        self.files = files
        self.begin: Begin | None = None
        self.collected: Collected | None = None
        self.run: Run | None = None
        self.taken_rows = 0
        self.set_aside_rows = 0
        self._tail = Tail(files.meta)
        self._pending: dict[int, Sealed] = {}
        self._resumed: set[int] = set()
        self._where: dict[int, int] = {}
        self._taken: dict[str, list[tuple[int, int]]] = {table: [] for table in FILES}
        self._sealed_to = dict.fromkeys(FILES, 0)
        self._number = 0
        self._run_sealed = False
        self._meta: Appender | None = None

    def recover(self) -> None:
        """Read the sidecar and find the batches it speaks of in the files."""
        sealed: list[Sealed] = []
        done: set[int] = set()
        for line in self._tail.lines():
            if isinstance(line, Sealed):
                sealed.append(line)
            elif isinstance(line, (Taken, SetAside)):
                done.add(line.number)
            else:
                self._learn(line)
        for batch in sealed:
            self._number = max(self._number, batch.number)
            if batch.table == "runs":
                self._run_sealed = True
                here = True
            else:
                here = self._locate(batch)
            if batch.number in done:
                self.taken_rows += batch.rows if batch.table == "results" else 0
                self._forget(batch)
            elif here:
                self._pending[batch.number] = batch
                self._resumed.add(batch.number)

    def refresh(self) -> None:
        """Read what the run's pytest has added to the sidecar since ``recover``."""
        for line in self._tail.lines():
            self._learn(line)

    def unsealed_bytes(self) -> int:
        """How much the writer has added since the last batch was cut."""
        return sum(max(0, _size(self.files.table(table)) - self._sealed_to[table]) for table in FILES)

    def seal(self) -> None:
        """Cut whole lines that belong to no batch yet into batches; a torn last line stays.

        Raises OSError where the cut cannot be written down (a full disk); nothing of it must be sent then.
        """
        for _ in self.cut():
            pass

    def cut(self) -> Iterator[tuple[Sealed, Batch]]:
        """Do what ``seal`` does, and yield each batch once it is written down: its bytes are read only once so."""
        for table in FILES:
            for data, rows in self._cuts(table):
                sealed = self._seal(table, data, rows)
                yield sealed, self._batch(sealed, data)
        if self.run is not None and not self._run_sealed:
            data = bytes(self.run.row) + b"\n"
            sealed = self._seal("runs", data, 1)
            self._run_sealed = True
            yield sealed, self._batch(sealed, data)

    def pending(self) -> list[Sealed]:
        """Batches that no destination has confirmed, in order."""
        return list(self._pending.values())

    def load(self, sealed: Sealed) -> Batch:
        """Read a batch's bytes back; raises OSError when the file does not hold them any more."""
        if sealed.table == "runs":
            assert self.run is not None
            data = bytes(self.run.row) + b"\n"
        else:
            with open(self.files.table(sealed.table), "rb") as file:
                file.seek(self._where[sealed.number])
                data = file.read(sealed.size)
        if digest(data) != sealed.digest:
            raise OSError(f"{self.files.table(sealed.table)} has changed under batch {sealed.number}")
        return self._batch(sealed, data)

    def _batch(self, sealed: Sealed, data: bytes) -> Batch:
        session = self.begin.session_id if self.begin else self.files.stem
        token = f"{session}-{sealed.number}-{sealed.digest}"
        return Batch(sealed.table, data, sealed.rows, token, self.begin, resumed=sealed.number in self._resumed)

    def taken(self, sealed: Sealed) -> None:
        """Note that a batch has arrived."""
        self._forget(sealed)
        self.taken_rows += sealed.rows if sealed.table == "results" else 0
        # Unnoted, on a full disk, a later sender repeats the same bytes under the same token.
        with contextlib.suppress(OSError):
            self._note(Taken(sealed.number))

    def set_aside(self, sealed: Sealed, rows: int) -> None:
        """Note that ``rows`` lines of a batch are in quarantine and the rest has arrived."""
        self._note(SetAside(sealed.number, rows))
        self._forget(sealed)
        if sealed.table == "results":
            self.taken_rows += sealed.rows - rows
            self.set_aside_rows += rows

    def taken_ranges(self, table: str) -> list[tuple[int, int]]:
        """Return where in a table's file bytes stand that nobody needs any more: (start, end), in order."""
        return sorted(self._taken[table])

    def add_run(self, run: Run) -> None:
        """Write the row of a run whose own process could not."""
        self._note(run)
        self.run = run

    def torn(self, table: str) -> bytes:
        """Return what stands behind the last whole line of a table: cut off by a death or a full disk."""
        path, start = self.files.table(table), self._sealed_to[table]
        position = _size(path)
        if position <= start:
            return b""
        rest = b""
        with open(path, "rb") as file:
            while position > start:  # from the end: what stands before can be any amount
                size = min(_LOOK_BYTES, position - start)
                position -= size
                file.seek(position)
                _, line_feed, tail = file.read(size).rpartition(b"\n")
                rest = tail + rest
                if line_feed:
                    break
        return rest

    def sync(self) -> None:
        """Put what stands in the files on the disk itself, so that it survives a power cut."""
        for path in (self.files.events, self.files.results, self.files.meta):
            try:
                fd = os.open(path, os.O_RDONLY)
            except OSError:
                continue
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def close(self) -> None:
        """Let go of the sidecar."""
        if self._meta is not None:
            self._meta.close()
            self._meta = None

    def _forget(self, sealed: Sealed) -> None:
        self._pending.pop(sealed.number, None)
        where = self._where.pop(sealed.number, None)
        if where is not None:
            self._taken[sealed.table].append((where, where + sealed.size))

    def _learn(self, line: Line) -> None:
        if isinstance(line, Begin):
            self.begin = line
        elif isinstance(line, Collected):
            self.collected = line
        elif isinstance(line, Run):
            self.run = line

    def _note(self, line: Line) -> None:
        if self._meta is None:
            self._meta = Appender(self.files.meta)
        self._meta.write(encode_line(line))

    def _seal(self, table: str, data: bytes, rows: int) -> Sealed:
        sealed = Sealed(self._number + 1, table, len(data), rows, digest(data))
        self._note(sealed)
        self._number = sealed.number
        self._pending[sealed.number] = sealed
        if table in self._sealed_to:
            self._where[sealed.number] = self._sealed_to[table]
            self._sealed_to[table] += len(data)
        return sealed

    def _locate(self, sealed: Sealed) -> bool:
        """Find a batch at the next place of its file; one that was cut out is not there."""
        start = self._sealed_to[sealed.table]
        try:
            with open(self.files.table(sealed.table), "rb") as file:
                file.seek(start)
                here = digest(file.read(sealed.size)) == sealed.digest
        except OSError:
            return False
        if here:
            self._where[sealed.number] = start
            self._sealed_to[sealed.table] = start + sealed.size
        return here

    def _cuts(self, table: str) -> Iterator[tuple[bytes, int]]:
        try:
            file = open(self.files.table(table), "rb")  # noqa: SIM115 - a run without events has no such file
        except FileNotFoundError:
            return
        position = self._sealed_to[table]
        with file:
            while True:
                end, rows, chunk = _first_batch(file, position)
                if end == 0:
                    return
                yield chunk[:end], rows
                position += end


def _first_batch(file: BinaryIO, position: int) -> tuple[int, int, bytes]:
    """Read from ``position`` until there is a batch: returns where it ends, its rows, and what was read.

    To read again what a batch leaves over costs less than to keep and to join it: most often a part of a line.
    """
    file.seek(position)
    chunk = file.read(BATCH_BYTES)
    end, rows = first_cut(chunk)
    while end == 0 and (more := file.read(BATCH_BYTES)):
        chunk += more
        end, rows = first_cut(chunk)
    return end, rows, chunk


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
