"""The side of the journal that lives in pytest: it appends, nothing else."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from pytest_test_observer._journal.append import Appender
from pytest_test_observer._journal.remove import remove
from pytest_test_observer._journal.reserve import Reserved, reserve
from pytest_test_observer._journal.sidecar import Begin, Line, encode_line
from pytest_test_observer._rows import RowEncoder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_test_observer._record import RunRecord, TestRecord

# Held in memory while the disk takes nothing (it is full, say). Beyond it lines are lost, and counted.
HELD_BYTES = 16 * 1024 * 1024


class JournalWriter:
    """Appends the results of one run.

    ``lost`` counts results that neither disk nor memory could hold, ``error`` is the last reason.
    """

    def __init__(self, reserved: Reserved) -> None:
        self.files = reserved.files
        self.written = 0
        self.lost = 0
        self.error = ""
        self._meta = reserved.meta
        self._results = reserved.results
        self._events: Appender | None = None
        self._lock = reserved.lock
        self._rows: RowEncoder | None = None
        self._held: deque[tuple[str, bytes]] = deque()
        self._held_bytes = 0

    @classmethod
    def create(cls, environ: Mapping[str, str], run_id: str) -> JournalWriter:
        """Make the journal of a run; raises JournalError."""
        return cls(reserve(environ, run_id))

    def begin(self, line: Begin) -> None:
        """Write the first line of the sidecar. Rows can be written from now on."""
        self._rows = RowEncoder(line.context, spans=line.spans)
        self.note(line)

    def note(self, line: Line) -> None:
        """Append a line to the sidecar."""
        self._write("meta", encode_line(line))

    def append(self, record: TestRecord) -> None:
        """Append an attempt: its events first, so that a row never lacks its events."""
        assert self._rows is not None
        if record.events:
            self._write("events", self._rows.events(record))
        data = self._rows.result(record)
        self.written += 1
        if self._held:
            self._write("results", data)
            return
        results = self._results
        try:  # what _write() does where nothing is wrong, as it nearly always is
            results.write(data)
        except OSError:
            self._write("results", data)
        else:
            if results.reopened:
                self._keep_lock()

    def run_row(self, record: RunRecord) -> bytes:
        """Return the row of the run, without its line feed."""
        assert self._rows is not None
        return self._rows.run(record).rstrip(b"\n")

    def ensure(self) -> None:
        """Make sure that what was written is where others look for it: the suite may have deleted it."""
        for appender in self._appenders():
            try:
                appender.ensure()
            except OSError as error:  # noqa: PERF203
                self.error = str(error)
        self._keep_lock()

    def give_up(self) -> None:
        """Count as lost what the disk never took; each line has one more chance: a small one may fit."""
        for table, data in self._held:
            if not self._is_written(table, data):
                self.lost += table == "results"
        self._held.clear()
        self._held_bytes = 0

    def close(self) -> None:
        """Stop writing: replay may have the files now."""
        for appender in self._appenders():
            appender.close()
        self._lock.release()

    def discard(self) -> None:
        """Delete the files of a run that has nothing to say."""
        self.close()
        remove(self.files)

    def _write(self, table: str, data: bytes) -> None:
        if self._held:
            self._retry()
        if not self._held and self._is_written(table, data):
            return
        if self._held_bytes + len(data) > HELD_BYTES:
            self.lost += table == "results"
            return
        self._held.append((table, data))
        self._held_bytes += len(data)

    def _retry(self) -> None:
        """Try once more to write what the disk did not take, in order."""
        while self._held and self._is_written(*self._held[0]):
            _, data = self._held.popleft()
            self._held_bytes -= len(data)

    def _is_written(self, table: str, data: bytes) -> bool:
        try:
            appender = self._appender(table)
            appender.write(data)
        except OSError as error:
            self.error = str(error)
            return False
        if appender.reopened:
            self._keep_lock()
        return True

    def _keep_lock(self) -> None:
        """Take the lock again where a file had to be opened again: it went the same way."""
        if any(appender.reopened for appender in self._appenders()):
            self._lock.release()
            self._lock.acquire()
            for appender in self._appenders():
                appender.reopened = False

    def _appenders(self) -> list[Appender]:
        return [appender for appender in (self._meta, self._results, self._events) if appender is not None]

    def _appender(self, table: str) -> Appender:
        if table == "meta":
            return self._meta
        if table == "results":
            return self._results
        if self._events is None:
            self._events = Appender(self.files.events, create=True, alone=True)
        return self._events
