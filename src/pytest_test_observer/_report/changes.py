"""What a run changed, in the words of the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_test_observer._reading.runs import compare, previous_run, settle, verdicts

if TYPE_CHECKING:
    from pytest_test_observer._reading.reader import Reader

__all__ = ["changes"]


def changes(reader: Reader, run: dict[str, Any]) -> dict[str, str]:
    """Return every test of a run with what became of it: failing, fixed, slower, added, or nothing.

    It is compared with the last whole run before it of its branch and variant; without one nothing has changed.
    """
    now = verdicts(reader, run)
    found = dict.fromkeys((verdict.nodeid for verdict in now), "")
    previous = previous_run(reader, run)
    if previous is None:
        return found
    change = compare(now, previous[1], partial=settle(run, now)["partial"])
    # a new test that fails is rather a failure
    found.update(dict.fromkeys(change.new, "added"))
    found.update((verdict.nodeid, "slower") for verdict, _ in change.newly_slow)
    found.update((verdict.nodeid, "fixed") for verdict in change.fixed)
    found.update((verdict.nodeid, "failing") for verdict in change.new_failures)
    return found
