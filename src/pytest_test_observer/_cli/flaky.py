"""``pytest-observer flaky``: tests whose result changes although nothing else does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_test_observer._cli.column import Column
from pytest_test_observer._cli.listing import TEST, listing
from pytest_test_observer._cli.words import ago, first_line, percent

if TYPE_CHECKING:
    from pytest_test_observer._reading import Reader
    from pytest_test_observer._reading.filters import Filters

_WAYS = {"retry": "passed_on_retry", "commit": "mixed_commits"}


@listing(
    examples=(
        "pytest-observer flaky --ch-url=localhost:8123",
        "pytest-observer flaky --branch=main --since=8w",
        "pytest-observer flaky --json | jq -r '.[0].nodeid'",
    ),
    columns=(
        *TEST,
        (Column("rate", right=True), lambda test: percent(test["rate"])),
        (Column("flaky", right=True), lambda test: test["flaky_runs"]),
        (Column("runs", right=True), lambda test: test["runs"]),
        (Column("last seen", right=True), lambda test: ago(test["last_seen"])),
        (Column("since", right=True), lambda test: ago(test["since"])),
        (Column("how"), lambda test: " ".join(way for way, there in _WAYS.items() if test[there])),
        (Column("what it said", spare=True), lambda test: first_line(test["error_message"], 40)),
    ),
    none="No flaky tests in the time looked at (--since). A test is flaky when it passes after a failed attempt "
    "(pytest-rerunfailures repeats them), or passes and fails under one commit and variant.",
)
def flaky(reader: Reader, filters: Filters) -> list[dict[str, Any]]:
    """List flaky tests, those that flake most often first.

    A test is flaky when it passes after a failed attempt, or when it has both results under one commit and one
    variant. The rate is the share of its runs in which that showed.
    """
    from pytest_test_observer._reading.tests import flaky_tests  # noqa: PLC0415 - not for --help

    return flaky_tests(reader, filters)
