"""The dashboard of one run: how it went, what its workers did, what failed, what it changed."""

# ruff: noqa: S608 - text for Grafana; values are put in by the variables' format
from __future__ import annotations

from grafana.source.panels import board, lanes, stat, table
from grafana.source.sql import (
    ATTEMPT,
    BAD,
    CI_LINK,
    CONTEXT,
    COUNTS,
    IDENTITY,
    LATEST,
    OF_RUN,
    OF_RUNS,
    RATE_OF_PASSED,
    RESULTS,
    RUN,
    RUNS,
    SECONDS,
    TIME,
    all_of,
    moment,
    tests,
)
from grafana.source.variables import ATTEMPTS, CONTEXTS, FEATURES, RUN_IDS, TABLES
from pytest_test_observer._reading.executions import executions
from pytest_test_observer._report.queries import ERROR_TEXT

_TESTS = tests(OF_RUN)
_THE_RUN = all_of(TIME, *CONTEXT, RUN, ATTEMPT)
# Shards have workers of the same names: their job tells them apart.
_LANE = "arrayStringConcat(arrayFilter(x -> x != '', [toString(variant), toString(ci_job), toString(worker_id)]), ' ')"
# More states than these would be slow to draw, and narrower than a pixel.
_DRAWN = 5_000
_KIND = "repository, toString(service), git_branch, toString(variant)"
_SAME_KIND = f"({_KIND}) = (chosen.1, chosen.2, chosen.3, chosen.4)"
# The run that is looked at, and the newest whole one of its branch and variant before it: empty where there is none.
_BOTH = f"""WITH (
  SELECT argMax(({_KIND}, started_at, partial), started_at)
  FROM ({executions(RUNS, _THE_RUN)})
) AS chosen, (
  SELECT argMax((run_id, ci_attempt), started_at)
  FROM ({executions(RUNS, _SAME_KIND)})
  WHERE NOT partial AND not_run = 0 AND status IN ('success', 'failure') AND started_at < chosen.5
) AS previous"""
_IS_IT, _IS_PREVIOUS = f"({RUN} AND {ATTEMPT})", "(run_id, ci_attempt) = previous"
_THE_PREVIOUS = f"{_IS_PREVIOUS} AND {_SAME_KIND}"
# Twice as long, and longer by what somebody would notice: as `pytest-observer run` has it.
_SLOWER = "verdict = 'passed' AND verdict_before = 'passed' AND seconds > 2 * before AND seconds > before + 0.1"
# What could not be collected has not vanished: a file, a class, a directory, or ("." or nothing) all there is.
_UNREAD = f"""(
  SELECT arrayFlatten(groupUniqArray(if(nodeid IN ('', '.'), [''], [concat(nodeid, '::'), concat(nodeid, '/')])))
  FROM {RESULTS} WHERE {_IS_IT} AND {_SAME_KIND} AND when_phase = 'collect'
) AS unread"""
_CHANGES = f"""{_BOTH}, {_UNREAD}
SELECT multiIf(
    verdict IN {BAD} AND verdict_before NOT IN {BAD}, 'new failure',
    verdict = 'passed' AND verdict_before IN {BAD}, 'fixed',
    verdict_before = '', 'new test',
    verdict = '' AND NOT chosen.6, 'vanished',
    {_SLOWER}, 'newly slow', '') AS change,
  nodeid, verdict AS status, verdict_before AS status_before, seconds, before, error, service, repository
FROM (
  SELECT {IDENTITY}, argMaxIf(toString(status), {LATEST}, {_IS_IT}) AS verdict,
    argMaxIf(toString(status), {LATEST}, {_IS_PREVIOUS}) AS verdict_before,
    argMaxIf(toString(when_phase), {LATEST}, {_IS_PREVIOUS}) AS phase_before,
    argMaxIf({SECONDS}, {LATEST}, {_IS_IT}) AS seconds, argMaxIf({SECONDS}, {LATEST}, {_IS_PREVIOUS}) AS before,
    argMaxIf(substring(error_message, 1, 500), {LATEST}, {_IS_IT} AND status IN {BAD}) AS error
  FROM {RESULTS}
  WHERE ({_IS_IT} OR {_IS_PREVIOUS}) AND {_SAME_KIND}
  GROUP BY {IDENTITY}
)
WHERE previous.1 != '' AND change != '' AND NOT (change IN ('vanished', 'fixed') AND phase_before = 'collect')
  AND NOT (change = 'vanished' AND arrayExists(place -> startsWith(nodeid, place), unread))
ORDER BY indexOf(['new failure', 'fixed', 'newly slow', 'new test', 'vanished'], change), nodeid LIMIT 1000"""

