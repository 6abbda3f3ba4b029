"""What tests of verdicts share: one pytest run of a suite, looked at by many tests."""

from __future__ import annotations

import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.kit import Observed, Run, Workbench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.servers.client import ClickHouse

# Status, outcome, when_phase, attempt and flaky of a row.
Verdict = tuple[str, str, str, int, bool]
# A helper whose pytest died sends, completes and ends within 30 s.
PATIENCE = 40.0

PASSED: Verdict = ("passed", "passed", "call", 1, False)
FAILED: Verdict = ("failed", "failed", "call", 1, False)


class Finished(NamedTuple):
    """A run and all that arrived of it; ``mode`` is the name its fixture gives it."""

    observed: Observed
    run: Run
    rows: list[dict[str, Any]]
    mode: str = ""

    @property
    def verdicts(self) -> dict[str, list[Verdict]]:
        """Verdicts by the node id's last part, in the order of attempts."""
        found: dict[str, list[Verdict]] = {}
        for row in self.rows:
            found.setdefault(name_of(row), []).append(verdict_of(row))
        return found

    @property
    def session(self) -> dict[str, Any]:
        """The row of the run."""
        (row,) = self.observed.rows(table="pytest_results_runs", order="timestamp")
        return row

    def of(self, name: str) -> list[dict[str, Any]]:
        """Rows of the test of that name."""
        return [row for row in self.rows if name_of(row) == name]

    def one(self, name: str) -> dict[str, Any]:
        """The only row of the test of that name."""
        (row,) = self.of(name)
        return row


def name_of(row: dict[str, Any]) -> str:
    """Return the last part of a row's node id."""
    return str(row["nodeid"]).rpartition("::")[2]


def verdict_of(row: dict[str, Any]) -> Verdict:
    """Return what the table of verdicts speaks of."""
    return row["status"], row["outcome"], row["when_phase"], row["attempt"], bool(row["flaky"])


@contextmanager
def observed_in(directory: Path, server: ClickHouse) -> Iterator[Observed]:
    """A workbench with a database of its own, for as long as the block lasts."""
    name = f"verdicts_{uuid.uuid4().hex[:16]}"
    server.execute(f"CREATE DATABASE {name}")
    try:
        yield Observed(Workbench(directory), server, name)
    finally:
        server.execute(f"DROP DATABASE {name} SYNC")


def finished(observed: Observed, run: Run, mode: str = "") -> Finished:
    """Collect the rows of a run that said it was done."""
    return Finished(observed, run, observed.rows(), mode)


def outlived(observed: Observed, run: Run) -> Finished:
    """Collect the rows of a run that died, once its helper has sent and removed them."""
    wait_until(lambda: not list(observed.bench.buffers.iterdir()), "the helper to send everything")
    return Finished(observed, run, observed.rows())


def wait_until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Wait for ``condition`` to hold."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.02)
