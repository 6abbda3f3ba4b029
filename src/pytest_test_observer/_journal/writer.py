"""The side of the journal that lives in pytest: it appends, nothing else."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping
from itertools import islice

from pytest_test_observer._journal.append import Appender
from pytest_test_observer._journal.files import JournalFiles, candidates, usable_directories
from pytest_test_observer._journal.locks import WRITER, FileLock
from pytest_test_observer._journal.remove import remove
from pytest_test_observer._journal.sidecar import Line, encode_line
from pytest_test_observer._record import Context, RunRecord, TestRecord
from pytest_test_observer._rows import RowEncoder

# Held in memory while the disk takes nothing (it is full, say). Beyond it lines are lost, and counted.
HELD_BYTES = 16 * 1024 * 1024
_NAMES_TRIED = 10_000


class JournalError(Exception):
    """No place on disk takes a journal; the text says what was tried."""


class JournalWriter:
    """Appends the results of one run.

    ``lost`` counts results that neither disk nor memory could hold, ``error`` is the last reason.
    """

    def __init__(self, files: JournalFiles, meta: Appender, results: Appender, lock: FileLock) -> None:
        self.files = files
        self.written = 0
        self.lost = 0
        self.error = ""
        self._meta = meta
        self._results = results
        self._events: Appender | None = None
        self._lock = lock
        self._rows: RowEncoder | None = None
        self._held: deque[tuple[str, bytes]] = deque()
        self._held_bytes = 0

    @classmethod
    def create(cls, environ: Mapping[str, str], run_id: str) -> JournalWriter:
        """Reserve file names for a run; raises JournalError."""
        reasons = []
        for directory in usable_directories(environ):
            try:
                return _reserve(directory, run_id)
            except OSError as error:
                reasons.append(f"{directory}: {error.strerror or error}")
        raise JournalError("; ".join(reasons) or "no directory for buffers could be made")

    def begin(self, context: Context, line: Line) -> None:
        """Write the first line of the sidecar. Rows can be written from now on."""
        self._rows = RowEncoder(context)
        self.note(line)

    def note(self, line: Line) -> None:
        """Append a line to the sidecar."""
        self._write("meta", encode_line(line))

    def append(self, record: TestRecord) -> None:
        """Append an attempt: its events first, so that a row never lacks its events."""
        assert self._rows is not None
        if record.events:
            self._write("events", self._rows.events(record))
        self._write("results", self._rows.result(record))
        self.written += 1

    def run_row(self, record: RunRecord) -> bytes:
        """Return the row of the run, without its line feed."""
        assert self._rows is not None
        return self._rows.run(record).rstrip(b"\n")

    def retry(self) -> None:
        """Try once more to write what the disk did not take."""
        while self._held:
            table, data = self._held[0]
            try:
                self._appender(table).write(data)
            except OSError as error:
                self.error = str(error)
                return
            self._held.popleft()
            self._held_bytes -= len(data)

    def give_up(self) -> None:
        """Count as lost what the disk never took."""
        self.retry()
        self.lost += sum(table == "results" for table, _ in self._held)
        self._held.clear()

    def close(self) -> None:
        """Stop writing: replay may have the files now."""
        for appender in (self._meta, self._results, self._events):
            if appender is not None:
                appender.close()
        self._lock.release()

    def discard(self) -> None:
        """Delete the files of a run that has nothing to say."""
        self.close()
        remove(self.files)

    def _write(self, table: str, data: bytes) -> None:
        if self._held:
            self.retry()
        if not self._held:
            try:
                self._appender(table).write(data)
            except OSError as error:
                self.error = str(error)
            else:
                return
        if self._held_bytes + len(data) > HELD_BYTES:
            self.lost += table == "results"
            return
        self._held.append((table, data))
        self._held_bytes += len(data)

    def _appender(self, table: str) -> Appender:
        if table == "meta":
            return self._meta
        if table == "results":
            return self._results
        if self._events is None:
            self._events = Appender(self.files.events, create=True)
        return self._events


def _reserve(directory: str, run_id: str) -> JournalWriter:
    for files in islice(candidates(directory, run_id), _NAMES_TRIED):
        if os.path.exists(files.results) or os.path.exists(files.events):
            continue  # left by an earlier run of this id, or by version 0.2.0
        try:
            meta = Appender(files.meta, create=True)
        except FileExistsError:
            continue
        try:
            results = Appender(files.results, create=True)
        except OSError:
            meta.close()
            os.unlink(files.meta)
            raise
        lock = FileLock(files.lock, WRITER)
        lock.acquire()
        return JournalWriter(files, meta, results, lock)
    raise OSError(f"{_NAMES_TRIED} runs of this id have files there")
