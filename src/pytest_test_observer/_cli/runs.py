"""``pytest-observer runs``: the runs, the latest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_test_observer._cli.column import Column
from pytest_test_observer._cli.listing import listing
from pytest_test_observer._cli.words import moment, seconds, together

if TYPE_CHECKING:
    from pytest_test_observer._reading import Reader
    from pytest_test_observer._reading.filters import Filters


def _status(run: dict[str, Any]) -> str:
    notes = [*(["partial"] if run["partial"] else []), *together(run)]
    return f"{run['status']} ({', '.join(notes)})" if notes else str(run["status"])


@listing(
    examples=(
        "pytest-observer runs --ch-url=chdb:///path/to/observer.db",
        "pytest-observer runs --branch=main --since=7d --limit=50",
        "pytest-observer runs --json | jq '.[] | select(.failed > 0) | .ci_url'",
    ),
    columns=(
        (Column("started (UTC)"), lambda run: moment(run["started_at"])),
        (Column("run", long=True), lambda run: run["run_id"]),
        (Column("service", long=True, tells=True), lambda run: run["service"]),
        (Column("repository", long=True, tells=True), lambda run: run["repository"]),
        (Column("branch", long=True), lambda run: run["git_branch"]),
        (Column("variant", long=True, tells=True), lambda run: run["variant"]),
        (Column("status"), _status),
        (Column("tests", right=True), lambda run: run["collected"]),
        (Column("bad", right=True), lambda run: run["failed"] + run["broken"]),
        (Column("flaky", right=True), lambda run: run["flaky"]),
        (Column("skipped", right=True, spare=True), lambda run: run["skipped"]),
        (Column("time", right=True), lambda run: seconds(run["duration"])),
    ),
    none="No runs there in the time looked at: pytest records them with --ch-url. A longer --since or fewer filters "
    "show more.",
)
def runs(reader: Reader, filters: Filters) -> list[dict[str, Any]]:
    """List runs, the latest first.

    Counts are of tests, by their last attempt. Shards that share a run id are one run, with the counts of all. A run
    is partial when part of the suite was selected (-k, -m, node ids, --lf) or when it stopped early. Times are UTC.
    """
    from pytest_test_observer._reading.runs import list_runs  # noqa: PLC0415 - not for --help

    return list_runs(reader, filters)
