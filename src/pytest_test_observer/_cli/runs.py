"""``pytest-observer runs``: the runs, the latest first."""

from __future__ import annotations

from typing import Any

import click

from pytest_test_observer._cli.reading import EXIT_CODES, filters_from, opened_reader, reading_options, say, say_json

_EXAMPLES = f"""
\b
Examples:
  pytest-observer runs --ch-url=chdb:///path/to/observer.db
  pytest-observer runs --branch=main --since=7d --limit=50
  pytest-observer runs --json | jq '.[] | select(.failed > 0) | .ci_url'
{EXIT_CODES}"""
_NONE = "No runs there since then: pytest records them with --ch-url. A longer --since or fewer filters show more."


@click.command(epilog=_EXAMPLES)
@reading_options(since="30d", limit=20)
def runs(*, as_json: bool, **given: Any) -> None:  # noqa: ANN401 (filters and settings)
    """List runs, the latest first.

    Counts are of tests, by their last attempt. A run is partial when part of the suite was selected (-k, -m, node
    ids, --lf) or when it stopped early. Times are UTC.
    """
    from pytest_test_observer._reading.runs import list_runs  # noqa: PLC0415 - not for --help

    filters = filters_from(given)
    with opened_reader(given) as reader:
        found = list_runs(reader, filters)
    if as_json:
        say_json(found)
    elif found:
        _show(found)
    else:
        say(_NONE)


def _show(found: list[dict[str, Any]]) -> None:
    from pytest_test_observer._cli.show import Column, moment, seconds, table  # noqa: PLC0415 - loads rich

    columns = (
        Column("started (UTC)"),
        Column("run", shrinks=True),
        Column("service", wide=True),
        Column("branch", shrinks=True),
        Column("variant", wide=True),
        Column("status"),
        Column("tests", right=True),
        Column("bad", right=True),
        Column("flaky", right=True),
        Column("skipped", right=True, wide=True),
        Column("time", right=True),
    )
    rows = [
        (
            moment(run["started_at"]),
            run["run_id"],
            run["service"],
            run["git_branch"],
            run["variant"],
            run["status"] + (" (partial)" if run["partial"] else ""),
            run["collected"],
            run["failed"] + run["broken"],
            run["flaky"],
            run["skipped"],
            seconds(run["duration"]),
        )
        for run in found
    ]
    table(columns, rows)
