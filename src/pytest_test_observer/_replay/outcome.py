"""What became of one file, and of all: the account of a replay and its exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytest_test_observer._text import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

ALL_SENT, NOT_ALL_SENT, SET_ASIDE = 0, 1, 3  # 2 is click's, for wrong usage
INTERRUPTED = 130


class Outcome(NamedTuple):
    """What became of a file, or of the files of a run.

    ``results``, ``events`` and ``runs`` count rows that are stored now, ``already`` how many had been before;
    ``set_aside`` counts lines in ``quarantine``, ``reason`` is the first one's. ``problem`` says why not all
    was sent, ``is_outage`` that the destination is why.
    """

    path: str
    results: int = 0
    events: int = 0
    runs: int = 0
    already: int = 0
    set_aside: int = 0
    quarantine: str = ""
    reason: str = ""
    problem: str = ""
    kept: bool = False
    is_outage: bool = False


def exit_code(outcomes: Iterable[Outcome]) -> int:
    """Return the exit code that a replay with these outcomes ends with."""
    outcomes = list(outcomes)
    if any(outcome.problem for outcome in outcomes):
        return NOT_ALL_SENT
    return SET_ASIDE if any(outcome.set_aside for outcome in outcomes) else ALL_SENT


def describe(outcome: Outcome) -> str:
    """Return the line that says what became of a file."""
    sent = _rows(outcome.results, outcome.events) or ("the row of the run" if outcome.runs else "")
    parts = [f"{sent} sent" if sent else ("" if outcome.problem or outcome.set_aside else "nothing to send")]
    if outcome.already:
        parts[0] += f" ({outcome.already:,} rows were there already)"
    if outcome.set_aside:
        parts.append(f"{counted(outcome.set_aside, 'line')} set aside in {outcome.quarantine} ({outcome.reason})")
    if outcome.problem:
        parts.append(f"{'the rest ' if sent else ''}not sent: {outcome.problem}")
    return f"{outcome.path}: {'; '.join(part for part in parts if part)}{'; kept' if outcome.kept else ''}"


def summarize(outcomes: list[Outcome], destination: str) -> str:
    """Return the line that ends a replay."""
    results = sum(outcome.results for outcome in outcomes)
    events = sum(outcome.events for outcome in outcomes)
    runs = sum(outcome.runs for outcome in outcomes)
    parts = [f"{_rows(results, events) or (counted(runs, 'run') if runs else 'Nothing')} sent to {destination}"]
    set_aside = sum(outcome.set_aside for outcome in outcomes)
    if set_aside:
        parts.append(f"{counted(set_aside, 'line')} set aside")
    problems = sum(bool(outcome.problem) for outcome in outcomes)
    if problems:
        parts.append(f"{problems} of {counted(len(outcomes), 'file')} not sent completely")
    return "; ".join(parts) + "."


def _rows(results: int, events: int) -> str:
    counts = {"result": results, "event": events}
    return ", ".join(counted(count, noun) for noun, count in counts.items() if count)
