"""One observed session, in the process where its reports arrive: from the first hook to the last line."""

from __future__ import annotations

import os
import platform
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pytest_test_observer import __version__
from pytest_test_observer._clock import Clock
from pytest_test_observer._context import begin as begin_context
from pytest_test_observer._ids import Ids, new_session_id, parse_traceparent
from pytest_test_observer._journal.marks import create_marks, read_marks
from pytest_test_observer._journal.sidecar import Begin, Collected, Run
from pytest_test_observer._journal.writer import JournalWriter
from pytest_test_observer._messages import Outcome, replay_command
from pytest_test_observer._naming import Naming
from pytest_test_observer._process import this_process
from pytest_test_observer._record import Context, RunRecord
from pytest_test_observer._recorder import Recorder
from pytest_test_observer._secrets import given_secrets, spellings
from pytest_test_observer._selection import Selection, run_status
from pytest_test_observer._shipper.delivery import Delivery
from pytest_test_observer._text import storable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_test_observer._highlights import Highlights
    from pytest_test_observer._opening import Opening
    from pytest_test_observer._record import TestRecord
    from pytest_test_observer._settings import Settings


class ObservedRun:
    """Ids, context, recorder, journal and delivery of one session.

    ``per_worker`` is true under ``--dist each``, ``verbose`` with -v.
    """

    def __init__(
        self, settings: Settings, opening: Opening, rootdir: Path, *, per_worker: bool, verbose: bool = False
    ) -> None:
        self._settings = settings
        self._destinations = destinations = opening.destinations
        self.selection = Selection()
        self._started_ns = opening.started_ns
        run_id = opening.run_id
        self._journal = JournalWriter(opening.journal)
        create_marks(self.marks)
        self._pending_context = begin_context(os.environ, rootdir, run_id=run_id, variant=settings.observer_variant)
        self._context = Context(run_id=run_id)
        self._per_worker = per_worker
        self._highlights = _highlights(self._journal.append) if verbose else None
        ids = Ids(new_session_id(), settings.otlp_trace, parse_traceparent(os.environ.get("TRACEPARENT")))
        self.recorder = Recorder(
            Naming(ids, per_worker=per_worker, nested=settings.observer_nest),
            self._highlights or self._journal.append,
            errors=settings.observer_errors,
            detail=settings.otlp_detail if destinations.otlp else "test",
            secrets=spellings({*destinations.secrets, *given_secrets(settings, os.environ)}),
            running=lambda worker: read_marks(self.marks).get(worker),
        )
        self._ids = ids
        self._delivery = Delivery(self._journal.files, destinations, opening.helper)
        self._outcome: Outcome | None = None

    @property
    def marks(self) -> str:
        """Path of the file in which processes mark down what they run."""
        return self._journal.files.running

    @property
    def nesting(self) -> dict[str, Any]:
        """What processes that run tests have to know to name spans; see ``NestPlan``."""
        ids = self._ids
        return {
            "session_id": ids.session_id,
            "scope": ids.scope,
            "always": self._settings.observer_nest,
            "parent": tuple(ids.parent) if ids.parent else None,
            "trace_state": storable(os.environ.get("TRACESTATE", "")),
            "grouped": self.recorder.grouped,
        }

    def start(self) -> None:
        """Start the helper; collection goes on beside it."""
        self._delivery.start()

    def begin(self) -> None:
        """Write the journal's first line; from now on there can be rows."""
        context = self._pending_context.result()
        self._context = msgspec.structs.replace(
            context, resource=dict(sorted({**_runtime(), **context.resource}.items()))
        )
        ids = self._ids
        line = Begin(
            version=__version__,
            session_id=ids.session_id,
            context=self._context,
            started_ns=self._started_ns,
            process=this_process(),
            trace_scope="session" if ids.scope == "auto" else ids.scope,
            parent=(ids.parent.trace_id, ids.parent.span_id) if ids.parent else None,
            per_worker=self._per_worker,
            errors=self._settings.observer_errors,
            spans=self._destinations.otlp is not None,
        )
        self._journal.begin(line)

    def collected(self) -> None:
        """Collection is over: settle what depends on the number of tests."""
        selection = self.selection
        self._ids.decide(selection.collected)
        self._journal.note(
            Collected(
                selection.collected,
                selection.deselected,
                self._ids.scope,
                selection.workers,
                selection.is_partial,
            )
        )

    def highlights(self) -> list[str]:
        """Return lines about the flaky and the slowest tests, none unless ``verbose``."""
        return self._highlights.lines() if self._highlights else []

    def reap(self) -> None:
        """Collect the processes that were started, before a test can see them."""
        self._delivery.reap()

    def flush(self) -> None:
        """No more results will come: what is there can go."""
        self._journal.ensure()
        self._delivery.flush()

    def finish(self, exit_status: int) -> Outcome:
        """Write the row of the run, wait for the rest to be sent, and say what became of it. Idempotent."""
        if self._outcome is None:
            self._journal.ensure()
            self._journal.note(Run(msgspec.Raw(self._journal.run_row(self._run_record(exit_status)))))
            self._journal.give_up()
            self._outcome = self._close()
        return self._outcome

    def abandon(self) -> None:
        """End a session that never came to its tests."""
        if self._outcome is None:
            self._pending_context.close()
            self._delivery.abandon()
            self._journal.discard()

    def _run_record(self, exit_status: int) -> RunRecord:
        tally = self.recorder.naming.tally
        not_run = self._not_run()
        return RunRecord(
            start_ns=self._started_ns,
            end_ns=Clock.time_ns(),
            status=run_status(exit_status, not_run),
            exit_status=exit_status,
            trace_id=self._ids.session.trace_id,
            span_id=self._ids.session.span_id,
            collected=self.selection.collected,
            deselected=self.selection.deselected,
            not_run=not_run,
            partial=self.selection.is_partial or not_run > 0,
            tests=tally.counts,
            workers=self.selection.workers,
            modules=self.recorder.naming.traces.modules,
            fixtures=self.recorder.shared_fixtures,
            attributes=self._context.resource,
        )

    def _not_run(self) -> int:
        return max(0, self.selection.collected - self.recorder.naming.tally.reported)

    def _close(self) -> Outcome:
        result = self._delivery.finish(self._settings.observer_exit_timeout)
        self._journal.close()
        files = self._journal.files
        on_disk = self._journal.written - self._journal.lost
        sent = on_disk if result.sent is None else result.sent
        return Outcome(
            sent=sent,
            kept=max(0, on_disk - sent),
            lost=self._journal.lost,
            not_run=self._not_run(),
            destination=self._destinations.label,
            path="" if result.complete else files.results,
            command="" if result.complete else replay_command(self._settings, files.results),
            reason=result.message,
            lost_reason=self._journal.error,
            notes=result.notes,
        )


def _highlights(sink: Callable[[TestRecord], None]) -> Highlights:
    from pytest_test_observer._highlights import Highlights  # noqa: PLC0415 - only with -v

    return Highlights(sink)


def _runtime() -> dict[str, str]:
    """Return what ran the tests, by the names of OpenTelemetry's conventions; what the user gives wins."""
    return {
        "process.runtime.description": sys.version.replace("\n", " "),
        "process.runtime.name": sys.implementation.name,
        "process.runtime.version": platform.python_version(),
        "pytest.version": pytest.__version__,
    }
