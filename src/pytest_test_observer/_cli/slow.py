"""``pytest-observer slow``: the tests that cost most time."""

from __future__ import annotations

from typing import Any

import click

from pytest_test_observer._cli.reading import (
    EXIT_CODES,
    filters_from,
    now_ms,
    opened_reader,
    reading_options,
    say,
    say_json,
)

_EXAMPLES = f"""
\b
Examples:
  pytest-observer slow --ch-url=localhost:8123
  pytest-observer slow --variant=linux-x86_64-py3.14 --since=7d --limit=10
  pytest-observer slow --json | jq -r '.[] | select(.trend > 1.5) | .nodeid'
{EXIT_CODES}"""
_NONE = "No finished tests since then. A longer --since or fewer filters show more."


@click.command(epilog=_EXAMPLES)
@reading_options(since="30d", limit=20)
def slow(*, as_json: bool, **given: Any) -> None:  # noqa: ANN401 (filters and settings)
    """List the tests that cost most time: in all, by the median and by the 95th percentile.

    Times are those of setup, call and teardown together, of every attempt that was neither skipped nor ended by a
    crash. The trend compares the last third of the time with what was before: x2.0 is twice as slow.
    """
    from pytest_test_observer._reading.tests import slow_tests  # noqa: PLC0415 - not for --help

    filters = filters_from(given)
    with opened_reader(given) as reader:
        found = slow_tests(reader, filters, now_ms())
    if as_json:
        say_json(found)
    elif found:
        _show(found)
    else:
        say(_NONE)


def _show(found: list[dict[str, Any]]) -> None:
    from pytest_test_observer._cli.show import Column, percent, seconds, sparkline, table  # noqa: PLC0415 - loads rich

    columns = (
        Column("test", shrinks=True),
        Column("service", wide=True),
        Column("p50", right=True),
        Column("p95", right=True),
        Column("of all", right=True),
        Column("total", right=True, wide=True),
        Column("attempts", right=True, wide=True),
        Column("trend", right=True),
        Column("", wide=True),
    )
    rows = [
        (
            test["nodeid"],
            test["service"],
            seconds(test["p50"]),
            seconds(test["p95"]),
            percent(test["share"]),
            seconds(test["total"]),
            test["attempts"],
            "" if test["trend"] is None else f"x{test['trend']:.1f}",
            sparkline(test["points"]).strip(),
        )
        for test in found
    ]
    table(columns, rows)
