"""Questions about tests: which flake, which take their time, and the history of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_test_observer._reading.executions import last_of

if TYPE_CHECKING:
    from pytest_test_observer._reading.filters import Filters
    from pytest_test_observer._reading.reader import Reader

__all__ = ["MOST_LISTED", "flaky_tests", "history", "identities", "last_error", "slow_tests"]

Row = dict[str, Any]
# Tests that are named where there are several; one more is asked for.
MOST_LISTED = 10
# Points of a trend over the time that is looked at.
POINTS = 12

# A later result replaces an earlier one: of another attempt, or of another session that ran the test again. Rows of
# version 0.2.0 have no attempt, and a teardown that failed is a second row of theirs, mostly of the same millisecond.
_LATEST = "(finished_at, attempt, when_phase = 'teardown')"
# First the few tests that ever failed: their rows stand together, all others are left unread.
_FLAKY = """
WITH suspects AS (
    SELECT DISTINCT nodeid FROM $results PREWHERE {where} WHERE flaky OR status IN ('failed', 'broken')
)
SELECT repository, service, nodeid, uniqExact(run_id, variant_, ci_attempt) AS runs,
    countIf(retried) AS passed_on_retry, uniqExactIf((commit_, variant_), mixed) AS mixed_commits,
    countIf(retried OR (mixed AND bad)) AS flaky_runs,
    flaky_runs / runs AS rate, minIf(at, retried OR (mixed AND bad)) AS since,
    maxIf(at, retried OR (mixed AND bad)) AS last_seen,
    argMinIf(commit_, at, retried OR (mixed AND bad)) AS since_commit,
    argMaxIf(error, at, retried OR (mixed AND bad)) AS error_message
FROM (
    SELECT *, verdict IN ('failed', 'broken') AS bad,
        commit_ != '' AND countIf(verdict = 'passed') OVER same > 0 AND countIf(bad) OVER same > 0 AS mixed
    FROM (
        SELECT repository, service, nodeid, run_id, variant AS variant_, ci_attempt, any(git_commit) AS commit_,
            $verdict AS verdict, max(finished_at) AS at,
            max(flaky) OR (verdict = 'passed' AND countIf(status IN ('failed', 'broken')) > 0) AS retried,
            argMaxIf(error_message, $latest, status IN ('failed', 'broken')) AS error
        FROM $results WHERE {where} AND when_phase != 'collect' AND nodeid IN (suspects)
        GROUP BY repository, service, nodeid, run_id, variant_, ci_attempt
    )
    WHERE verdict != 'skipped'
    WINDOW same AS (PARTITION BY repository, service, nodeid, commit_, variant_)
)
GROUP BY repository, service, nodeid HAVING flaky_runs > 0
ORDER BY rate DESC, flaky_runs DESC, nodeid LIMIT {limit:UInt64}
""".replace("$verdict", last_of("status", "$latest")).replace("$latest", _LATEST)

# Rows of version 0.2.0 have no durations of phases.
_PHASES = "setup_duration + call_duration + teardown_duration"
_SECONDS = f"if({_PHASES} = 0, results.duration, {_PHASES})"
# First what each costs, then more about those that are shown: percentiles need every single time held in memory.
# Rounded, because the last digits of a sum of floats depend on which thread adds what, and with them the order.
_SLOW = f"""
SELECT repository, service, nodeid, count() AS attempts, sum({_SECONDS}) AS total,
    ifNotFinite(total / sum(total) OVER (), 0) AS share
FROM $results AS results WHERE {{where}} AND status != 'skipped' AND outcome != 'crashed'
GROUP BY repository, service, nodeid ORDER BY round(total, 6) DESC, nodeid LIMIT {{limit:UInt64}}
"""  # noqa: S608 (values travel beside it)
_TIMES = f"""
SELECT repository, service, nodeid, quantilesExact(0.5, 0.95)(seconds) AS p,
    quantileExactIf(0.5)(seconds, recent) / nullIf(quantileExactIf(0.5)(seconds, NOT recent), 0) AS trend_,
    if(countIf(recent) > 0 AND countIf(NOT recent) > 0, trend_, NULL) AS trend,
    avgMap(map(point, seconds)) AS means,
    arrayMap(n -> if(has(mapKeys(means), n), means[n], NULL), range({POINTS})) AS points
