"""``pytest-observer flaky``: tests whose result changes although nothing else does."""

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
  pytest-observer flaky --ch-url=localhost:8123
  pytest-observer flaky --branch=main --since=8w
  pytest-observer flaky --json | jq -r '.[0].nodeid'
{EXIT_CODES}"""
_NONE = (
    "No flaky tests since then. A test is flaky when it passes after a failed attempt (pytest-rerunfailures repeats "
    "them), or passes and fails under one commit and variant."
)


@click.command(epilog=_EXAMPLES)
@reading_options(since="30d", limit=20)
def flaky(*, as_json: bool, **given: Any) -> None:  # noqa: ANN401 (filters and settings)
    """List flaky tests, those that flake most often first.

    A test is flaky when it passes after a failed attempt, or when it has both results under one commit and one
    variant. The rate is the share of its runs in which that showed.
    """
    from pytest_test_observer._reading.tests import flaky_tests  # noqa: PLC0415 - not for --help

    filters = filters_from(given)
    with opened_reader(given) as reader:
        found = flaky_tests(reader, filters)
    if as_json:
        say_json(found)
    elif found:
        _show(found)
    else:
        say(_NONE)


def _show(found: list[dict[str, Any]]) -> None:
    from pytest_test_observer._cli.show import Column, ago, first_line, percent, table  # noqa: PLC0415 - loads rich

    columns = (
        Column("test", shrinks=True),
        Column("service", wide=True),
        Column("rate", right=True),
        Column("flaky", right=True),
        Column("runs", right=True),
        Column("last seen", right=True),
        Column("since", right=True),
        Column("how", wide=True),
        Column("what it said", wide=True, shrinks=True),
    )
    now = now_ms()
    rows = [
        (
            test["nodeid"],
            test["service"],
            percent(test["rate"]),
            test["flaky_runs"],
            test["runs"],
            ago(test["last_seen"], now),
            ago(test["since"], now),
            " ".join(
                word for word, there in (("retry", "passed_on_retry"), ("commit", "mixed_commits")) if test[there]
            ),
            first_line(test["error_message"], 40),
        )
        for test in found
    ]
    table(columns, rows)
