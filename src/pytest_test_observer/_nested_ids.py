"""Names spans of tests before the tests run, in the process that runs them, for ``--observer-nest``.

Spans that a test makes are sent with the ids of the test's span while it runs, so these cannot wait for what only
the controller knows: the number of an attempt after other workers have died, or how full a trace has become. Ids of
nested tests hold the worker's name instead, and each process keeps to its share of the traces.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from pytest_test_observer._ids import Ids, SpanContext, SpanIds
from pytest_test_observer._naming import MASTER, Key, nested_identity
from pytest_test_observer._traces import TRACE_BYTES, estimated_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_test_observer._tally import Identity

# Further traces of a process are numbered in steps, so that no two processes make the same one.
_STEP = 1_000_000


class NestPlan(msgspec.Struct):
    """What a process has to know of its session: plain data, it travels to workers.

    ``parent`` and ``trace_state`` are what ``TRACEPARENT`` and ``TRACESTATE`` say; ``always`` is the setting
    ``observer_nest``. ``slot`` numbers the processes of a session (0 is pytest itself, then the workers in the
    order in which they start, ``workers`` of them at first); ``copies`` says how often each test is run,
    ``has_inner_spans`` whether phases have spans of their own.
    """

    session_id: str
    scope: str
    always: bool
    parent: tuple[str, str] | None = None
    trace_state: str = ""
    grouped: bool = False
    worker: str = MASTER
    slot: int = 0
    workers: int = 1
    copies: int = 1
    has_inner_spans: bool = False


class _Room:
    """One trace, as one process fills it: ``left`` bytes, next to what ``planned`` tests take in any case."""

    __slots__ = ("left", "part", "planned")

    def __init__(self, left: float, *, planned: bool) -> None:
        self.left = left
        self.part = 0
        self.planned = planned


class NestedIds:
    """Names the spans of the tests that one process runs; ``nodeids`` are those of all collected tests."""

    def __init__(self, plan: NestPlan, nodeids: Sequence[str]) -> None:
        self._plan = plan
        parent = SpanContext(*plan.parent) if plan.parent else None
        self._ids = Ids(plan.session_id, plan.scope, parent)
        self._ids.decide(len(nodeids) * plan.copies)
        self._planned = Counter[str]()
        for nodeid in nodeids if self._ids.scope != "test" else ():
            self._planned[self._ids.group(nodeid)] += _lean_size(nodeid) * plan.copies
        self._rooms: dict[str, _Room] = {}

    def test(self, nodeid: str, occurrence: int, attempt: int) -> SpanIds:
        """Return the ids of an attempt that begins now; ``attempt`` counts within this process."""
        identity = nested_identity(Key(nodeid, self._plan.worker, occurrence, attempt))
        part = self._part(identity, attempt) if self._ids.scope != "test" else 0
        span, parent_span_id = self._ids.test(identity.nodeid, attempt, identity.distinction, part)
        return SpanIds(span.trace_id, span.span_id, parent_span_id)

    def charge(self, nodeid: str, size: int) -> None:
        """Count what the span of a test holds beside what every span does, in bytes."""
        room = self._rooms.get(self._ids.group(nodeid))
        if room is not None:
            room.left -= size

    def _part(self, identity: Identity, attempt: int) -> int:
        """Return the trace of its scope that still has room for a span."""
        group = self._ids.group(identity.nodeid)
        room = self._rooms.get(group)
        if room is None:
            room = self._rooms[group] = self._first_room(group)
        size = _lean_size(identity.nodeid)
        cost = 0 if room.planned and attempt == 1 else size
        if room.left < cost:
            room.part = room.part + _STEP if room.part else _STEP + self._plan.slot
            room.left, room.planned, cost = TRACE_BYTES, False, size
        room.left -= cost
        return room.part

    def _first_room(self, group: str) -> _Room:
        """Return this process's share of the trace that all of them begin with.

        Where the spans of all tests fit, the processes share what is left; else they share all of it. A worker that
        replaces a dead one has no share, and one that nests single tests none either: those of others are counted
        by the controller.
        """
        plan = self._plan
        spare = TRACE_BYTES - self._planned[group]
        has_share = plan.always and plan.slot <= plan.workers
        share = (spare if spare >= 0 else TRACE_BYTES) / plan.workers
        return _Room(share if has_share else 0, planned=spare >= 0)


def _lean_size(nodeid: str) -> int:
    return estimated_size(nodeid, 0, 0, 0)
