"""``pytest-observer slow``: the tests that cost most time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_test_observer._cli.column import Column
from pytest_test_observer._cli.listing import TEST, listing
from pytest_test_observer._cli.reading import now_ms
from pytest_test_observer._cli.words import percent, seconds, sparkline

if TYPE_CHECKING:
    from pytest_test_observer._reading import Reader
    from pytest_test_observer._reading.filters import Filters


@listing(
    examples=(
        "pytest-observer slow --ch-url=localhost:8123",
        "pytest-observer slow --variant=linux-x86_64-py3.14 --since=7d --limit=10",
        "pytest-observer slow --json | jq -r '.[] | select(.trend > 1.5) | .nodeid'",
    ),
    columns=(
        *TEST,
        (Column("p50", right=True), lambda test: seconds(test["p50"])),
        (Column("p95", right=True), lambda test: seconds(test["p95"])),
        (Column("of all", right=True), lambda test: percent(test["share"])),
        (Column("total", right=True, spare=True), lambda test: seconds(test["total"])),
        (Column("attempts", right=True, spare=True), lambda test: test["attempts"]),
        (Column("trend", right=True), lambda test: "" if test["trend"] is None else f"x{test['trend']:.1f}"),
        (Column("course"), lambda test: sparkline(test["points"]).strip()),
    ),
    none="No finished tests in the time looked at. A longer --since or fewer filters show more.",
)
def slow(reader: Reader, filters: Filters) -> list[dict[str, Any]]:
    """List the tests that cost most time.

    In all, by the median and by the 95th percentile. Times are those of setup, call and teardown together, of every
    attempt that was neither skipped nor ended by a crash. The trend compares the last third of the time with what was
    before: x2.0 is twice as slow.
    """
    from pytest_test_observer._reading.tests import slow_tests  # noqa: PLC0415 - not for --help

    return slow_tests(reader, filters, now_ms())
