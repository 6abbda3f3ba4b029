"""Observes tests where they run: a worker under pytest-xdist, else the pytest process itself.

Adds to the reports what they lack and marks down what is running, so that a death can be told.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pytest

from pytest_test_observer._clock import Clock
from pytest_test_observer._extras import Extras, MeasuredPhase, take
from pytest_test_observer._gathered import is_subtest
from pytest_test_observer._items import asks_to_nest, markers_of, type_name
from pytest_test_observer._record import NS_PER_S, AllureMeta, Event, FixtureTimes
from pytest_test_observer._verdict import PHASES
from pytest_test_observer.plugin import NEST_MARKER

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_test_observer._gathered import ItemLocation
    from pytest_test_observer._ids import SpanIds

# Node id of an item's last attempt, with its number where that is not 1: copies of an item share its stash.
_attempts = pytest.StashKey["str | tuple[str, int]"]()
# Seconds by which pytest's clock may differ from ours before it is taken for frozen.
_SKEW = 1.0
# Tests whose attempts wait to be told of; plugins that do so do it class by class.
_MOST_UNHEARD = 10_000
_NO_ERRORS = (pytest.skip.Exception, pytest.xfail.Exception)


class Nesting(Protocol):
    """What makes the span of the running test current."""

    def enter(self, item: pytest.Item, occurrence: int, attempt: int) -> SpanIds:
        """An attempt begins; returns the ids of its span."""

    def leave(self, extras: Extras | None = None) -> None:
        """The attempt is over, if there was one."""

    def environment(self) -> dict[str, str]:
        """The span as environment variables."""


class Marks(Protocol):
    """Where the running test is marked down."""

    def start(self, nodeid: str, location: ItemLocation, extras: Extras, now_ns: int) -> None:
        """An attempt begins with its setup."""

    def phase(self, when: str) -> None:
        """The running attempt enters its next phase."""


class _Aside(NamedTuple):
    """What is known of an attempt that goes on after others."""

    location: ItemLocation | None
    extras: Extras
    phase: str
    since: float
    before: tuple[str, MeasuredPhase | None, float]


class Capture:
    """Keeps the extras of the attempt that is running now.

    Some plugins run tests in turns, a phase of each, or tell of attempts only after others have run: those wait aside.

    ``read_allure`` returns what Allure knows of an item, None where allure-pytest is absent; ``keep_events`` is
    the setting ``custom_events``. ``nest`` is there under ``observer_nest``; ``load_nest`` makes it where only a
    marker asks for it.
    """

    def __init__(
        self,
        marks: Marks,
        *,
        read_allure: Callable[[pytest.Item], AllureMeta] | None,
        keep_events: bool,
        nest: Nesting | None = None,
        load_nest: Callable[[], Nesting] | None = None,
    ) -> None:
        self._marks = marks
        self._read_allure = read_allure
        self._keep_events = keep_events
        self._nest = nest
        self._load_nest = load_nest
        self._nests_all = nest is not None
        self._now_ns = Clock.time_ns
        self._occurrences: dict[pytest.Item, int] = {}
        # of the attempt that began last
        self.current = Extras(1, 1)
        self.heard = self.current
        """The last attempt of which a report was logged."""
        self.unheard: dict[str, list[Extras]] = {}
        """Attempts that are over and of which no report was logged yet, by node id."""
        self._aside: dict[str, _Aside] = {}
        self.nodeid = ""
        self.location: ItemLocation | None = None
        self._phase = PHASES[0]
        self._since = 0.0
        # of the last phase that ended: which was running before, the times it had by then, and when it began
        self._before: tuple[str, MeasuredPhase | None, float] = (PHASES[0], None, 0.0)

    def collected(self, items: list[pytest.Item]) -> None:
        """Learn which items share a node id (``--keep-duplicates``)."""
        seen = Counter(item.nodeid for item in items)
        repeated = Counter[str]()
        for item in items if len(seen) < len(items) else ():
            repeated[item.nodeid] += 1
            self._occurrences[item] = repeated[item.nodeid]

    def begin(self, item: pytest.Item) -> None:
        """Start an attempt: called before anything of its setup."""
        nodeid, current = item.nodeid, self.current
        if current is not self.heard or not current.complete:
            self._leave(nodeid)
        self.nodeid = nodeid
        self.location = location = item.location
        self._phase = PHASES[0]
        now_ns = self._now_ns()
        self._since = now_ns / NS_PER_S
        occurrence, attempt = self._number(item, nodeid)
        markers = markers_of(item)
        span = None
        try:
            if self._nest is not None or NEST_MARKER in markers:
                span = self._nested(item, occurrence, attempt)
        finally:
            self.current = Extras(occurrence, attempt, markers=markers, span=span)
            self._marks.start(nodeid, location, self.current, now_ns)

    def _number(self, item: pytest.Item, nodeid: str) -> tuple[int, int]:
        """Count an attempt; returns which of the items of that node id it is of, and its number."""
        occurrence = self._occurrences.get(item, 1) if self._occurrences else 1
        stash = item.stash
        # pytest keeps the stash of each item anyway; a table of ours would grow
        if _attempts in stash:
            known = stash[_attempts]
            last, number = (known, 1) if isinstance(known, str) else known
            if last == nodeid:
                stash[_attempts] = nodeid, number + 1
                return occurrence, number + 1
        stash[_attempts] = nodeid
        return occurrence, 1

    def _leave(self, nodeid: str) -> None:
        """Put the running attempt aside for one of ``nodeid``: more will be heard of it."""
        if self.current.complete:
            if self.current is not self.heard:
                self.unheard.setdefault(self.nodeid, []).append(self.current)
                if len(self.unheard) > _MOST_UNHEARD:
                    del self.unheard[next(iter(self.unheard))]
        elif self.nodeid != nodeid:
            self._aside[self.nodeid] = _Aside(self.location, self.current, self._phase, self._since, self._before)

    def _turn_to(self, item: pytest.Item, since: float) -> None:
        """Go on with an attempt that was put aside, or with one whose beginning pytest's hooks were not told."""
        nodeid = item.nodeid
        self._leave(nodeid)
        aside = self._aside.pop(nodeid, None)
        if aside is None:
            extras = Extras(*self._number(item, nodeid), markers=markers_of(item))
            aside = _Aside(item.location, extras, PHASES[0], since, (PHASES[0], None, 0.0))
        self.nodeid = nodeid
        self.location, self.current, self._phase, self._since, self._before = aside

    def _nested(self, item: pytest.Item, occurrence: int, attempt: int) -> SpanIds | None:
        if self._nest is not None:
            self._nest.leave()  # an attempt that was interrupted
        if not asks_to_nest(item, default=self._nests_all):
            return None
        if self._nest is None and self._load_nest is not None:
            self._nest = self._load_nest()
        return self._nest.enter(item, occurrence, attempt) if self._nest is not None else None

    def trace_environment(self) -> dict[str, str]:
        """Return the span of the running test as environment variables, where it is nested."""
        return self._nest.environment() if self._nest is not None else {}

    def add_event(self, nodeid: str, name: str, payload: dict[str, str]) -> None:
        """Keep a custom event of the running attempt of a test."""
        if self._keep_events:
            aside = self._aside.get(nodeid) if nodeid != self.nodeid else None
            events = (aside.extras if aside is not None else self.current).events
            events.append(Event(Clock.time_ns(), len(events), name, dict(sorted(payload.items()))))

    def add_fixture(self, times: FixtureTimes) -> None:
        """Keep how long a fixture took that was set up or torn down for the running attempt."""
        self.current.fixtures.append(times)

    def ended(self, item: pytest.Item, call: pytest.CallInfo[Any]) -> None:
        """Take in how a phase went; subtests come here too, before the call that they belong to."""
        if item.location is not self.location and item.nodeid != self.nodeid:
            self._turn_to(item, call.start)
        extras, when = self.current, call.when
        # unittest keeps from pytest what ended a phase, and pytest moves it into ``call`` only after us
        kept: list[pytest.ExceptionInfo[BaseException]] | None = getattr(item, "_excinfo", None)
        excinfo = kept[0] if kept else call.excinfo
        if excinfo is not None and not issubclass(excinfo.type, _NO_ERRORS):
            extras.error_types.setdefault(when, type_name(excinfo.type))
        if when not in PHASES:
            return
        phases, since, now = extras.phases, self._since, self._now_ns() / NS_PER_S
        self._before = (self._phase, phases.get(when), since)
        self._since = now
        outcome = "passed" if excinfo is None else "failed"
        # Pytest's own times, or ours where the suite had its hands on pytest's clock (freezegun). Nothing takes no time
        # at all: such a clock stands still.
        start, stop, duration = call.start, call.stop, call.duration
        earliest, latest, longest = since - _SKEW, now + _SKEW, stop - start + _SKEW
        if earliest < start <= stop < latest and 0 < duration < longest and duration > longest - 2 * _SKEW:
            phases[when] = MeasuredPhase(outcome, duration, start, stop)
        else:
            phases[when] = MeasuredPhase(outcome, now - since, since, now)
        if when == "teardown":
            self._complete(item, extras)
            return
        self._phase = phase = "call" if when == "setup" and excinfo is None else "teardown"
        self._marks.phase(phase)  # what dies before its end dies in it

    def _complete(self, item: pytest.Item, extras: Extras) -> None:
        if extras.span is not None and self._nest is not None:
            self._nest.leave(extras)
        extras.complete = True
        extras.markers = markers_of(item)
        if self._read_allure:
            extras.allure = self._read_allure(item)

    def extras_for(self, report: pytest.TestReport) -> Extras | None:
        """Return what belongs to a report that is about to be logged.

        Reports logged late (pytest-rerunfailures waits for the teardown) carry all of it. Those of a test that ran in
        a process of its own (pytest-forked) bring it along.
        """
        # a report has its item's location, the very object, where nobody made it anew
        if report.location is not self.location and report.nodeid != self.nodeid:
            return self._of_another(report)
        if self.unheard and report.when == "setup":
            self._recall(report.nodeid)
        self.heard = self.current
        if is_subtest(report):
            self._take_back(report.when)
        return self.current

    def _of_another(self, report: pytest.TestReport) -> Extras | None:
        """Return the extras of a test that is not the one that began last."""
        nodeid = report.nodeid
        if nodeid in self._aside:
            return self._aside[nodeid].extras
        waiting = self.unheard.get(nodeid)
        extras = self._next_unheard(nodeid) if waiting else take(report)
        if extras is not None:  # the other reports of the attempt have none of their own
            self._leave(nodeid)
            self.nodeid, self.location, self.current = nodeid, report.location, extras
            self.heard = extras
        return extras

    def _recall(self, nodeid: str) -> None:
        """Find the attempt whose first report this is, where earlier ones of the same test have waited."""
        waiting = self.unheard.get(nodeid)
        if not waiting:
            return
        if self.current is self.heard:
            self.current = self._next_unheard(nodeid)
        elif self.current.complete:
            waiting.append(self.current)
            self.current = self._next_unheard(nodeid)
        else:  # reports of this one come while it runs: those before it had none, and do not count
            self.current.attempt = max(1, self.current.attempt - len(waiting))
            del self.unheard[nodeid]

    def _next_unheard(self, nodeid: str) -> Extras:
        waiting = self.unheard[nodeid]
        if len(waiting) == 1:
            del self.unheard[nodeid]
        return waiting.pop(0)

    def _take_back(self, when: str) -> None:
        """Go back to before the phase that seemed to end last: it was a subtest that ended."""
        phase, times, self._since = self._before
        if phase != self._phase:
            self._phase = phase
            self._marks.phase(phase)
        if times is not None:
            self.current.phases[when] = times
        else:
            self.current.phases.pop(when, None)
