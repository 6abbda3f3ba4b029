"""Journals made by hand, for tests that need no pytest run."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from pytest_test_observer._extras import Extras
from pytest_test_observer._journal.marks import MarkWriter, Start, create_marks
from pytest_test_observer._journal.reader import JournalReader
from pytest_test_observer._journal.sidecar import Begin, Collected, Process, Run, Tail
from pytest_test_observer._journal.writer import JournalWriter
from pytest_test_observer._process import this_process
from pytest_test_observer._record import Context, Event, TestRecord

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_test_observer._journal.files import JournalFiles

SESSION = "5e" * 16


def record(name: str, *, attempt: int = 1, events: int = 0, text: str = "", **fields: Any) -> TestRecord:
    """Return a passed attempt of the test ``name`` with so many events; ``text`` makes it long."""
    base: dict[str, Any] = {
        "nodeid": name,
        "attempt": attempt,
        "worker_id": "master",
        "start_ns": 1_700_000_000_000_000_000,
        "end_ns": 1_700_000_001_000_000_000,
        "status": "passed",
        "outcome": "passed",
        "when_phase": "call",
        "duration": 1.0,
        "trace_id": "1" * 32,
        "span_id": f"{abs(hash((name, attempt))) % 2**64:016x}",
        "parent_span_id": "",
        "error_message": text,
        "events": [Event(1_700_000_000_500_000_000, number, "event", {"of": name}) for number in range(events)],
    }
    return TestRecord(**{**base, **fields})


def begin(process: Process | None = None, **fields: Any) -> Begin:
    """Return the first line of a sidecar; ``process`` is this one if nothing else is said."""
    return Begin(
        version="test",
        session_id=SESSION,
        context=Context(run_id="run"),
        started_ns=1_700_000_000_000_000_000,
        process=process or this_process(),
        trace_scope="session",
        **fields,
    )


def begun(directory: Path, run_id: str = "run", **fields: Any) -> JournalWriter:
    """Return a journal below ``directory`` whose rows can be written."""
    journal = JournalWriter.create({"XDG_CACHE_HOME": str(directory)}, run_id)
    line = begin(**fields)
    journal.begin(line)
    return journal


def collected(count: int) -> Collected:
    """Return the line that tells of ``count`` collected tests."""
    return Collected(collected=count, deselected=0, trace_scope="session", workers=1)


def started(name: str, *, attempt: int = 1, worker: str = "master", occurrence: int = 1) -> Start:
    """Return the mark of a test that runs."""
    time_ns = 1_700_000_000_500_000_000
    return Start(worker, name, occurrence, attempt, time_ns, ("test_a.py", 3, name), ["slow"])


def run_line() -> Run:
    """Return the line of a run that came to its end."""
    return Run(msgspec.Raw(b'{"run_id":"run","status":"success"}'))


def reader_of(files: JournalFiles) -> JournalReader:
    """Return a reader that knows what is there."""
    reader = JournalReader(files)
    reader.recover()
    return reader


def names(data: bytes) -> list[str]:
    """Return the node ids in rows of results."""
    return [json.loads(line)["nodeid"] for line in data.splitlines()]


class Enter(NamedTuple):
    """The attempt that runs in ``worker`` enters ``phase``."""

    worker: str
    phase: str


def mark(files: JournalFiles, *marks: Start | Enter) -> None:
    """Set marks as the processes of a run do, one after another."""
    create_marks(files.running)
    writers: dict[str, MarkWriter] = {}
    for one in marks:
        writer = writers.setdefault(one.worker, MarkWriter(files.running, len(writers), one.worker))
        if isinstance(one, Start):
            extras = Extras(one.occurrence, one.attempt, markers=one.markers, span=one.span)
            writer.start(one.nodeid, one.location, extras, one.time_ns)
        else:
            writer.phase(one.phase)


def sidecar(files: JournalFiles) -> list[Any]:
    """Return all lines of a sidecar, marks included."""
    return list(Tail(files.meta).lines())


def listing(files: JournalFiles) -> list[str]:
    """Return the names in a journal's directory."""
    return sorted(os.listdir(files.directory))
