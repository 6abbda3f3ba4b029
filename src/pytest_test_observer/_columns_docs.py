"""docs/schema.md: ``python -m pytest_test_observer._columns_docs > docs/schema.md`` makes it anew."""

from __future__ import annotations

import sys

from pytest_test_observer._columns import DEDUPLICATION_WINDOW, PARTITION_BY, TABLES, Column, Table
from pytest_test_observer._destinations.schema import Place, create_table

_RESULTS = {
    "run_id": "`PYTEST_OBSERVER_RUN_ID`, else a UUID4 of the session",
    "timestamp": "the end of the attempt, in UTC",
    "started_at": "start of the setup, milliseconds since the epoch",
    "finished_at": "end of the teardown, milliseconds since the epoch",
    "nodeid": "pytest's node id of the test; of the file where collection failed",
    "status": "`passed`, `failed`, `broken` or `skipped`, see [statuses](statuses.md)",
    "when_phase": "the phase that decided: `setup`, `call`, `teardown` or `collect`",
    "duration": "seconds of the call, or of `when_phase` where call did not run",
    "markers": "names of the test's markers, sorted, without those of Allure",
    "worker_id": "pytest-xdist's `gw0`, `gw1`..., else `master`",
    "ci_provider": "[the CI system](ci-systems.md), `local` outside of one",
    "ci_run_id": "the CI system's number of the pipeline or build",
    "git_commit": "the commit, of the CI system or `git rev-parse HEAD`",
    "git_branch": "the branch, likewise",
    "allure_id": "`@allure.id`",
    "allure_title": "`@allure.title` with its parameters filled in, or `allure.dynamic.title`",
    "allure_severity": "`@allure.severity`",
    "allure_labels": "all labels: name to values",
    "allure_links": "(type, url, name); types are `link`, `issue` and `tms`",
    "outcome": "`passed`, `failed`, `skipped`, `error`, `rerun`, `crashed`, `xfailed` or `xpassed`",
    "attempt": "1 for the first, more for repetitions",
    "flaky": "true on the last attempt if it passed after one that did not",
    "trace_id": "trace that the attempt belongs to, 32 hexadecimal digits",
    "span_id": "the attempt's own id, 16 hexadecimal digits: the same when rows are sent again",
    "parent_span_id": "span of the session, or of the module",
    "service": "`OTEL_SERVICE_NAME`, else the name of the repository or of the rootdir",
    "repository": "address of the repository, without credentials",
    "variant": "`observer_variant`, else `<os>-<arch>-py<version>`",
    "ci_job": "the CI system's name of the job",
    "ci_attempt": "which attempt of the pipeline this is, 0 where the CI system does not say",
    "ci_url": "address of the run in the CI system",
    "change_id": "number of the pull or merge request",
    "file": "file of the test, relative to the rootdir",
    "line": "line in `file`, from 1",
    "function": "the test's function with its class",
    "setup_duration": "seconds",
    "call_duration": "seconds",
    "teardown_duration": "seconds",
    "error_type": "class of the exception; empty unless failed or broken",
    "error_message": "its text (up to 64 KiB), or the reason of a skip or an expected failure",
    "error_stacktrace": "pytest's traceback (up to 256 KiB)",
    "attributes": "what the test gave to `record_property`",
}
_EVENTS = {
    "timestamp": "when `record_event` was called, in UTC",
    "seq": "0, 1, 2... within the attempt",
    "event_name": "the name given",
    "payload": "the payload given",
}
_RUNS = {
    "timestamp": "the end of the run, in UTC",
    "started_at": "milliseconds since the epoch",
    "finished_at": "milliseconds since the epoch",
    "duration": "seconds",
    "status": "`success`, `failure`, `aborted` or `skipped` (no tests)",
    "exit_status": "pytest's exit code",
    "collected": "tests that were to run",
    "deselected": "tests that were left out by selection",
    "not_run": "tests that were collected and never reported",
    "partial": "true if part of the suite was selected, or the run stopped early",
    "passed": "tests by the status of their last attempt",
    "failed": "likewise",
    "broken": "likewise",
    "skipped": "likewise",
    "flaky": "tests that passed after an attempt that did not",
    "reruns": "attempts after the first ones",
    "workers": "pytest-xdist's workers, 1 without it",
    "trace_id": "trace of the session",
    "span_id": "span of the session",
    "attributes": "what else describes the run: `OTEL_RESOURCE_ATTRIBUTES`, more of CI and repository",
}
# What the tables of events and runs have in common with that of results means the same there.
MEANINGS = {"results": _RESULTS, "events": {**_RESULTS, **_EVENTS}, "runs": {**_RESULTS, **_RUNS}}

_INTRODUCTIONS = {
    "results": "One row for each attempt of each test. The first 19 columns are those of version 0.2.0.",
    "events": "One row for each call of `record_event`, where `custom_events` is on.",
    "runs": "One row for each session of pytest, written at its end; by the helper process if pytest died.",
}

_PAGE = """\
# Schema

<!-- Made by `python -m pytest_test_observer._columns_docs`; change the table in `_columns.py` or the
meanings in `_columns_docs.py` instead. -->

Three tables, here under their default names; `--ch-table=ci` makes them `ci`, `ci_events` and `ci_runs`.
They are made when the first rows arrive. An older table gets the columns that it lacks and the setting below;
columns of your own stay. With `--ch-auto-migrate=false` nothing is made: the message holds the SQL to run.

A test over time is (`repository`, `service`, `nodeid`); the conditions of a result are (`git_commit`,
`variant`). "From" is where a value comes from: the *run* (the same in all its rows), the *attempt* or the
*event*. "Attribute" is the OpenTelemetry attribute of the same value, empty where the span itself has it.

Partitions are months (`{partition}`). `non_replicated_deduplication_window = {window}` lets a table
recognise a batch that is sent twice.
{tables}
## Types of existing tables

A column may differ by `LowCardinality(...)`, `Nullable(...)` or a time zone. With any other difference
nothing is written: the rows stay on disk, and the message names the column, what was found, what was wanted
and the ways out.

## SQL

What is run on a server without the tables, for `--ch-db=default`:

```sql
{sql}
```
"""


def document() -> str:
    """Return the text of docs/schema.md."""
    place = Place("default", "pytest_results")
    return _PAGE.format(
        partition=PARTITION_BY,
        window=DEDUPLICATION_WINDOW,
        tables="".join(_section(table) for table in TABLES.values()),
        sql=";\n\n".join(create_table(table, place) for table in TABLES.values()) + ";",
    )


def _section(table: Table) -> str:
    lines = "\n".join(_line(table, column) for column in table.columns)
    return (
        f"\n## {table.name('pytest_results')}\n\n{_INTRODUCTIONS[table.key]} `ORDER BY {table.order_by}`.\n\n"
        f"| column | type | from | meaning | attribute |\n|---|---|---|---|---|\n{lines}\n"
    )


def _line(table: Table, column: Column) -> str:
    scope = {"context": "run", "record": "run" if table.key == "runs" else "attempt"}.get(column.scope, column.scope)
    attribute = f"`{column.attribute}`" if column.attribute else ""
    meaning = MEANINGS[table.key][column.name]
    return f"| `{column.name}` | `{column.type}` | {scope} | {meaning} | {attribute} |"


if __name__ == "__main__":
    sys.stdout.write(document())
