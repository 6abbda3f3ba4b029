"""pytest-rerunfailures: each attempt is a row of its own, complete."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from tests.verdict_kit import Finished, finished, observed_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit import Observed
    from tests.servers.client import ClickHouse

SUITE = """
    import pytest, time

    TIMES = {}

    def time_of(name):
        TIMES[name] = TIMES.get(name, 0) + 1
        return TIMES[name]

    @pytest.fixture
    def timed(record_event):
        record_event("setup", {})
        time.sleep(0.01)
        yield
        time.sleep(0.03)
        record_event("teardown", {})

    @pytest.fixture
    def bad_teardown():
        yield
        if time_of("both down") == 1: raise OSError("teardown went wrong")

    @pytest.mark.slow
    def test_timed(timed, request, record_property):
        request.applymarker("dynamic")
        time.sleep(0.02)
        record_property("time", time_of("timed"))
        assert TIMES["timed"] == 3, "not yet"

    def test_call_and_teardown(bad_teardown):
        assert time_of("both call") == 2

    def test_in_vain(): assert 1 == 2
    def test_good(): pass
"""


@pytest.fixture(scope="module", params=[(), ("-n2",)], ids=["serial", "xdist"])
def repeated(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, clickhouse_server: ClickHouse
) -> Iterator[Finished]:
    """A suite whose failures are repeated twice."""
    with observed_in(tmp_path_factory.mktemp("reruns"), clickhouse_server) as observed:
        ini = observed.bench.suite / "pytest.ini"
        ini.write_text(ini.read_text() + "markers =\n    slow: takes long\n    dynamic: set while it runs\n")
        observed.bench.write(test_reruns=SUITE)
        yield finished(observed, observed.run("--reruns=2", "--custom-events=true", *request.param))


def test_only_the_last_attempt_is_flaky(repeated: Finished) -> None:
    assert repeated.verdicts["test_timed"] == [
        ("failed", "rerun", "call", 1, False),
        ("failed", "rerun", "call", 2, False),
        ("passed", "passed", "call", 3, True),
    ]


def test_a_test_that_never_passes_is_not_flaky(repeated: Finished) -> None:
    attempts = [(row["outcome"], row["attempt"]) for row in repeated.of("test_in_vain")]
    assert attempts == [("rerun", 1), ("rerun", 2), ("failed", 3)]
    assert not any(row["flaky"] for row in repeated.of("test_in_vain"))


def test_a_repeated_attempt_has_all_its_phases(repeated: Finished) -> None:
    for row in repeated.of("test_timed"):
        assert row["setup_duration"] >= 0.01
        assert row["duration"] == row["call_duration"] >= 0.02
        assert row["teardown_duration"] >= 0.03
        assert row["finished_at"] - row["started_at"] >= 60


def test_attempts_follow_each_other(repeated: Finished) -> None:
    rows = repeated.of("test_timed")
    for earlier, later in itertools.pairwise(rows):
        assert earlier["finished_at"] <= later["started_at"]
    assert len({row["span_id"] for row in rows}) == 3


def test_a_repeated_attempt_has_its_markers_properties_and_error(repeated: Finished) -> None:
    for row in repeated.of("test_timed"):
        assert row["markers"] == ["dynamic", "slow"]
        assert row["attributes"] == {"time": str(row["attempt"])}
    first, second, last = repeated.of("test_timed")
    assert first["error_type"] == second["error_type"] == "AssertionError"
    assert first["error_message"].startswith("not yet")
    assert (last["error_type"], last["error_message"], last["error_stacktrace"]) == ("", "", "")


def test_a_repeated_attempt_has_its_events(repeated: Finished) -> None:
    events = repeated.observed.rows(table="pytest_results_events", order="attempt, seq")
    assert [(event["attempt"], event["seq"], event["event_name"]) for event in events] == [
        (attempt, seq, name) for attempt in (1, 2, 3) for seq, name in enumerate(["setup", "teardown"])
    ]


def test_failures_of_call_and_teardown_are_one_attempt(repeated: Finished) -> None:
    assert repeated.verdicts["test_call_and_teardown"] == [
        ("failed", "rerun", "call", 1, False),
        ("passed", "passed", "call", 2, True),
    ]


def test_the_run_counts_tests_once(repeated: Finished) -> None:
    names = ("collected", "passed", "failed", "broken", "flaky", "reruns", "not_run")
    counts = {name: repeated.session[name] for name in names}
    assert counts == dict(zip(names, (4, 3, 1, 0, 2, 5, 0), strict=True))


# What pytest-retry does within the call of a test that fails: it reports "retried", once, and makes further attempts
# of which it reports the last one's call only. (The package itself gets along with no other that repeats tests.)
RETRYING = """
    import pytest
    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(item, call):
        report = yield
        if call.when != "call" or not report.failed:
            return report
        for attempt in (2, 3):
            item.ihook.pytest_runtest_teardown(item=item, nextitem=pytest.Class.from_parent(item.session, name="none"))
            if attempt == 2:
                report.outcome = "retried"
                item.ihook.pytest_runtest_logreport(report=report)
            item._initrequest()
            item.ihook.pytest_runtest_setup(item=item)
            call = pytest.CallInfo.from_call(lambda: item.ihook.pytest_runtest_call(item=item), when="call")
        again = pytest.TestReport.from_item_and_call(item, call)
        report.outcome, report.longrepr = again.outcome, again.longrepr
        return report
"""


@pytest.mark.parametrize("workers", [(), ("-n1",)], ids=["serial", "xdist"])
def test_what_pytest_retry_repeats_has_a_row_for_each_attempt_it_reports(
    observed: Observed, workers: tuple[str, ...]
) -> None:
    flaky = "attempts = []\ndef test_flaky(): attempts.append(1); assert len(attempts) > 2\n"
    observed.bench.write(conftest=RETRYING, test_r=f"{flaky}def test_in_vain(): assert 0\n")
    done = finished(observed, observed.run("-p", "no:rerunfailures", *workers))
    assert done.verdicts == {
        "test_flaky": [("failed", "rerun", "call", 1, False), ("passed", "passed", "call", 3, True)],
        "test_in_vain": [("failed", "rerun", "call", 1, False), ("failed", "failed", "call", 3, False)],
    }
    assert "not run" not in done.run.summary
    assert done.session["flaky"] == 1
