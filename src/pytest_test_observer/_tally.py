"""Attempts and verdicts of a run, counted in memory that grows with its failures, not with its tests."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple, Protocol

from pytest_test_observer._record import Counts

UNSUCCESSFUL = ("failed", "broken")


class Identity(NamedTuple):
    """What the attempts of one test have in common; ``worker`` only where each runs the whole suite."""

    nodeid: str
    occurrence: int = 1
    worker: str = ""

    @property
    def distinction(self) -> str:
        """What tells this test from others of its node id, empty where nothing needs to."""
        occurrence = str(self.occurrence) if self.occurrence > 1 else ""
        return f"{self.worker}#{occurrence}" if self.worker or occurrence else ""


class Counted(Protocol):
    """The part of a record (or of a row) that is counted."""

    @property
    def status(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def flaky(self) -> bool: ...
    @property
    def when_phase(self) -> str: ...


class Tally:
    """Counts tests by their last attempt."""

    def __init__(self) -> None:
        self._by_status: Counter[str] = Counter()
        self.ordinary = 0
        """Tests that passed at their first attempt, and are counted here alone."""
        self._others = 0
        self.flaky = 0
        self.reruns = 0
        self.anybody_died = False
        self._unsettled: dict[Identity, str] = {}
        self._attempts_of_the_dead: dict[Identity, int] = {}

    def number(self, identity: Identity, local_attempt: int) -> int:
        """Return the attempt's number over all workers; workers count from 1 each."""
        if not self.anybody_died:
            return local_attempt
        return self._attempts_of_the_dead.get(identity, 0) + local_attempt

    def is_troubled(self, identity: Identity) -> bool:
        """Whether an earlier attempt of the test did not pass."""
        return identity in self._unsettled

    @property
    def reported(self) -> int:
        """Collected tests with at least one attempt."""
        return self.ordinary + self._others

    def count(self, identity: Identity, record: Counted) -> None:
        """Count an attempt; it replaces what an earlier attempt of the test counted for."""
        earlier = self._unsettled.pop(identity, None) if self._unsettled else None
        if earlier is None and record.attempt > 1:
            # A good one, which is not remembered: passed, or skipped as this one is.
            earlier = "skipped" if record.status == "skipped" else "passed"
        if earlier is None:
            self._others += record.when_phase != "collect"
        elif earlier:
            self._by_status[earlier] -= 1
        self.reruns += record.attempt > 1
        self.flaky += record.flaky
        if record.outcome == "crashed":
            self.anybody_died = True
            self._attempts_of_the_dead[identity] = record.attempt
        if record.outcome == "rerun":
            self._unsettled[identity] = ""
            return
        self._by_status[record.status] += 1
        if record.status in UNSUCCESSFUL:
            self._unsettled[identity] = record.status

    @property
    def counts(self) -> Counts:
        """The counts as they stand in the row of the run."""
        status = self._by_status
        return Counts(
            passed=self.ordinary + status["passed"],
            failed=status["failed"],
            broken=status["broken"],
            skipped=status["skipped"],
            flaky=self.flaky,
            reruns=self.reruns,
        )
