"""Marks of what is running: written where tests run, read when a process has died."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_test_observer._clock import Clock
from pytest_test_observer._gathered import location_of, ungrouped
from pytest_test_observer._journal.append import Appender
from pytest_test_observer._journal.sidecar import Enter, Start, Tail, encode_line
from pytest_test_observer._recorder import Key, Running
from pytest_test_observer._rows import encode

if TYPE_CHECKING:
    import pytest


class MarkWriter:
    """Marks down the running test of one process in the run's sidecar.

    Marks only sharpen what is said of a death, so the first error silences them; ``grouped`` is
    ``--dist loadgroup``.
    """

    def __init__(self, path: str, worker: str, *, grouped: bool = False) -> None:
        self._worker = worker
        self._grouped = grouped
        self._phases = {when: encode_line(Enter(worker, when)) for when in ("call", "teardown")}
        self._file: Appender | None
        try:
            self._file = Appender(path)
        except OSError:  # a worker on another machine
            self._file = None

    def start(self, item: pytest.Item, occurrence: int, attempt: int, markers: list[str]) -> None:
        """An attempt begins."""
        if self._file is None:
            return
        location = item.location
        nodeid = ungrouped(item.nodeid) if self._grouped else item.nodeid
        line = Start(self._worker, nodeid, occurrence, attempt, Clock.time_ns(), location, markers)
        self._write(encode(line) + b"\n")

    def phase(self, when: str) -> None:
        """The attempt enters its call or its teardown."""
        self._write(self._phases[when])

    def close(self) -> None:
        """Stop writing."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, line: bytes) -> None:
        if self._file is None:
            return
        try:
            self._file.write(line)
        except OSError:
            self._file = None


def read_marks(path: str) -> dict[str, Running]:
    """Return the last mark of each worker: what it ran, or had finished, when it wrote for the last time."""
    running: dict[str, Running] = {}
    for line in Tail(path).lines(marks=True):
        if isinstance(line, Start):
            key = Key(line.nodeid, line.worker, line.occurrence, line.attempt)
            running[line.worker] = Running(
                key, "setup", line.time_ns, location_of(line.location), tuple(line.markers)
            )
        elif isinstance(line, Enter) and line.worker in running:
            running[line.worker] = running[line.worker]._replace(phase=line.phase)
    return running
