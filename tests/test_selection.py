"""How much of a suite ran, and how a run ended: the facts in the row of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_test_observer._selection import run_status
from tests.verdict_kit import finished

if TYPE_CHECKING:
    from tests.kit import Observed

SUITE = """
    import pytest

    @pytest.mark.parametrize("n", range(4))
    def test_number(n): pass
    def test_other(): pass
"""

DROPPING = """
    def pytest_collection_modifyitems(items):
        del items[2:]  # as sharding plugins do, some without a word
"""


@pytest.mark.parametrize(
    ("exit_status", "not_run", "status"),
    [
        (0, 0, "success"),
        (0, 1, "aborted"),
        (1, 0, "failure"),
        (1, 1, "failure"),
        (2, 0, "aborted"),
        (3, 0, "aborted"),
        (4, 0, "aborted"),
        (5, 0, "skipped"),
        (7, 0, "failure"),
        (7, 1, "aborted"),
    ],
)
def test_the_status_of_a_run_follows_from_its_exit_and_what_it_left_out(
    exit_status: int, not_run: int, status: str
) -> None:
    assert run_status(exit_status, not_run) == status


@pytest.mark.parametrize(
    ("flags", "collected", "deselected", "partial"),
    [
        ((), 5, 0, False),
        (("-k", "number"), 4, 1, True),
        (("-k", "number", "-n2"), 4, 1, True),
        (("test_a.py::test_other",), 1, 0, True),
        (("test_a.py",), 5, 0, True),
        (("--deselect", "test_a.py::test_other", "."), 4, 1, True),
        (("-n2",), 5, 0, False),
    ],
    ids=lambda flags: " ".join(flags) if isinstance(flags, tuple) else None,
)
def test_a_part_of_a_suite_is_told_from_the_whole(
    observed: Observed, flags: tuple[str, ...], collected: int, deselected: int, partial: bool
) -> None:
    observed.bench.write(test_a=SUITE)
    session = finished(observed, observed.run(*flags)).session
    found = (session["collected"], session["deselected"], bool(session["partial"]))
    assert found == (collected, deselected, partial)
    assert (session["status"], session["not_run"], session["passed"]) == ("success", 0, collected)


@pytest.mark.parametrize("flags", [(), ("-n2",)], ids=["serial", "xdist"])
def test_a_plugin_that_drops_tests_without_a_word_makes_a_run_partial(
    observed: Observed, flags: tuple[str, ...]
) -> None:
    observed.bench.write(test_a=SUITE, conftest=DROPPING)
    session = finished(observed, observed.run(*flags)).session
    assert (session["collected"], session["partial"], session["not_run"]) == (2, True, 0)


def test_a_run_without_tests_is_skipped(observed: Observed) -> None:
    observed.bench.write(test_a="")
    done = finished(observed, observed.run())
    assert done.rows == []
    assert (done.session["status"], done.session["exit_status"]) == ("skipped", 5)


def test_a_run_that_stopped_at_its_first_error_of_collection_is_partial(observed: Observed) -> None:
    observed.bench.write(test_a="import nothing_like_that\n", test_b="def test_ok(): pass\n")
    observed.run("-x")
    assert [row["partial"] for row in observed.rows("partial", "pytest_results_runs", "run_id")] == [True]
