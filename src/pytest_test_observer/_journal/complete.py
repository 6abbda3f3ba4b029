"""Completing the journal of a run whose pytest died: the tests it was at, and the run itself."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from pytest_test_observer._errors import ErrorText
from pytest_test_observer._ids import Ids, SpanContext
from pytest_test_observer._journal.append import Appender
from pytest_test_observer._journal.marks import read_marks
from pytest_test_observer._journal.sidecar import Begin, Collected, Run
from pytest_test_observer._naming import Naming, Running
from pytest_test_observer._record import NS_PER_MS, RunRecord
from pytest_test_observer._rows import RowEncoder
from pytest_test_observer._tally import Identity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_test_observer._journal.files import JournalFiles
    from pytest_test_observer._journal.reader import JournalReader

# pytest never got to say one.
NO_EXIT_STATUS = -1
_DEATH = ErrorText("the process that ran this test died")


class _Row(msgspec.Struct):
    """What of a row counts here."""

    nodeid: str
    status: str
    outcome: str
    attempt: int
    flaky: bool
    when_phase: str
    worker_id: str
    started_at: int
    finished_at: int
    trace_id: str
    parent_span_id: str


def complete(reader: JournalReader, noticed_ns: int) -> None:
    """Append a ``crashed`` row for each test that was running and the row of the run.

    ``noticed_ns`` is when the death was noticed, nanoseconds since the epoch. Does nothing where pytest came
    to an end of its own, or never began.
    """
    begin = reader.begin
    if begin is None or reader.run is not None:
        return
    naming = Naming(_ids(begin, reader.collected), per_worker=begin.per_worker)
    running = _running(reader.files, naming, per_worker=begin.per_worker)
    rows = RowEncoder(begin.context, spans=begin.spans)
    if running:
        results = Appender(reader.files.results, create=not os.path.exists(reader.files.results))
        if reader.torn("results"):
            results.write(b"\n")
        for test in running:
            record = naming.crashed(test, _DEATH if begin.errors != "none" else ErrorText(), noticed_ns)
            results.write(rows.result(record))
        results.close()
    run = _run_record(begin, reader.collected, naming, noticed_ns)
    reader.add_run(Run(msgspec.Raw(rows.run(run).rstrip(b"\n"))))


def _ids(begin: Begin, collected: Collected | None) -> Ids:
    parent = SpanContext(*begin.parent) if begin.parent else None
    return Ids(begin.session_id, collected.trace_scope if collected else begin.trace_scope, parent)


def _running(files: JournalFiles, naming: Naming, *, per_worker: bool) -> list[Running]:
    """Count the rows that are there, and return the marked attempts that have none."""
    marks = read_marks(files.running)
    marked = {running.key.nodeid for running in marks.values()}
    finished = Counter[tuple[str, str]]()
    late = Counter[tuple[str, str]]()
    for row in _rows(files.results):
        identity = Identity(row.nodeid, 1, row.worker_id if per_worker else "")
        naming.tally.count(identity, row)
        times = row.started_at * NS_PER_MS, row.finished_at * NS_PER_MS
        above = SpanContext(row.trace_id, row.parent_span_id)
        naming.traces.stretch(naming.ids.group(row.nodeid), above, *times)
        if row.nodeid in marked:
            place = (row.nodeid, row.worker_id)
            finished[place] += 1
            mark = marks.get(row.worker_id)
            late[place] += mark is not None and row.started_at >= mark.start_ns // NS_PER_MS
    return [running for running in marks.values() if not _is_over(running, finished, late)]


def _is_over(running: Running, finished: Counter[tuple[str, str]], late: Counter[tuple[str, str]]) -> bool:
    place = (running.key.nodeid, running.key.worker)
    if running.key.occurrence > 1:  # rows do not say which of several equal node ids they are
        return late[place] > 0
    return finished[place] >= running.key.attempt


def _rows(path: str) -> Iterator[_Row]:
    decoder = msgspec.json.Decoder(_Row)
    if not os.path.exists(path):
        return
    with open(path, "rb") as file:
        for line in file:
            try:
                yield decoder.decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError):  # noqa: PERF203
                continue  # torn; replay sets it aside


def _run_record(begin: Begin, collected: Collected | None, naming: Naming, noticed_ns: int) -> RunRecord:
    known = collected or Collected(collected=0, deselected=0, trace_scope="session")
    not_run = max(0, known.collected - naming.tally.reported)
    return RunRecord(
        start_ns=begin.started_ns,
        end_ns=max(begin.started_ns, noticed_ns),
        status="aborted",
        exit_status=NO_EXIT_STATUS,
        trace_id=naming.ids.session.trace_id,
        span_id=naming.ids.session.span_id,
        collected=known.collected,
        deselected=known.deselected,
        not_run=not_run,
        partial=known.partial or not_run > 0,
        tests=naming.tally.counts,
        workers=known.workers,
        modules=naming.traces.modules,
        attributes=begin.context.resource,
    )
