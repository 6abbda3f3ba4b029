"""Subtests: pytest's own and unittest's, alone, repeated and under xdist."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING

import pytest

from tests.kit import TESTED_PYTEST, TESTED_VARIABLE
from tests.verdict_kit import FAILED, PASSED, Finished, finished, observed_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.client import ClickHouse

SUITE = """
    import unittest, pytest

    TIMES = []

    @pytest.fixture
    def bad_teardown():
        yield
        raise OSError("teardown went wrong")

    def test_good(subtests):
        for n in range(3):
            with subtests.test("fine", n=n): pass

    def test_bad(subtests):
        with subtests.test("fine"): pass
        with subtests.test("bad", n=3): assert 3 == 4
        with subtests.test("worse"): raise ValueError("much worse")

    def test_bad_and_call(subtests):
        with subtests.test("bad"): assert 3 == 4
        raise KeyError("at the end")

    def test_bad_and_teardown(subtests, bad_teardown):
        with subtests.test("bad"): assert 3 == 4

    def test_skipping(subtests):
        with subtests.test("skipped"): pytest.skip("this one")
        with subtests.test("expected"): pytest.xfail("that one")

    class TestUnit(unittest.TestCase):
        def test_unit(self):
            for n in range(3):
                with self.subTest(n=n):
                    self.assertNotEqual(n, 1)
"""

REPEATED = """
    import pytest

    TIMES = []

    @pytest.mark.flaky(reruns=1)
    def test_flaky(subtests):
        TIMES.append(1)
        with subtests.test("bad the first time"): assert len(TIMES) == 2

    @pytest.mark.flaky(reruns=1)
    def test_in_vain(subtests):
        with subtests.test("always bad"): assert 3 == 4
"""


@pytest.fixture(scope="module", params=[(), ("-n2",)], ids=["serial", "xdist"])
def subtests_run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, clickhouse_server: ClickHouse
) -> Iterator[Finished]:
    """The suite, run once each way."""
    if not _has_subtests():
        pytest.skip("neither pytest 9 nor pytest-subtests gives the fixture subtests here")
    with observed_in(tmp_path_factory.mktemp("subtests"), clickhouse_server) as observed:
        observed.bench.write(test_subtests=SUITE, test_repeated=REPEATED)
        yield finished(observed, observed.run(*request.param))


def _has_subtests() -> bool:
    if TESTED_VARIABLE in os.environ:
        return True
    return TESTED_PYTEST >= (9,) or importlib.util.find_spec("pytest_subtests") is not None


@pytest.mark.parametrize("name", ["test_bad", "test_bad_and_call", "test_bad_and_teardown", "test_unit"])
def test_a_failing_subtest_fails_its_test(subtests_run: Finished, name: str) -> None:
    assert subtests_run.verdicts[name] == [FAILED]


@pytest.mark.parametrize("name", ["test_good", "test_skipping"])
def test_subtests_that_do_not_fail_leave_the_verdict_alone(subtests_run: Finished, name: str) -> None:
    assert subtests_run.verdicts[name] == [PASSED]


def test_the_error_is_the_first_failing_subtests(subtests_run: Finished) -> None:
    row = subtests_run.one("test_bad")
    assert (row["error_type"], row["error_message"]) == ("AssertionError", "assert 3 == 4")
    assert subtests_run.one("test_unit")["error_message"] == "1 == 1"


def test_the_stack_traces_of_all_failing_subtests_are_kept(subtests_run: Finished) -> None:
    stacktrace = subtests_run.one("test_bad")["error_stacktrace"]
    assert stacktrace.index("assert 3 == 4") < stacktrace.index("ValueError: much worse")
    both = subtests_run.one("test_bad_and_teardown")["error_stacktrace"]
    assert both.index("assert 3 == 4") < both.index("OSError: teardown went wrong")


@pytest.mark.skipif(TESTED_PYTEST < (9,), reason="subtests are repeated with pytest 9 only")
def test_a_failing_subtest_can_be_repeated(subtests_run: Finished) -> None:
    rerun = ("failed", "rerun", "call", 1, False)
    assert subtests_run.verdicts["test_flaky"] == [rerun, ("passed", "passed", "call", 2, True)]
    assert subtests_run.verdicts["test_in_vain"] == [rerun, ("failed", "failed", "call", 2, False)]


def test_the_time_of_subtests_is_the_tests(subtests_run: Finished) -> None:
    row = subtests_run.one("test_bad")
    assert row["setup_duration"] + row["call_duration"] + row["teardown_duration"] > 0
    assert row["call_duration"] == row["duration"] <= (row["finished_at"] - row["started_at"] + 1) / 1000
