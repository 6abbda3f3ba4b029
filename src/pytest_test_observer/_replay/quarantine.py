"""Where lines go that nobody takes: kept byte for byte, with the reason beside them, never deleted."""

from __future__ import annotations

import os
from collections import Counter
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import msgspec

from pytest_test_observer._clock import Clock
from pytest_test_observer._journal.files import EVENTS_SUFFIX, QUARANTINE, SUFFIX
from pytest_test_observer._lines import digest
from pytest_test_observer._record import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_test_observer._replay.careful import Refused

REASONS_SUFFIX = ".reasons"

_SUFFIXES = {"results": SUFFIX, "events": EVENTS_SUFFIX, "runs": "_runs.jsonl"}


class Reason(msgspec.Struct, frozen=True):
    """One line of the file of reasons: the ``size`` bytes from ``offset`` of ``file`` are what was set aside.

    ``source`` is where they stood, ``id`` what keeps a repeated replay from setting them aside again.
    """

    id: str
    file: str
    offset: int
    size: int
    reason: str
    source: str
    time: str


class Quarantine:
    """The quarantine of the run (or file) whose files begin with ``stem`` in ``directory``.

    What stands in quarantine already stays where it is: then ``is_source``, and nothing is written.
    """

    def __init__(self, directory: str, stem: str) -> None:
        self.is_source = os.path.basename(directory) == QUARANTINE
        self.directory = directory if self.is_source else os.path.join(directory, QUARANTINE)
        self._stem = stem
        self._known: set[str] | None = None

    def path(self, table: str) -> str:
        """Return the file that holds set-aside lines of a table."""
        return os.path.join(self.directory, self._stem + _SUFFIXES[table])

    def put(self, table: str, origin: str, source: str, lines: Iterable[Refused]) -> None:
        """Keep lines, safe on disk when this returns.

        ``origin`` names the batch they come from: a line of it is kept once. Raises OSError.
        """
        lines = list(lines)
        if not lines or self.is_source:
            return
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        known = self._read_known()
        occurrences = Counter[str]()
        for line, reason in lines:
            name = f"{origin}/{digest(line)}"
            occurrences[name] += 1
            identity = f"{name}/{occurrences[name]}"
            if identity not in known:
                self._keep(identity, table, source, line, reason)
                known.add(identity)
        _sync(self.directory, os.O_RDONLY)

    def _keep(self, identity: str, table: str, source: str, line: bytes, reason: str) -> None:
        path = self.path(table)
        offset = _append(path, line if line.endswith(b"\n") else line + b"\n")
        noticed = datetime.fromtimestamp(Clock.time_ns() // NS_PER_S, timezone.utc).isoformat()
        entry = Reason(identity, os.path.basename(path), offset, len(line), reason, source, noticed)
        _append(self._reasons, msgspec.json.encode(entry) + b"\n")

    @property
    def _reasons(self) -> str:
        return os.path.join(self.directory, self._stem + REASONS_SUFFIX)

    def _read_known(self) -> set[str]:
        if self._known is None:
            self._known = {entry.id for entry in read_reasons(self._reasons)}
        return self._known


def read_reasons(path: str) -> list[Reason]:
    """Read a file of reasons; lines that a death cut off are passed over."""
    reasons = []
    try:
        with open(path, "rb") as file:
            for line in file:
                try:
                    reasons.append(msgspec.json.decode(line, type=Reason))
                except (msgspec.DecodeError, UnicodeDecodeError):  # noqa: PERF203 - each line has its own fate
                    continue
    except FileNotFoundError:
        pass
    return reasons


def _append(path: str, data: bytes) -> int:
    """Append to a file and put it on the disk itself; returns where the data begins."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    with open(descriptor, "ab", buffering=0) as file:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":  # a death cut the last line off
            file.write(b"\n")
        offset = os.fstat(descriptor).st_size
        view = memoryview(data)
        while view:
            view = view[file.write(view) :]
        os.fsync(descriptor)
    return offset


def _sync(path: str, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    except OSError:  # directories cannot be synced everywhere
        pass
    finally:
        os.close(descriptor)
