"""The dashboard of flaky tests: how many, which, since when, on which commits and variants."""

# ruff: noqa: S608 - text for Grafana; values are put in by the variables' format
from __future__ import annotations

from grafana.source.panels import bars, board, chart, stat, table
from grafana.source.sql import (
    BAD,
    BUCKET,
    CI_LINK,
    CONTEXT,
    EXECUTION,
    FEATURE,
    IDENTITY,
    MARKER,
    OF_SUITE,
    RESULTS,
    SECONDS,
    STORY,
    all_of,
    moment,
    tests,
)
from grafana.source.variables import CONTEXTS, FEATURES, MARKERS, TABLES

_NONE = "No test was flaky in this time with what is chosen above."


def _marked(where: str) -> str:
    """``marked``: tests of runs, each with whether it was flaky there.

    It passed after an attempt that did not; or it did not pass while it passed on the same commit under the same
    conditions in another run.
    """
    same = f"OVER (PARTITION BY {IDENTITY}, git_commit, variant)"
    return f"""{tests(where)}, marked AS (
  SELECT *, git_commit != '' AND verdict IN {BAD} AND countIf(verdict = 'passed') {same} > 0 AS both_ways,
    is_flaky OR both_ways AS flaked
  FROM tests
)"""


_MARKED = _marked(OF_SUITE)
_SINCE = "minIf(ended, flaked)"
_FROM_BEFORE = "$__fromTime - toIntervalSecond(dateDiff('second', $__fromTime, $__toTime))"
# As long a time before as is looked at.
_TWICE = _marked(all_of(f"timestamp >= {_FROM_BEFORE} AND timestamp <= $__toTime", *CONTEXT, FEATURE, STORY, MARKER))
_NOW = "seen >= toDateTime64($__fromTime, 3)"

_NUMBERS = [
    stat(
        "Flaky tests",
        "Different tests that were flaky at least once, and all different tests.",
        f"{_MARKED}\nSELECT uniqExactIf(({IDENTITY}), flaked) AS flaky, uniqExact(({IDENTITY})) AS tests FROM marked",
        width=8,
    ),
    stat(
        "Rate",
        "Share of the tests of all runs that were flaky there.",
        f"{_MARKED}\nSELECT 100 * countIf(flaked) / nullIf(count(), 0) AS flaky FROM marked",
        unit="percent",
        decimals=2,
        width=5,
    ),
    stat(
        "Runs with flaky tests",
        "Runs in which at least one test was flaky, and all runs.",
        f"{_MARKED}\nSELECT uniqExactIf(({EXECUTION}), flaked) AS flaky, uniqExact({EXECUTION}) AS runs FROM marked",
        width=6,
    ),
    stat(
        "Time of repetitions",
        "What second and later attempts took: setup, call and teardown.",
        f"SELECT sumIf({SECONDS}, attempt > 1) AS repeating FROM {RESULTS}\nWHERE {OF_SUITE}",
        unit="s",
        width=5,
    ),
]

_CHARTS = [
    chart(
        "Rate over time",
        "Share of the tests of each interval that were flaky.",
        f"{_MARKED}\nSELECT {BUCKET}(seen) AS time, 100 * countIf(flaked) / count() AS flaky\n"
        "FROM marked GROUP BY time ORDER BY time",
        unit="percent",
    ),
    bars(
        "By variant",
        "How often tests were flaky under each variant: passed when repeated, or both ways on one commit.",
        f"{_MARKED}\nSELECT variant, countIf(is_flaky) AS repeated,\n"
        "  countIf(both_ways AND NOT is_flaky) AS both_ways_only\n"
        "FROM marked GROUP BY variant ORDER BY repeated + both_ways_only DESC, variant LIMIT 30",
        x="variant",
    ),
]

_TABLES = [
    table(
        "Flakiest tests",
        "How often, since when, and what they said. Percent of their runs.",
        f"{_MARKED}\nSELECT nodeid, 100 * flaky_runs / runs AS percent, countIf(flaked) AS flaky_runs,\n"
        f"  count() AS runs, countIf(is_flaky) AS repeated, countIf(both_ways) AS unrepeated,\n"
        f"  {moment(_SINCE)} AS since, {moment('maxIf(ended, flaked)')} AS last_seen,\n"
        f"  argMaxIf(last_error, ended, flaked) AS error, service, repository\n"
        f"FROM marked GROUP BY {IDENTITY} HAVING flaky_runs > 0\n"
        "ORDER BY percent DESC, nodeid LIMIT 200",
        none=_NONE,
    ),
    table(
        "Newly flaky",
        "Flaky in this time, and never in as long a time before it.",
        f"{_TWICE}\nSELECT nodeid, {moment(_SINCE)} AS since, countIf(flaked) AS flaky_runs, countIf({_NOW}) AS runs,\n"
        f"  countIf(NOT {_NOW}) AS runs_before, argMinIf(git_commit, ended, flaked) AS first_commit,\n"
        f"  argMinIf(git_branch, ended, flaked) AS first_branch, service, repository\n"
        f"FROM marked GROUP BY {IDENTITY} \n"
        f"HAVING countIf(flaked AND {_NOW}) > 0 AND countIf(flaked AND NOT {_NOW}) = 0\n"
        "ORDER BY since DESC, nodeid LIMIT 200",
        none="No test became flaky in this time.",
    ),
    table(
        "By commit and variant",
        "Each commit and variant on which a test was flaky, the newest first.",
        f"{_MARKED}\nSELECT {moment('maxIf(ended, flaked)')} AS last_seen, nodeid, git_commit AS commit, variant,\n"
        f"  countIf(verdict = 'passed') AS good, countIf(verdict IN {BAD}) AS bad, countIf(is_flaky) AS repeated,\n"
        f"  service, repository\nFROM marked GROUP BY {IDENTITY}, git_commit, variant HAVING countIf(flaked) > 0\n"
        "ORDER BY last_seen DESC, nodeid, commit, variant LIMIT 500",
        none=_NONE,
    ),
    table(
        "Where they were flaky",
        "Each run in which a test was flaky, with its error and CI job, the newest first.",
        f"{_MARKED}\nSELECT {moment('ended')} AS at, nodeid, verdict AS status,\n"
        f"  if(is_flaky, 'repeated', 'both ways') AS how, last_error AS error, git_branch AS branch,\n"
        f"  git_commit AS commit, variant, {CI_LINK} AS ci_url, run_id, service, repository\n"
        "FROM marked WHERE flaked ORDER BY ended DESC, nodeid LIMIT 500",
        none=_NONE,
    ),
]

BOARD = board(
    "flaky",
    "Tests: flaky",
    "Tests that passed after an attempt that did not, or both ways on one commit under one variant.",
    variables=[TABLES, *CONTEXTS, *FEATURES, *MARKERS],
    panels=[*_NUMBERS, *_CHARTS, *_TABLES],
)
