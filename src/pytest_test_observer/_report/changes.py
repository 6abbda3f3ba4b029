"""What a run changed: against the last whole run before it, on the same branch and under the same conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_test_observer._report import queries

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_test_observer._report.queries import Scope

    Columns = dict[str, list[Any]]
    Ask = Callable[[str], Columns]
    Test = tuple[str, str, str]

__all__ = ["changes"]

_BAD = ("failed", "broken")
# Slower is what takes half as long again, and longer by what somebody would notice.
_SLOWER_TIMES, _SLOWER_SECONDS = 1.5, 0.1


class _Verdict(NamedTuple):
    status: str
    seconds: float


def changes(ask: Ask, scope: Scope, runs: Columns, row: int) -> tuple[dict[Test, str], set[Test]]:
    """Return what became of tests (failing, fixed, slower, added) in the run at ``row``, and all tests it had.

    ``runs`` are it and those before it, newest first. Nothing changed where no whole run came before.
    """
    now = _verdicts(ask, scope, runs, row)
    before = _previous(runs, row)
    if before is None:
        return {}, set(now)
    old = _verdicts(ask, scope, runs, before)
    return {test: change for test, verdict in now.items() if (change := _change(old.get(test), verdict))}, set(now)


def _previous(runs: Columns, row: int) -> int | None:
    for before in range(row + 1, len(runs["id"])):
        if not runs["partial"][before] and runs["status"][before] in ("success", "failure"):
            return before
    return None


def _verdicts(ask: Ask, scope: Scope, runs: Columns, row: int) -> dict[Test, _Verdict]:
    run = (runs["id"][row], runs["service"][row], runs["variant"][row])
    found = ask(queries.verdicts(scope.of_run(run, runs["started"][row], runs["finished"][row])))
    tests = zip(found["repository"], found["service"], found["nodeid"], strict=True)
    verdicts = (_Verdict(*values) for values in zip(found["verdict"], found["seconds"], strict=True))
    return dict(zip(tests, verdicts, strict=True))


def _change(old: _Verdict | None, new: _Verdict) -> str:
    if new.status in _BAD and (old is None or old.status not in _BAD):
        return "failing"
    if old is None:
        return "added"
    if old.status in _BAD and new.status == "passed":
        return "fixed"
    both_passed = old.status == new.status == "passed"
    return "slower" if both_passed and _is_slower(old.seconds, new.seconds) else ""


def _is_slower(old: float, new: float) -> bool:
    return new > old * _SLOWER_TIMES and new > old + _SLOWER_SECONDS