_NUMBERS = [
    stat(
        "Outcomes",
        "Tests of the run by their last attempt, and those that passed only after an attempt that did not.",
        f"{_TESTS}\nSELECT {COUNTS}, countIf(is_flaky) AS flaky FROM tests",
        width=10,
    ),
    stat(
        "Pass rate",
        "Passed out of those that passed, failed or broke.",
        f"{_TESTS}\nSELECT {RATE_OF_PASSED} AS pass_rate FROM tests",
        unit="percent",
        decimals=1,
    ),
    stat(
        "Duration",
        "Of the whole run, and of its longest attempt. Feature and story do not apply to the run.",
        f"SELECT if(count() = 0, NULL, max(duration)) AS whole,\n"
        f"  (SELECT if(count() = 0, NULL, max({SECONDS})) FROM {RESULTS} WHERE {OF_RUN}) AS longest\n"
        f"FROM ({executions(RUNS, _THE_RUN)})",
        width=6,
        unit="s",
    ),
    stat(
        "Never ran",
        "Tests that were collected and never reported, and tests that were deselected.",
        f"SELECT sum(not_run) AS not_run, sum(deselected) AS deselected\nFROM ({executions(RUNS, _THE_RUN)})",
    ),
]

_COURSE = [
    table(
        "The run",
        "One row for each session of pytest with this run id. Feature and story do not apply.",
        f"SELECT {moment('started_at')} AS started, status, duration, exit_status, collected, partial, workers,\n"
        f"  git_branch AS branch, git_commit AS commit, variant, trace_id, {CI_LINK} AS ci_url, run_id\n"
        f"FROM {RUNS}\nWHERE {_THE_RUN}\nORDER BY started, variant LIMIT 50",
        height=5,
        none="No run with this id in this time: choose one above, or in the list of runs below.",
    ),
    lanes(
        "Workers over time",
        "A lane for each worker, coloured by outcome: a gap is a worker that had nothing to do, and what sticks out at "
        f"the end is what the others waited for. At most {_DRAWN} attempts, the longest. Set the time range to the "
        "run's to see it large.",
        # the state that begins, or none, in the order of time: an end and a beginning at once are the beginning
        f"SELECT {moment('at')} AS began, worker, argMax(state, state != '') AS outcome FROM (\n"
        "  SELECT worker, arrayJoin([(started_at, toString(outcome)), (finished_at, '')]) AS change,\n"
        "    change.1 AS at, nullIf(change.2, '') AS state\n"
        f"  FROM (\n    SELECT {_LANE} AS worker, started_at, finished_at, outcome\n"
        f"    FROM {RESULTS}\n    WHERE {OF_RUN}\n    ORDER BY finished_at - started_at DESC LIMIT {_DRAWN}\n  )\n"
        ") GROUP BY at, worker ORDER BY began, worker",
        by="worker",
    ),
    table(
        "Workers",
        "How busy each worker was while the run took its tests, when it ended, and the longest it had to do.",
        f"SELECT worker_id AS worker, count() AS attempts, sum({SECONDS}) AS busy,\n"
        "  100 * busy / nullIf((max(max(finished_at)) OVER () - min(min(started_at)) OVER ()) / 1000, 0) AS percent,\n"
        f"  {moment('max(finished_at)')} AS ended, argMax(nodeid, {SECONDS}) AS longest, max({SECONDS}) AS seconds,\n"
        f"  variant, ci_job AS job\nFROM {RESULTS}\nWHERE {OF_RUN}\n"
        "GROUP BY worker, variant, job ORDER BY ended DESC, worker LIMIT 200",
        width=12,
    ),
    table(
        "Slowest tests",
        "Setup, call and teardown of each attempt, the longest first, and when in the run it began.",
        f"SELECT nodeid, {SECONDS} AS seconds, worker_id AS worker, outcome, attempt,\n"
        "  (started_at - min(started_at) OVER ()) / 1000 AS begins, trace_id, service, repository\n"
        f"FROM {RESULTS}\nWHERE {OF_RUN}\nORDER BY seconds DESC, nodeid LIMIT 100",
        width=12,
    ),
]

