"""Questions about runs: the list, one of them, and what it changed against the complete run before it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_test_observer._reading.executions import EXECUTION, NAMES, SLACK_MS, executions, last_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_test_observer._reading.filters import Filters
    from pytest_test_observer._reading.reader import Reader

__all__ = ["Change", "Verdict", "compare", "find_runs", "list_runs", "previous_run", "settle", "verdicts"]

Row = dict[str, Any]
BAD = ("failed", "broken")
STATUSES = ("passed", *BAD, "skipped")
LATEST = "latest"
# Node ids of the collector of everything, see pytest's Session and Dir of the rootdir.
_ALL = ("", ".")
# A test is newly slow when it takes more than twice as long, and that is more than a hiccup.
SLOW_RATIO, SLOW_SECONDS = 2.0, 0.1

_NAMES = ", ".join(NAMES)
_KEY = ", ".join(EXECUTION)
_LIST = f"""
SELECT {_NAMES} FROM ({executions("$runs", "{where}")})
ORDER BY ended DESC, run_id DESC, variant, service LIMIT {{limit:UInt64}}
"""  # noqa: S608 (values travel beside it)
_IS_NAMED = {"id": "run_id = {run_id:String}", "beginning": "startsWith(run_id, {run_id:String})"}
# The run of the session that ended last, whose other sessions may have ended at any time before.
_IS_LATEST = f"({_KEY}) IN (SELECT {_KEY} FROM $runs WHERE {{where}} ORDER BY timestamp DESC, run_id DESC LIMIT 1)"  # noqa: S608
# Of the attempts of a CI job the last one stands for all, unless one is asked for.
_NAMED = f"""
SELECT {_NAMES} FROM ({executions("$runs", "{condition} AND {where}")})
ORDER BY ci_attempt DESC, ended DESC, variant, service LIMIT 1 BY run_id, repository, service, variant
LIMIT {{most:UInt64}}
"""  # noqa: S608 (values travel beside it)
# Candidates that are named where there are several.
MOST_NAMED = 10
_SAME_KIND = " AND ".join(f"{name} = {{{name}:String}}" for name in ("git_branch", "variant", "service", "repository"))
_PREVIOUS = f"""
SELECT {_NAMES} FROM ({executions("$runs", _SAME_KIND)})
WHERE NOT partial AND not_run = 0 AND status IN ('success', 'failure') AND started_at < {{started_at:UInt64}}
ORDER BY started_at DESC LIMIT 3
"""  # noqa: S608 (values travel beside it)
# The time picks the month and, before other columns are read, the rows; the order of the table is by test.
# A later result replaces an earlier one: of another attempt, or of another session that ran the test again.
_VERDICTS = f"""
WITH (results.finished_at, attempt) AS position, status IN ('failed', 'broken') AS bad
SELECT nodeid, {last_of("status", "position")} AS status_, {last_of("outcome", "position")} AS outcome_,
    {last_of("when_phase", "position")} AS phase,
    max(flaky) OR (status_ = 'passed' AND countIf(bad) > 0) AS flaky_, count() AS attempts,
    argMax(setup_duration + call_duration + teardown_duration, position) AS seconds,
    argMaxIf(error_type, position, bad) AS error_type_, argMaxIf(error_message, position, bad) AS error_message_,
    argMax(trace_id, position) AS trace_id_
FROM $results AS results
PREWHERE timestamp >= fromUnixTimestamp64Milli({{begin:Int64}}) AND timestamp <= fromUnixTimestamp64Milli({{end:Int64}})
    AND run_id = {{run_id:String}}
WHERE service = {{service:String}} AND repository = {{repository:String}} AND variant = {{variant:String}}
    AND ci_attempt = {{ci_attempt:UInt16}}
GROUP BY nodeid ORDER BY nodeid
"""  # noqa: S608 (values travel beside it)


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
    """Return runs, the latest first, each with all its sessions."""
    return reader.query(_LIST.replace("{where}", filters.where), filters.parameters)


def find_runs(reader: Reader, run_id: str, filters: Filters) -> list[Row]:
    """Return the runs of an id, else of an id's beginning, or the latest of all; of those that ``filters`` leave.

    There are several where more than one id begins so, and where runs share an id: the cells of a CI matrix do, which
    differ by variant, and the parts of a monorepo, which differ by service.
    """
    conditions = [_IS_LATEST] if run_id == LATEST else _IS_NAMED.values()
    for condition in conditions:
        sql = _NAMED.replace("{condition}", condition).replace("{where}", filters.where)
        rows = reader.query(sql, {**filters.parameters, "run_id": run_id, "most": MOST_NAMED + 1})
        if rows:
            return rows
    return []


def previous_run(reader: Reader, run: Row) -> tuple[Row, list[Verdict]] | None:
    """Return the whole run of the same branch, variant, service and repository before ``run``, and its verdicts."""
    names = ("started_at", "git_branch", "variant", "service", "repository")
    for row in reader.query(_PREVIOUS, {name: run[name] for name in names}):
        found = verdicts(reader, row)
        settled = settle(row, found)
        if not settled["partial"]:
            return settled, found
    return None


def verdicts(reader: Reader, run: Row) -> list[Verdict]:
    """Return the verdict of every test of a run, in the order of node ids; files that could not be collected too."""
    period = {"begin": run["started_at"] - SLACK_MS, "end": run["finished_at"] + SLACK_MS}
    rows = reader.query(_VERDICTS, {**{name: run[name] for name in EXECUTION}, **period})
    return [Verdict(*row.values()) for row in rows]


def settle(run: Row, found: list[Verdict]) -> Row:
    """Return a run of several sessions with its tests counted once each, and partial where some are missing.

    Sessions are added up without their tests, of which some can have run in more than one of them.
    """
    if run["sessions"] == 1:
        return run
    tests = sum(verdict.phase != "collect" for verdict in found)
    counts = {status: sum(verdict.status == status for verdict in found) for status in STATUSES}
    flaky = sum(verdict.flaky for verdict in found)
    shards_miss_some = run["deselected"] == 0 and tests < run["found"]
    partial = bool(run["partial"]) or shards_miss_some
    return {**run, **counts, "flaky": flaky, "collected": tests + run["not_run"], "partial": partial}


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
        # before pytest 8 a package has the name of its file
        unread = {v.nodeid.removesuffix("/__init__.py") for v in current.values() if v.phase == "collect"}
        change.vanished.extend(
            nodeid
            for nodeid, verdict in old.items()
            if nodeid not in current and verdict.phase != "collect" and not _stands_in(nodeid, unread)
        )
    return change


def _stands_in(nodeid: str, unread: set[str]) -> bool:
    """Whether a test belongs to what could not be collected: then it has not vanished. "" is the whole suite."""
    return any(nodeid[: end.start()] in unread for end in re.finditer("/|::", nodeid)) or not unread.isdisjoint(_ALL)


def _slower(now: Verdict, then: Verdict) -> bool:
    both = now.status == then.status == "passed"
    return both and now.seconds > then.seconds * SLOW_RATIO and now.seconds - then.seconds > SLOW_SECONDS
