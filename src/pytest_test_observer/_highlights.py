"""The flaky and the slowest tests of a run, for ``pytest -v``: a few records on their way to the journal."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_test_observer._record import TestRecord

# Lines of each kind: memory stays the same however many tests there are.
_LINES = 10


class Highlights:
    """A sink before ``sink`` that remembers the slowest attempts and the first flaky tests."""

    def __init__(self, sink: Callable[[TestRecord], None]) -> None:
        self._sink = sink
        self._slowest: list[tuple[float, str]] = []
        self._flaky: list[str] = []
        self._flaky_count = 0

    def __call__(self, record: TestRecord) -> None:
        """Hand the record on, and look at it."""
        self._sink(record)
        if record.flaky:
            self._flaky_count += 1
            if len(self._flaky) < _LINES:
                self._flaky.append(f"{record.nodeid} (attempt {record.attempt} passed)")
        took = record.setup_duration + record.call_duration + record.teardown_duration
        if len(self._slowest) < _LINES:
            heapq.heappush(self._slowest, (took, record.nodeid))
        elif took > self._slowest[0][0]:
            heapq.heapreplace(self._slowest, (took, record.nodeid))

    def lines(self) -> list[str]:
        """Return what there is to say; the slowest first."""
        slowest = [f"  {took:8.2f} s  {nodeid}" for took, nodeid in sorted(self._slowest, reverse=True)]
        flaky = [f"  {text}" for text in self._flaky]
        if self._flaky_count > len(flaky):
            flaky.append(f"  and {self._flaky_count - len(flaky)} more")
        return [
            *(["Flaky tests of this run:", *flaky] if flaky else []),
            *(["Slowest tests of this run (setup, call and teardown):", *slowest] if slowest else []),
        ]
