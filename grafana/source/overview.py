"""The dashboard of a suite: how it does, what is slow, what is flaky, what went wrong."""

# ruff: noqa: S608 - text for Grafana; values are put in by the variables' format
from __future__ import annotations

from grafana.source.panels import bars, board, chart, donut, stat, table
from grafana.source.sql import (
    BAD,
    BUCKET,
    CI_LINK,
    COUNTS,
    EVENTS,
    EXECUTION,
    IDENTITY,
    OF_RUNS,
    OF_SUITE,
    PIPELINE,
    PIPELINE_ID,
    PIPELINE_KEY,
    RATE_OF_PASSED,
    RESULTS,
    RUNS,
    SECONDS,
    TIME,
    moment,
    tests,
)
from grafana.source.variables import CONTEXTS, FEATURES, MARKERS, TABLES

_TESTS = tests(OF_SUITE)
_ONE = f"({IDENTITY})"
_WHOLE_RUNS = f"{OF_RUNS}\n  AND NOT partial AND status IN ('success', 'failure')"
_PIPELINES = f"GROUP BY {PIPELINE_KEY}"
# Files that could not be collected, and later could: there is no result that says so but those of their tests.
_READ_AGAIN = f"""SELECT repository, service, file, git_branch FROM {RESULTS}
  WHERE {OF_SUITE}
    AND file IN (SELECT file FROM {RESULTS} WHERE {OF_SUITE} AND when_phase = 'collect')
  GROUP BY repository, service, file, git_branch HAVING argMax(when_phase, finished_at) != 'collect'"""

_NUMBERS = [
    stat(
        "Tests",
        "Tests of all runs, each counted once a run, by their last attempt. Failed: the test said no. Broken: a "
        "fixture failed, the process died, or a file could not be collected.",
        f"{_TESTS}\nSELECT {COUNTS} FROM tests",
        width=8,
    ),
    stat(
        "Runs",
        "Runs of pytest, and the pipeline runs they belong to.",
        f"SELECT uniqExact({EXECUTION}) AS runs, uniqExact({PIPELINE_KEY}) AS pipelines\n"
        f"FROM {RESULTS}\nWHERE {OF_SUITE}",
    ),
    stat(
        "Flaky tests",
        "Share of the different tests that passed at least once only after an attempt that did not.",
        f"SELECT 100 * uniqExactIf({_ONE}, flaky) / nullIf(uniqExact({_ONE}), 0) AS flaky_tests\n"
        f"FROM {RESULTS}\nWHERE {OF_SUITE}",
        unit="percent",
        decimals=1,
    ),
    stat(
        "Pass rate",
        "Passed out of those that passed, failed or broke, over the whole time. The line is the rate of all tests "
        "until then, so that its end is the number.",
        f"{_TESTS}\nSELECT bucket AS time,\n"
        "  100 * sum(good) OVER until / nullIf(sum(counted) OVER until, 0) AS pass_rate\n"
        f"FROM (\n  SELECT {BUCKET}(seen) AS bucket, countIf(verdict = 'passed') AS good,\n"
        "    countIf(verdict != 'skipped') AS counted\n  FROM tests GROUP BY bucket\n)\n"
        "WINDOW until AS (ORDER BY bucket) ORDER BY time",
        unit="percent",
        decimals=1,
        sparkline=True,
    ),
    stat(
        "Duration of a run",
        "Median and 90th percentile of runs of the whole suite that came to their end. Feature, story and marker do "
        "not apply to runs.",
        "SELECT if(count() = 0, NULL, quantileExact(0.5)(duration)) AS median,\n"
        "  if(count() = 0, NULL, quantileExact(0.9)(duration)) AS p90\n"
        f"FROM {RUNS}\nWHERE {_WHOLE_RUNS}",
        unit="s",
    ),
]

_CHARTS = [
    donut(
        "Status",
        "Shares of the tests of all runs, by their last attempt.",
        f"{_TESTS}\nSELECT {COUNTS} FROM tests",
    ),
    chart(
        "Pass rate over time",
        "Passed out of those that passed, failed or broke in each interval.",
        f"{_TESTS}\nSELECT {BUCKET}(seen) AS time, {RATE_OF_PASSED} AS pass_rate\n"
        "FROM tests GROUP BY time ORDER BY time",
        width=8,
        unit="percent",
        percent=True,
    ),
    bars(
        "Tests per pipeline run",
        "The last 30 pipeline runs, tests by their last attempt. A run outside CI is a pipeline run of its own.",
        f"{_TESTS}\nSELECT * EXCEPT first_began FROM (\n"
        f"  SELECT any({PIPELINE}) AS pipeline, min(began) AS first_began, {COUNTS}\n"
        f"  FROM tests {_PIPELINES} ORDER BY first_began DESC LIMIT 30\n) ORDER BY first_began",
        x="pipeline",
        width=10,
    ),
]

