"""The dashboard of one test: its history, its attempts, its errors, its events."""

# ruff: noqa: S608 - text for Grafana; values are put in by the variables' format
from __future__ import annotations

from grafana.source.panels import bars, board, chart, stat, table
from grafana.source.sql import (
    BAD,
    BUCKET,
    CI_LINK,
    COUNTS,
    EVENTS,
    EXECUTION,
    NODEID,
    OF_TEST,
    PIPELINE,
    PIPELINE_KEY,
    RATE_OF_PASSED,
    RESULTS,
    SECONDS,
    TIME,
    moment,
    tests,
)
from grafana.source.variables import CONTEXTS, FEATURES, NODEIDS, SEARCH, TABLES

_TESTS = tests(OF_TEST)
_TO_ITS_END = f"{OF_TEST}\n  AND status != 'skipped' AND outcome != 'crashed'"
# Events know node id and span; the attempt tells repository, service and conditions.
_ITS_EVENTS = (
    f"{TIME}\n  AND {NODEID}\n  AND (run_id, span_id) IN (SELECT run_id, span_id FROM {RESULTS} WHERE {OF_TEST})"
)

_NUMBERS = [
    stat(
        "Outcomes",
        "Runs of this test by its last attempt in each.",
        f"{_TESTS}\nSELECT {COUNTS} FROM tests",
        width=8,
    ),
    stat(
        "Runs",
        "Runs of pytest that had this test, and its attempts in them.",
        f"SELECT uniqExact({EXECUTION}) AS runs, count() AS attempts\nFROM {RESULTS}\nWHERE {OF_TEST}",
    ),
    stat(
        "Pass rate",
        "Runs it passed out of those it passed, failed or broke. Skipped ones do not count.",
        f"{_TESTS}\nSELECT {RATE_OF_PASSED} AS pass_rate FROM tests",
        unit="percent",
        decimals=1,
    ),
    stat(
        "Flaky",
        "Share of its runs in which it passed only after an attempt that did not.",
        f"{_TESTS}\nSELECT 100 * countIf(is_flaky) / nullIf(count(), 0) AS flaky FROM tests",
        unit="percent",
        decimals=1,
    ),
    stat(
        "Duration",
        "Median and 95th percentile of setup, call and teardown, of attempts that ran to their end.",
        f"SELECT if(count() = 0, NULL, quantileExact(0.5)({SECONDS})) AS median,\n"
        f"  if(count() = 0, NULL, quantileExact(0.95)({SECONDS})) AS p95\nFROM {RESULTS}\nWHERE {_TO_ITS_END}",
        unit="s",
    ),
]

_CHARTS = [
    bars(
        "Outcomes per run",
        "The last 50 pipeline runs of this test, by its last attempt in each run and variant.",
        f"{_TESTS}\nSELECT * EXCEPT first_began FROM (\n"
        f"  SELECT any({PIPELINE}) AS pipeline, min(began) AS first_began, {COUNTS}, countIf(is_flaky) AS flaky\n"
        f"  FROM tests GROUP BY {PIPELINE_KEY} ORDER BY first_began DESC LIMIT 50\n) ORDER BY first_began",
        x="pipeline",
    ),
    chart(
        "Duration over time",
        "Medians of each interval, of attempts that ran to their end.",
        f"SELECT {BUCKET}(timestamp) AS time, quantileExact(0.5)({SECONDS}) AS whole,\n"
        "  quantileExact(0.5)(setup_duration) AS setup, quantileExact(0.5)(call_duration) AS call,\n"
        f"  quantileExact(0.5)(teardown_duration) AS teardown\nFROM {RESULTS}\nWHERE {_TO_ITS_END}\n"
        "GROUP BY time ORDER BY time",
        unit="s",
    ),
    table(
        "Failures by branch",
        "Runs of this test on each branch, by its last attempt in each.",
        f"{_TESTS}\nSELECT git_branch AS branch, count() AS runs, countIf(verdict IN {BAD}) AS bad_runs,\n"
        f"  100 * bad_runs / nullIf(countIf(verdict != 'skipped'), 0) AS percent,\n"
        f"  {moment(f'maxIf(ended, verdict IN {BAD})')} AS last_bad\n"
        "FROM tests GROUP BY branch ORDER BY percent DESC, branch LIMIT 50",
        width=12,
    ),
    chart(
        "Events over time",
        "How often this test recorded each event.",
        f"SELECT {BUCKET}(timestamp) AS time, event_name, count() AS events\nFROM {EVENTS}\nWHERE {_ITS_EVENTS}\n"
        "GROUP BY time, event_name ORDER BY time, event_name",
        width=6,
    ),
    chart(
        "Numbers in events",
        "Payload values of events that are numbers, averaged in each interval: one line for each event and key.",
        f"SELECT {BUCKET}(timestamp) AS time, concat(event_name, ' ', key) AS series, avg(number) AS value\nFROM (\n"
        "  SELECT timestamp, event_name, entry.1 AS key, toFloat64OrNull(entry.2) AS number\n"
        f"  FROM {EVENTS} ARRAY JOIN CAST(payload, 'Array(Tuple(String, String))') AS entry\n"
        f"  WHERE {_ITS_EVENTS}\n) WHERE number IS NOT NULL AND isFinite(number)\n"
        "GROUP BY time, series ORDER BY time, series",
        width=6,
    ),
]

_TABLES = [
    table(
        "Attempts",
        "Every attempt with its error, trace and CI job, newest first.",
        f"SELECT timestamp, status, outcome, when_phase AS phase, attempt, {SECONDS} AS duration,\n"
        f"  setup_duration AS setup, call_duration AS call, teardown_duration AS teardown, {PIPELINE} AS pipeline,\n"
        "  git_branch AS branch, git_commit AS commit, variant, worker_id AS worker, error_type,\n"
        f"  substring(error_message, 1, 500) AS error, trace_id, {CI_LINK} AS ci_url, run_id\n"
        f"FROM {RESULTS}\nWHERE {OF_TEST}\nORDER BY timestamp DESC, attempt DESC LIMIT 500",
        height=12,
    ),
    table(
        "Last errors",
        "The last five errors in full.",
        "SELECT timestamp, attempt, error_type, error_message AS error, error_stacktrace AS stacktrace, trace_id\n"
        f"FROM {RESULTS}\nWHERE {OF_TEST}\n  AND status IN {BAD}\nORDER BY timestamp DESC, attempt DESC LIMIT 5",
    ),
    table(
        "Events of the test",
        "What it recorded with record_event, newest attempt first.",
        "SELECT timestamp, event_name AS event, toJSONString(payload) AS payload, attempt, seq, run_id, trace_id\n"
        f"FROM {EVENTS}\nWHERE {_ITS_EVENTS}\n"
        "ORDER BY max(timestamp) OVER (PARTITION BY run_id, span_id) DESC, run_id, span_id, seq LIMIT 500",
    ),
]

BOARD = board(
    "test",
    "Tests: one test",
    "The history of one test. Counts are runs by the last attempt in each.",
    variables=[TABLES, *CONTEXTS, *FEATURES, SEARCH, NODEIDS],
    panels=[*_NUMBERS, *_CHARTS, *_TABLES],
)
