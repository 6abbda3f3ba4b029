"""Questions about runs: the list, one of them, and what it changed against the complete run before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_test_observer._reading.filters import Filters
    from pytest_test_observer._reading.reader import Reader

__all__ = ["Change", "Verdict", "compare", "find_runs", "list_runs", "previous_run", "verdicts"]

Row = dict[str, Any]
BAD = ("failed", "broken")
LATEST = "latest"
# A test is newly slow when it takes more than twice as long, and that is more than a hiccup.
SLOW_RATIO, SLOW_SECONDS = 2.0, 0.1

_COLUMNS = """run_id, started_at, finished_at, duration, status, exit_status, collected, deselected, not_run, partial,
    passed, failed, broken, skipped, flaky, reruns, workers, ci_provider, ci_run_id, ci_job, ci_attempt, ci_url,
    change_id, git_commit, git_branch, service, repository, variant, trace_id"""
_LIST = f"SELECT {_COLUMNS} FROM $runs WHERE {{where}} ORDER BY timestamp DESC, run_id DESC LIMIT {{limit:UInt64}}"  # noqa: S608
# Sessions of one id, service and variant are one after another: the latest stands for them.
_NAMED = f"""
SELECT {_COLUMNS} FROM $runs WHERE {{condition}} AND {{where}}
ORDER BY timestamp DESC, variant, service LIMIT 1 BY run_id, variant, service, repository LIMIT {{most:UInt64}}
"""  # noqa: S608 (values travel beside it)
# Candidates that are told apart.
_MOST = 11
_PREVIOUS = f"""
SELECT {_COLUMNS} FROM $runs
WHERE NOT partial AND not_run = 0 AND status IN ('success', 'failure') AND run_id != {{run_id:String}}
    AND started_at < {{started_at:UInt64}} AND git_branch = {{git_branch:String}} AND variant = {{variant:String}}
    AND service = {{service:String}} AND repository = {{repository:String}}
ORDER BY started_at DESC LIMIT 1
"""  # noqa: S608 (values travel beside it)
# The time picks the month and, before other columns are read, the rows; the order of the table is by test.
_VERDICTS = """
WITH (attempt, results.finished_at) AS position, status IN ('failed', 'broken') AS bad
SELECT nodeid, argMax(status, position) AS status_, argMax(outcome, position) AS outcome_,
    argMax(when_phase, position) AS phase, max(flaky) AS flaky_, count() AS attempts,
    argMax(setup_duration + call_duration + teardown_duration, position) AS seconds,
    argMaxIf(error_type, position, bad) AS error_type_, argMaxIf(error_message, position, bad) AS error_message_,
    argMax(trace_id, position) AS trace_id_
FROM $results AS results
PREWHERE timestamp >= fromUnixTimestamp64Milli({begin:Int64}) AND timestamp <= fromUnixTimestamp64Milli({end:Int64})
    AND run_id = {run_id:String}
WHERE service = {service:String} AND repository = {repository:String} AND variant = {variant:String}
GROUP BY nodeid ORDER BY nodeid
"""


class Verdict(NamedTuple):
    """A test of a run, by its last attempt; ``seconds`` are of setup, call and teardown. Errors are of any attempt."""

    nodeid: str
    status: str
    outcome: str
    phase: str
    flaky: bool
    attempts: int
    seconds: float
    error_type: str
    error_message: str
    trace_id: str

    @property
    def bad(self) -> bool:
        """Whether the test did not succeed."""
        return self.status in BAD


class Change(NamedTuple):
    """What differs between a run and the one before it, each in the order of node ids.

    ``newly_slow`` has the seconds of before beside the verdict of now; ``vanished`` is empty for a partial run.
    """

    new_failures: list[Verdict]
    fixed: list[Verdict]
    newly_slow: list[tuple[Verdict, float]]
    new: list[str]
    vanished: list[str]


def list_runs(reader: Reader, filters: Filters) -> list[Row]:
    """Return rows of the table of runs, the latest first."""
    return reader.query(_LIST.replace("{where}", filters.where), filters.parameters)


def find_runs(reader: Reader, run_id: str, filters: Filters) -> list[Row]:
    """Return the runs of an id, else of an id's beginning, or the latest of all; of those that ``filters`` leave.

    There are several where more than one id begins so, and where runs share an id: the cells of a CI matrix do, which
    differ by variant, and the parts of a monorepo, which differ by service.
    """
    if run_id == LATEST:
        return list_runs(reader, filters._replace(limit=1))
    for condition in ("run_id = {run_id:String}", "startsWith(run_id, {run_id:String})"):
        sql = _NAMED.replace("{condition}", condition).replace("{where}", filters.where)
        rows = reader.query(sql, {**filters.parameters, "run_id": run_id, "most": _MOST})
        if rows:
            return rows
    return []


def previous_run(reader: Reader, run: Row) -> Row | None:
    """Return the complete run of the same branch, variant, service and repository before ``run``."""
    names = ("run_id", "started_at", "git_branch", "variant", "service", "repository")
    return next(iter(reader.query(_PREVIOUS, {name: run[name] for name in names})), None)


def verdicts(reader: Reader, run: Row) -> list[Verdict]:
    """Return the verdict of every test of a run, in the order of node ids; files that could not be collected too."""
    names = ("run_id", "service", "repository", "variant")
    period = {"begin": run["started_at"] - 1000, "end": run["finished_at"] + 1000}
    rows = reader.query(_VERDICTS, {**{name: run[name] for name in names}, **period})
    return [Verdict(*row.values()) for row in rows]


def compare(now: Iterable[Verdict], before: Iterable[Verdict], *, partial: bool) -> Change:
    """Tell what changed from ``before`` to ``now``; a partial run makes no test vanish."""
    current = {verdict.nodeid: verdict for verdict in now}
    old = {verdict.nodeid: verdict for verdict in before}
    change = Change([], [], [], [], [])
    for nodeid, verdict in current.items():
        then = old.get(nodeid)
        if verdict.bad and not (then and then.bad):
            change.new_failures.append(verdict)
        if then and then.bad and verdict.status == "passed":
            change.fixed.append(verdict)
        if then and _slower(verdict, then):
            change.newly_slow.append((verdict, then.seconds))
        if not then and verdict.phase != "collect":
            change.new.append(nodeid)
    if not partial:
        # what stands in a file that could not be collected has not vanished
        unread = tuple(verdict.nodeid for verdict in current.values() if verdict.phase == "collect")
        change.vanished.extend(
            nodeid
            for nodeid, verdict in old.items()
            if nodeid not in current and verdict.phase != "collect" and not nodeid.startswith(unread)
        )
    return change


def _slower(now: Verdict, then: Verdict) -> bool:
    both = now.status == then.status == "passed"
    return both and now.seconds > then.seconds * SLOW_RATIO and now.seconds - then.seconds > SLOW_SECONDS