_TABLES = [
    table(
        "Failing now",
        "Tests whose last run on a branch was not good.",
        f"{_TESTS}\nSELECT max(seen) AS last_seen, nodeid, argMax(last_outcome, began) AS outcome,\n"
        f"  git_branch AS branch, countIf(verdict IN {BAD}) AS bad_runs, count() AS runs,\n"
        "  argMax(last_error, began) AS error,\n"
        f"  service, repository\nFROM tests\n"
        f"WHERE (repository, service, nodeid, git_branch) NOT IN (\n  {_READ_AGAIN}\n)\n"
        f"GROUP BY {IDENTITY}, git_branch\n"
        f"HAVING argMax(verdict, began) IN {BAD} ORDER BY last_seen DESC, nodeid LIMIT 200",
    ),
    table(
        "Attempts that failed",
        "Every attempt that was not good, repeated ones too, with its error, its trace and its CI job.",
        "SELECT timestamp, nodeid, attempt, outcome, when_phase AS phase, error_type,\n"
        f"  substring(error_message, 1, 500) AS error, trace_id, {CI_LINK} AS ci_url, git_branch AS branch, variant,\n"
        f"  worker_id AS worker, run_id, service, repository\nFROM {RESULTS}\nWHERE {OF_SUITE}\n"
        f"  AND status IN {BAD}\nORDER BY timestamp DESC, nodeid, attempt DESC LIMIT 200",
    ),
    table(
        "Commonest errors",
        "First lines of errors, by how often they were seen.",
        "SELECT error_type, substring(splitByChar('\\n', error_message)[1], 1, 200) AS error, count() AS times,\n"
        f"  uniqExact({IDENTITY}) AS tests, max(timestamp) AS last_seen\nFROM {RESULTS}\nWHERE {OF_SUITE}\n"
        f"  AND status IN {BAD}\nGROUP BY error_type, error ORDER BY times DESC, error LIMIT 50",
        width=12,
    ),
    table(
        "Slowest tests",
        "Setup, call and teardown of attempts that ran to their end: median, 95th percentile, runs.",
        f"SELECT nodeid, quantileExact(0.5)({SECONDS}) AS median, quantileExact(0.95)({SECONDS}) AS p95,\n"
        f"  uniqExact({EXECUTION}) AS runs, service, repository\nFROM {RESULTS}\nWHERE {OF_SUITE}\n"
        f"  AND status != 'skipped' AND outcome != 'crashed'\nGROUP BY {IDENTITY}\n"
        "ORDER BY median DESC, nodeid LIMIT 50",
        width=12,
    ),
    table(
        "Flakiest within runs",
        "Tests that passed after an attempt that did not, in the same run.",
        f"{_TESTS}\nSELECT nodeid, countIf(is_flaky) AS flaky_runs, count() AS runs,\n"
        "  100 * flaky_runs / runs AS percent,\n"
        f"  service, repository\nFROM tests GROUP BY {IDENTITY} HAVING flaky_runs > 0\n"
        "ORDER BY percent DESC, nodeid LIMIT 50",
        width=12,
    ),
    table(
        "Flaky across runs",
        "Tests that both passed and failed on one commit under the same conditions: nobody changed anything.",
        f"{_TESTS}\nSELECT nodeid, git_commit AS commit, variant, countIf(verdict = 'passed') AS good,\n"
        f"  countIf(verdict IN {BAD}) AS bad, service, repository\nFROM tests WHERE git_commit != ''\n"
        f"GROUP BY {IDENTITY}, git_commit, variant HAVING good > 0 AND bad > 0\n"
        "ORDER BY bad DESC, nodeid, commit LIMIT 50",
        width=12,
    ),
    table(
        "Recent pipeline runs",
        "Tests by their last attempt. The duration is from the first start to the last end of a test.",
        f"{_TESTS}\nSELECT {moment('min(began)')} AS started, ci_provider AS provider,\n"
        f"  {PIPELINE_ID} AS number, any(git_branch) AS branch, any(git_commit) AS commit, count() AS tests,\n"
        f"  {COUNTS}, countIf(is_flaky) AS flaky, {RATE_OF_PASSED} AS pass_rate,\n"
        f"  (max(ended) - min(began)) / 1000 AS duration, max({CI_LINK}) AS ci_url,\n"
        "  repository\nFROM tests GROUP BY provider, number, repository ORDER BY started DESC LIMIT 100",
    ),
    table(
        "Runs that did not end well",
        "Killed, interrupted, or with tests that never ran. Feature, story and marker do not apply to runs.",
        f"SELECT timestamp AS ended, run_id, status, exit_status, collected, not_run, duration,\n"
        f"  git_branch AS branch, variant, trace_id, {CI_LINK} AS ci_url\nFROM {RUNS}\nWHERE {OF_RUNS}\n"
        "  AND (status = 'aborted' OR not_run > 0)\nORDER BY ended DESC LIMIT 100",
        width=12,
    ),
    chart(
        "Custom events",
        "What tests recorded with record_event, by name.",
        f"SELECT {BUCKET}(timestamp) AS time, event_name, count() AS events\nFROM {EVENTS}\nWHERE {TIME}\n"
        f"  AND (run_id, nodeid, span_id) IN (SELECT run_id, nodeid, span_id FROM {RESULTS} WHERE {OF_SUITE})\n"
        "GROUP BY time, event_name ORDER BY time, event_name",
    ),
]

BOARD = board(
    "overview",
    "Tests: overview",
    "How a suite does. A test is counted once a run, by its last attempt.",
    variables=[TABLES, *CONTEXTS, *FEATURES, *MARKERS],
    panels=[*_NUMBERS, *_CHARTS, *_TABLES],
)
