"""How long the phases of a test took, where a suite stops the clock or has subtests in odd places."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.verdict_kit import finished

if TYPE_CHECKING:
    from tests.kit import Observed

SUITE = """
    import pytest, time
    from freezegun import freeze_time

    @pytest.fixture
    def in_the_future():
        with freeze_time("2060-01-01"): yield

    @pytest.fixture
    def at_this_moment():
        with freeze_time(): yield

    @pytest.fixture
    def subtest_in_teardown(subtests):
        yield
        with subtests.test("teardown"): pass

    def test_future(in_the_future): time.sleep(0.2)
    def test_now(at_this_moment): time.sleep(0.2)
    def test_subtests(in_the_future, subtests):
        time.sleep(0.15)
        with subtests.test("one"): pass
        time.sleep(0.05)
    def test_teardown(subtest_in_teardown): time.sleep(0.2)
"""


@pytest.mark.parametrize("flags", [(), ("-n2",)], ids=["serial", "xdist"])
def test_durations_are_real_where_a_test_freezes_time_or_its_teardown_has_subtests(
    observed: Observed, flags: tuple[str, ...]
) -> None:
    observed.bench.write(test_a=SUITE)
    begin = time.time() * 1000
    done = finished(observed, observed.run(*flags))
    assert done.run.returncode == 0, done.run.stdout
    assert len(done.rows) == 4
    for row in done.rows:
        assert 0.2 <= row["call_duration"] == row["duration"] < 30, str(row)
        assert 0 <= row["setup_duration"] < 30, str(row)
        assert 0 <= row["teardown_duration"] < 30, str(row)
        assert begin - 1 <= row["started_at"] <= row["finished_at"] - 200, str(row)
        assert row["finished_at"] <= time.time() * 1000, str(row)


TWICE = """
    import pytest
    from _pytest.runner import runtestprotocol

    def pytest_runtest_protocol(item):
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for _ in range(2):
            runtestprotocol(item, nextitem=None)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True
"""


def test_a_test_that_is_run_twice_is_counted_once(observed: Observed) -> None:
    observed.bench.write(
        conftest=TWICE,
        test_a="""
            import pytest
            ran = []
            def test_good(): pass
            def test_bad(): assert 0
            def test_skip(): pytest.skip("never")
            def test_worse():
                ran.append(1)
                assert len(ran) == 1
        """,
    )
    done = finished(observed, observed.run("-p", "no:rerunfailures"))
    assert len(done.rows) == 8
    [run] = observed.rows("collected, not_run, passed, failed, skipped", "pytest_results_runs", "run_id")
    assert run == {"collected": 4, "not_run": 0, "passed": 1, "failed": 2, "skipped": 1}