FROM (
    SELECT repository, service, nodeid, {_SECONDS} AS seconds,
        toUInt8(least(intDiv((finished_at - {{begin:UInt64}}) * {POINTS}, {{width:UInt64}}), {POINTS} - 1)) AS point,
        point >= {POINTS * 2 // 3} AS recent
    FROM $results AS results
    WHERE {{where}} AND nodeid IN {{nodeids:Array(String)}} AND status != 'skipped' AND outcome != 'crashed'
)
GROUP BY repository, service, nodeid
"""  # noqa: S608 (values travel beside it)

_IDENTITIES = f"""
SELECT repository, service, nodeid, max(finished_at) AS last_seen FROM $results
WHERE {{condition}} AND {{where}} GROUP BY repository, service, nodeid
ORDER BY last_seen DESC, nodeid LIMIT {MOST_LISTED + 1}
"""  # noqa: S608 (values travel beside it)
_OF_ONE = "nodeid = {nodeid:String} AND repository = {repository:String} AND service = {service:String}"
_HISTORY = f"""
SELECT run_id, max(finished_at) AS finished, {last_of("status", _LATEST)} AS verdict,
    {last_of("outcome", _LATEST)} AS outcome_,
    max(flaky) OR (verdict = 'passed' AND countIf(status IN ('failed', 'broken')) > 0) AS flaky_,
    count() AS attempts, argMax({_SECONDS}, {_LATEST}) AS seconds, any(git_branch) AS branch,
    any(git_commit) AS commit, results.variant AS variant_, ci_attempt, any(ci_url) AS url
FROM $results AS results WHERE {_OF_ONE} AND {{where}} GROUP BY run_id, variant_, ci_attempt
ORDER BY finished DESC, run_id DESC, variant_, ci_attempt DESC
"""  # noqa: S608 (values travel beside it)
_LAST_ERROR = f"""
SELECT run_id, finished_at, git_branch, git_commit, variant, outcome, when_phase, error_type, error_message,
    error_stacktrace, trace_id
FROM $results WHERE {_OF_ONE} AND {{where}} AND status IN ('failed', 'broken')
ORDER BY finished_at DESC, attempt DESC LIMIT 1
"""  # noqa: S608 (values travel beside it)


def _with(sql: str, filters: Filters) -> str:
    return sql.replace("{where}", filters.where)


def flaky_tests(reader: Reader, filters: Filters) -> list[Row]:
    """Return tests that passed after a failed attempt, or have both results under one commit and variant.

    ``rate`` is ``flaky_runs`` of ``runs``; ``since`` and ``last_seen`` are milliseconds since 1970.
    """
    return reader.query(_with(_FLAKY, filters), filters.parameters)


def slow_tests(reader: Reader, filters: Filters, now_ms: int) -> list[Row]:
    """Return the tests that cost most time: p50, p95 and total in seconds, share of all, and their trend.

    ``trend`` is the median of the last third of the time over the median before it, None where one is missing;
    ``points`` are means of equal parts of the time, None for one without results.
    """
    rows = reader.query(_with(_SLOW, filters), filters.parameters)
    begin = filters.since_ms
    more = {"nodeids": [row["nodeid"] for row in rows], "begin": begin, "width": max(now_ms - begin, 1)}
    found = reader.query(_with(_TIMES, filters), {**filters.parameters, **more}) if rows else []
    times = {_identity(row): row for row in found}
    # what was deleted between the two questions is in one of them only
    return [_with_times(row, times[_identity(row)]) for row in rows if _identity(row) in times]


def _identity(row: Row) -> tuple[str, str, str]:
    return row["repository"], row["service"], row["nodeid"]


def _with_times(row: Row, times: Row) -> Row:
    p50, p95 = times["p"]
    costs = {"p50": p50, "p95": p95, "total": row.pop("total"), "share": row.pop("share")}
    return {**row, **costs, "trend": times["trend"], "points": times["points"]}


def identities(reader: Reader, nodeid: str, filters: Filters) -> list[Row]:
    """Return (repository, service, nodeid, last_seen) of tests with this node id, else of those that contain it."""
    for condition in ("nodeid = {nodeid:String}", "positionCaseInsensitiveUTF8(nodeid, {nodeid:String}) > 0"):
        sql = _with(_IDENTITIES.replace("{condition}", condition), filters)
        rows = reader.query(sql, {**filters.parameters, "nodeid": nodeid})
        if rows:
            return rows
    return []


def history(reader: Reader, identity: Row, filters: Filters) -> list[Row]:
    """Return one row for each run of a test, the latest first: verdict of the last attempt, and its conditions."""
    return reader.query(_with(_HISTORY, filters), {**filters.parameters, **identity})


def last_error(reader: Reader, identity: Row, filters: Filters) -> Row | None:
    """Return the last attempt of a test that did not succeed."""
    return next(iter(reader.query(_with(_LAST_ERROR, filters), {**filters.parameters, **identity})), None)
