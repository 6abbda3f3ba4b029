"""Pieces of SQL that the panels share: tables, filters, and tests as their last attempt left them.

Values of variables reach the SQL percent-encoded, and ClickHouse decodes them. Nothing in a node id can end a
literal then, or be taken for a macro. Grafana's own formats ``sqlstring`` and ``singlequote`` leave backslashes
alone, which ClickHouse takes for escapes.
"""

# ruff: noqa: S608 - text for Grafana; values are put in by the variables' format
from __future__ import annotations

from pytest_test_observer._reading.executions import EXECUTION as EXECUTION_COLUMNS

RESULTS = "`${table:percentencode}`"
EVENTS = "`${table:percentencode}_events`"
RUNS = "`${table:percentencode}_runs`"

TIME = "$__timeFilter_ms(timestamp)"
BUCKET = "$__timeInterval_ms"
BAD = "('failed', 'broken')"
# What a test is over time.
IDENTITY = "repository, service, nodeid"
# A pipeline run may be several runs of pytest; a run outside CI is one of its own.
PIPELINE_ID = "if(ci_run_id = '', run_id, ci_run_id)"
PIPELINE = "concat(ci_provider, ' ', if(ci_run_id = '', substring(run_id, 1, 8), ci_run_id))"
# Rows of version 0.2.0 have no durations of phases.
SECONDS = (
    "if(setup_duration + call_duration + teardown_duration = 0, duration, "
    "setup_duration + call_duration + teardown_duration)"
)
# Nothing but web addresses becomes a link.
CI_LINK = "if(match(ci_url, '^https?://'), ci_url, '')"
# Numbers of pipeline runs are those of a project in some CI systems.
PIPELINE_KEY = f"ci_provider, {PIPELINE_ID}, repository"
COUNTS = ", ".join(f"countIf(verdict = '{name}') AS {name}" for name in ("passed", "failed", "broken", "skipped"))
RATE_OF_PASSED = "100 * countIf(verdict = 'passed') / nullIf(countIf(verdict != 'skipped'), 0)"

# A later result replaces an earlier one: of another attempt, or of another session that ran the test again. In rows of
# version 0.2.0 a teardown that failed is a second row, mostly of the same millisecond.
LATEST = "(finished_at, attempt, when_phase = 'teardown')"
# What names a run: shards that share a run id are one, cells of a matrix and repeated CI jobs are runs of their own.
EXECUTION = ", ".join(EXECUTION_COLUMNS)
# The same in all rows of a run: not grouped by, which would take twice as long.
_OF_A_RUN = ", ".join(
    f"any({name}) AS {name}" for name in ("git_branch", "git_commit", "ci_provider", "ci_run_id", "ci_url")
)


def value(variable: str) -> str:
    """Return the SQL of a variable's value, whatever characters it has."""
    return f"decodeURLComponent('${{{variable}:percentencode}}')"


def unless_all(condition: str, variable: str) -> str:
    """Return a condition that holds for every row while the variable is at "All" or empty."""
    return f"$__conditionalAll({condition}, ${variable})"


def _equal(column: str, variable: str) -> str:
    return unless_all(f"{column} = {value(variable)}", variable)


def _contains(array: str, variable: str) -> str:
    return unless_all(f"has({array}, {value(variable)})", variable)


# All three tables have these columns, or rather results and runs do.
CONTEXT = (
    _equal("repository", "repository"),
    _equal("service", "service"),
    _equal("git_branch", "branch"),
    _equal("ci_provider", "provider"),
    _equal("variant", "variant"),
)
FEATURE = _contains("allure_labels['feature']", "feature")
STORY = _contains("allure_labels['story']", "story")
MARKER = _contains("markers", "marker")
NODEID = f"nodeid = {value('nodeid')}"
RUN = f"run_id = {value('run')}"
ATTEMPT = f"toString(ci_attempt) = {value('attempt')}"


def all_of(*conditions: str) -> str:
    """Join conditions, one a line."""
    return "\n  AND ".join(conditions)


# What the variables of each dashboard select.
OF_SUITE = all_of(TIME, *CONTEXT, FEATURE, STORY, MARKER)
OF_TEST = all_of(TIME, *CONTEXT, NODEID)
OF_RUNS = all_of(TIME, *CONTEXT)
OF_RUN = all_of(TIME, *CONTEXT, FEATURE, STORY, RUN, ATTEMPT)


def tests(where: str) -> str:
    """Return ``WITH tests AS (…)``: one row for each test of a run, with the verdict of its last attempt."""
    return f"""WITH tests AS (
  SELECT run_id, variant, ci_attempt, {IDENTITY}, {_OF_A_RUN},
    argMax(status, {LATEST}) AS verdict, argMax(outcome, {LATEST}) AS last_outcome,
    argMaxIf(substring(error_message, 1, 500), {LATEST}, status IN {BAD}) AS last_error,
    max(flaky) OR (verdict = 'passed' AND countIf(status IN {BAD}) > 0) AS is_flaky,
    min(started_at) AS began, max(finished_at) AS ended, max(timestamp) AS seen
  FROM (
    SELECT * FROM {RESULTS}
    WHERE {where}
  )
  GROUP BY run_id, variant, ci_attempt, {IDENTITY}
)"""


def moment(milliseconds: str) -> str:
    """Return the SQL of a time given in milliseconds since 1970."""
    return f"fromUnixTimestamp64Milli(toInt64({milliseconds}))"
