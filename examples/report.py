"""Prints what an observed database holds: the runs, and which tests fail, flake and take their time.

    python examples/report.py chdb://.demo/observer.db
    python examples/report.py http://localhost:8123

Every table is one query; take them as a start for your own. More are in docs/queries.md.
"""

from __future__ import annotations

import os
import sys
from contextlib import closing
from typing import NamedTuple

import clickhouse_connect
from rich import box
from rich.console import Console
from rich.table import Table


class Section(NamedTuple):
    """A table of the report: ``columns`` has a heading for each column of ``sql``, ``>`` for those on the right."""

    title: str
    columns: tuple[str, ...]
    sql: str


SECTIONS = (
    Section(
        "Runs, the latest first",
        (
            "started (UTC)",
            "service",
            "status",
            ">tests",
            ">passed",
            ">failed",
            ">broken",
            ">skipped",
            ">flaky",
            ">time",
        ),
        """
        SELECT formatDateTime(fromUnixTimestamp64Milli(started_at, 'UTC'), '%F %T'), service, status, collected,
               passed, failed, broken, skipped, flaky, concat(toDecimalString(duration, 1), ' s')
        FROM pytest_results_runs ORDER BY started_at DESC LIMIT 12
        """,
    ),
    Section(
        "Failing: the last attempt was not good",
        ("service", "test", "outcome", "phase", "error"),
        """
        SELECT service, nodeid, outcome, when_phase, left(splitByChar('\\n', error_message)[1], 34)
        FROM (SELECT * FROM pytest_results ORDER BY finished_at DESC, attempt DESC LIMIT 1 BY service, nodeid)
        WHERE status IN ('failed', 'broken') ORDER BY service, nodeid
        """,
    ),
    Section(
        "Flaky: passed after an attempt that did not",
        ("service", "test", ">times", ">runs", "what it said"),
        """
        SELECT service, nodeid, countIf(flaky), uniqExact(run_id),
               anyLastIf(splitByChar('\\n', error_message)[1], outcome = 'rerun')
        FROM pytest_results GROUP BY service, nodeid
        HAVING countIf(flaky) > 0 ORDER BY countIf(flaky) DESC, service, nodeid
        """,
    ),
    Section(
        "Slowest: setup, call and teardown, on average",
        ("service", "test", ">time", ">of all"),
        """
        WITH setup_duration + call_duration + teardown_duration AS seconds
        SELECT service, nodeid, concat(toDecimalString(avg(seconds), 2), ' s'),
               concat(toString(round(100 * sum(seconds) / sum(sum(seconds)) OVER ())), ' %')
        FROM pytest_results GROUP BY service, nodeid ORDER BY avg(seconds) DESC LIMIT 4
        """,
    ),
)


def connect(url: str) -> clickhouse_connect.driver.client.Client:
    """Open an embedded database (``chdb://path``) or a server (``http://host:port``)."""
    if url.startswith("chdb://"):
        return clickhouse_connect.get_client(interface="chdb", path=os.path.abspath(url.removeprefix("chdb://")))
    return clickhouse_connect.get_client(dsn=url)


def table(section: Section, rows: list[tuple[object, ...]]) -> Table:
    """Lay the rows of a section out."""
    result = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in section.columns:
        side = "right" if heading.startswith(">") else "left"
        result.add_column(heading.lstrip(">"), justify=side, no_wrap=True, overflow="ellipsis")
    for row in rows:
        result.add_row(*map(str, row))
    return result


def main(url: str) -> None:
    """Print the report of the database at ``url``."""
    # Without a terminal (in a CI log) rich would cut everything at 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 110, markup=False, highlight=False)
    with closing(connect(url)) as client:
        for section in SECTIONS:
            console.print(f"\n{section.title}", style="bold")
            console.print(table(section, client.query(section.sql).result_rows))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
