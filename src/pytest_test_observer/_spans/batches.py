"""Spans of whole batches, line by line."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_test_observer._ids import Ids
from pytest_test_observer._ids import SpanContext as Identity
from pytest_test_observer._lines import lines_of
from pytest_test_observer._record import NS_PER_MS, Context
from pytest_test_observer._spans.attempt import Surroundings, attempt_spans, carrier
from pytest_test_observer._spans.events import EVENTS_PER_SPAN
from pytest_test_observer._spans.identity import context_of
from pytest_test_observer._spans.lines import EventOf, loose_events, read_line
from pytest_test_observer._spans.resource import Resources
from pytest_test_observer._spans.run import run_spans

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext

    from pytest_test_observer._destinations import Batch
    from pytest_test_observer._journal.sidecar import Begin

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Piece(NamedTuple):
    """What is sent or not sent as a whole: spans and the lines that they were made of."""

    lines: tuple[bytes, ...]
    spans: tuple[ReadableSpan, ...]


class SpanMaker:
    """Makes the spans of batches. What it makes of the same bytes is the same."""

    def __init__(self) -> None:
        self._resources = Resources()
        self._sessions: dict[str, SpanContext] = {}

    def pieces(self, batch: Batch) -> Iterator[Piece]:
        """Return the spans of ``batch`` in order.

        Raises msgspec.MsgspecError, UnicodeDecodeError or ValueError for a line that is no row.
        """
        if batch.table == "events":
            yield from self._of_events(batch)
            return
        make = self._of_result if batch.table == "results" else self._of_run
        for line in lines_of(batch.data):
            row = read_line(batch.table, line)
            yield Piece((line,), tuple(make(row, batch.begin)))

    def _of_result(self, row: Any, begin: Begin | None) -> Iterator[ReadableSpan]:  # noqa: ANN401
        return attempt_spans(row, Surroundings(self._resources.of(row, _more(begin)), self._session(begin)))

    def _of_run(self, row: Any, begin: Begin | None) -> Iterator[ReadableSpan]:  # noqa: ANN401
        parent = context_of(*begin.parent, is_remote=True) if begin and begin.parent else None
        return run_spans(row, self._resources.of(row, _more(begin)), parent)

    def _of_events(self, batch: Batch) -> Iterator[Piece]:
        """Events whose test's line does not carry them travel on spans below the test's."""
        loose = [(line, read_line(batch.table, line)) for line in loose_events(batch.data)]
        for _, group in groupby(loose, key=lambda pair: pair[1].span_id):
            found = list(group)
            for start in range(0, len(found), EVENTS_PER_SPAN):
                yield self._carried(found[start : start + EVENTS_PER_SPAN], batch.begin)

    def _carried(self, found: list[tuple[bytes, Any]], begin: Begin | None) -> Piece:
        lines, rows = zip(*found, strict=True)
        events = [(row.seq, EventOf(ns_of_iso(row.timestamp), row.event_name, row.payload)) for row in rows]
        times = events[0][1].time_ns, events[-1][1].time_ns
        context = begin.context if begin else Context(run_id=rows[0].run_id, ci_provider="")
        resource = self._resources.of(context, _more(begin))
        return Piece(lines, (carrier(rows[0], events, resource, times),))

    def _session(self, begin: Begin | None) -> SpanContext | None:
        if begin is None:
            return None
        known = self._sessions.get(begin.session_id)
        if known is None:
            parent = Identity(*begin.parent) if begin.parent else None
            session = Ids(begin.session_id, parent=parent).session
            known = self._sessions[begin.session_id] = context_of(*session)
        return known


def ns_of_iso(text: str) -> int:
    """Return the nanoseconds since the epoch of a time in a row; raises ValueError for what is none."""
    time = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if time.tzinfo is None:  # as ClickHouse writes them
        time = time.replace(tzinfo=timezone.utc)
    return (time - _EPOCH) // timedelta(milliseconds=1) * NS_PER_MS


def _more(begin: Begin | None) -> Mapping[str, str]:
    return begin.context.resource if begin else {}