_FAILURES = [
    table(
        "Failures by error",
        "What went wrong, once for each kind: the first line without addresses, ids, times and long numbers.",
        f"SELECT error_type, {ERROR_TEXT} AS error, uniqExact({IDENTITY}) AS tests, count() AS attempts,\n"
        "  arraySort(groupUniqArray(5)(nodeid)) AS for_example\n"
        f"FROM {RESULTS}\nWHERE {OF_RUN}\n  AND status IN {BAD}\n"
        "GROUP BY error_type, error ORDER BY tests DESC, attempts DESC, error LIMIT 100",
        none="Nothing failed in this run.",
    ),
    table(
        "Failed attempts",
        "Every attempt that was not good, repeated ones too.",
        "SELECT nodeid, attempt, outcome, when_phase AS phase, error_type, substring(error_message, 1, 500) AS error,\n"
        "  substring(error_stacktrace, 1, 4000) AS stacktrace, worker_id AS worker, trace_id,\n"
        f"  {CI_LINK} AS ci_url, variant, service, repository\nFROM {RESULTS}\nWHERE {OF_RUN}\n"
        f"  AND status IN {BAD}\nORDER BY nodeid, attempt LIMIT 500",
        none="Nothing failed in this run.",
    ),
    table(
        "Changed since the previous run",
        "Against the newest whole run of the same branch and variant before it: new failures, fixed, newly slow, new "
        "and vanished tests. In a partial run nothing vanishes. Feature and story do not apply.",
        _CHANGES,
        none="Nothing changed, or there is no whole run of this branch and variant before it.",
    ),
    table(
        "Previous run",
        "What the run is compared with.",
        f"{_BOTH}\nSELECT {moment('started_at')} AS started, status, duration, passed, failed, broken, skipped,\n"
        f"  flaky, git_commit AS commit, {CI_LINK} AS ci_url, run_id,\n"
        f"  ci_attempt AS attempt\nFROM ({executions(RUNS, _THE_PREVIOUS)})\nWHERE previous.1 != ''",
        height=5,
        none="There is no whole run of this branch and variant before it.",
    ),
    table(
        "Runs",
        "The newest runs: a click on a run id shows it here. Feature and story do not apply.",
        f"SELECT {moment('started_at')} AS started, run_id, status, duration, passed, failed, broken, skipped, flaky,\n"
        f"  partial, git_branch AS branch, git_commit AS commit, variant, ci_attempt AS attempt, sessions, trace_id,\n"
        f"  {CI_LINK} AS ci_url\nFROM ({executions(RUNS, OF_RUNS)})\nORDER BY started DESC, variant LIMIT 200",
        none="No run in this time: take a longer one.",
    ),
]

BOARD = board(
    "run",
    "Tests: one run",
    "One run of pytest, or all shards of one. A test is counted once, by its last attempt.",
    variables=[TABLES, *CONTEXTS, *FEATURES, RUN_IDS, ATTEMPTS],
    panels=[*_NUMBERS, *_COURSE, *_FAILURES],
)
