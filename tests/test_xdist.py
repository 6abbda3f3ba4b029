"""pytest-xdist: every way to distribute tests, workers that die, and runs that stop early."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kit import HEARD_OF_REPETITIONS
from tests.verdict_kit import FAILED, PASSED, Finished, Verdict, finished, observed_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kit import Observed
    from tests.servers.client import ClickHouse

MODES = ["load", "loadscope", "loadfile", "loadgroup", "worksteal"]

TWO_FILES = {
    "test_a": """
        import pytest

        @pytest.mark.xdist_group("one")
        def test_good(): pass
        @pytest.mark.xdist_group("one")
        def test_bad(): assert 1 == 2
        def test_other(): pass
    """,
    "test_b": """
        import pytest

        @pytest.mark.parametrize("n", range(5))
        def test_number(n): pass
        @pytest.mark.skip
        def test_skipped(): pass
    """,
}

KILLERS = """
    import os, pathlib, pytest

    HERE = pathlib.Path(__file__).parent

    def time_of(name):
        path = HERE / name
        path.write_text((path.read_text() if path.exists() else "") + "x")
        return len(path.read_text())

    @pytest.fixture
    def dying():
        if time_of("setup") == 1: os._exit(1)

    @pytest.fixture
    def dying_late():
        yield
        if time_of("teardown") == 1: os._exit(1)

    def test_setup(dying): pass
    def test_call():
        if time_of("call") == 1: os._exit(1)
    def test_teardown(dying_late): pass
    def test_fails_then_dies():
        time = time_of("both")
        assert time > 1
        if time == 2: os._exit(1)
    def test_innocent(): pass
"""

# A worker that stalls before a test that fails leaves all others to its neighbour, until none is left to stop for: so
# those after the failures wait until the controller has seen these.
STOPPING = {
    "conftest": """
        import pathlib

        SEEN = pathlib.Path(__file__).parent / "seen"
        FAILED = []

        def pytest_configure(config):
            if not hasattr(config, "workerinput"): config.pluginmanager.register(Controller(config.option.maxfail))

        class Controller:
            def __init__(self, failures): self.failures = failures
            def pytest_runtest_logreport(self, report):
                if report.failed: FAILED.append(report.nodeid)
                if len(FAILED) == self.failures: SEEN.touch()
    """,
    "test_a": """
        import pytest, time
        from conftest import SEEN

        @pytest.mark.parametrize("n", range(12))
        def test_number(n):
            while n > 5 and not SEEN.exists(): time.sleep(0.01)
            assert n % 4 != 1
    """,
}


@pytest.fixture(scope="module")
def each(tmp_path_factory: pytest.TempPathFactory, clickhouse_server: ClickHouse) -> Iterator[Finished]:
    """A suite that every worker ran as a whole."""
    with observed_in(tmp_path_factory.mktemp("each"), clickhouse_server) as observed:
        observed.bench.write(**TWO_FILES)
        yield finished(observed, observed.run("-n2", "--dist=each"))


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_gives_one_row_a_test(mode: str, tmp_path: Path, clickhouse_server: ClickHouse) -> None:
    with observed_in(tmp_path, clickhouse_server) as observed:
        observed.bench.write(**TWO_FILES)
        done = finished(observed, observed.run("-n2", f"--dist={mode}"))
        session = done.session
    expected = {name: [PASSED] for name in ("test_good", "test_other", *(f"test_number[{n}]" for n in range(5)))}
    assert done.verdicts == {  # loadgroup adds the group to node ids: pytest finds no test by that name
        **expected,
        "test_bad": [FAILED],
        "test_skipped": [("skipped", "skipped", "setup", 1, False)],
    }
    assert len({row["span_id"] for row in done.rows}) == len(done.rows)
    assert {row["worker_id"] for row in done.rows} <= {"gw0", "gw1"}
    assert (session["collected"], session["not_run"], session["workers"]) == (9, 0, 2)


def test_a_grouped_test_that_kills_its_worker_goes_by_its_own_name(observed: Observed) -> None:
    observed.bench.write(
        test_a="""
            import os, pathlib, pytest, time
            NAMED = pathlib.Path(__file__).parent / "named"
            @pytest.mark.xdist_group("a@b")
            def test_killer():
                while not NAMED.exists(): time.sleep(0.01)
                os._exit(1)
            @pytest.mark.parametrize("name", ["a@b"])
            def test_named(name): NAMED.touch()
        """
    )
    done = finished(observed, observed.run("-n2", "--dist=loadgroup", "--max-worker-restart=0"))
    assert done.verdicts == {
        "test_killer": [("broken", "crashed", "call", 1, False)],
        "test_named[a@b]": [PASSED],
    }


def test_under_each_every_worker_counts_for_itself(each: Finished) -> None:
    places = sorted((row["nodeid"], row["worker_id"], row["attempt"]) for row in each.rows)
    assert len(places) == len(set(places)) == 18
    assert {(worker, attempt) for _, worker, attempt in places} == {("gw0", 1), ("gw1", 1)}
    assert len({row["span_id"] for row in each.rows}) == 18


def test_under_each_the_run_counts_what_all_workers_ran(each: Finished) -> None:
    session = each.session
    assert (session["collected"], session["not_run"], session["passed"], session["failed"]) == (18, 0, 14, 2)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, clickhouse_server: ClickHouse) -> Iterator[Finished]:
    """Tests that kill their worker once and are repeated; with --reruns reports are logged late."""
    with observed_in(tmp_path_factory.mktemp("killed"), clickhouse_server) as observed:
        observed.bench.write(test_killers=KILLERS, conftest=HEARD_OF_REPETITIONS)
        yield finished(observed, observed.run("-n2", "--reruns=2", "--max-worker-restart=10"))


@pytest.mark.parametrize("phase", ["setup", "call", "teardown"])
def test_a_test_that_kills_its_worker_and_then_passes_is_flaky(killed: Finished, phase: str) -> None:
    crashed: Verdict = ("broken", "crashed", phase, 1, False)
    assert killed.verdicts[f"test_{phase}"] == [crashed, ("passed", "passed", "call", 2, True)]


def test_attempts_go_on_counting_on_another_worker(killed: Finished) -> None:
    assert killed.verdicts["test_fails_then_dies"] == [
        ("failed", "rerun", "call", 1, False),
        ("broken", "crashed", "call", 2, False),
        ("passed", "passed", "call", 3, True),
    ]
    rows = killed.of("test_fails_then_dies")
    assert rows[0]["worker_id"] == rows[1]["worker_id"] != rows[2]["worker_id"]
    assert len({row["span_id"] for row in rows}) == 3


def test_a_crashed_test_starts_when_it_started_and_ends_when_its_death_was_noticed(killed: Finished) -> None:
    session = killed.session
    for row in killed.rows:
        assert session["started_at"] <= row["started_at"] <= row["finished_at"] <= session["finished_at"]


def test_a_run_counts_its_tests_by_their_last_attempt(killed: Finished) -> None:
    session = killed.session
    counted = {name: session[name] for name in ("collected", "passed", "broken", "flaky", "reruns", "not_run")}
    assert counted == {"collected": 5, "passed": 5, "broken": 0, "flaky": 4, "reruns": 5, "not_run": 0}


def test_a_worker_that_dies_after_a_test_has_ended_makes_a_further_attempt_of_it(observed: Observed) -> None:
    observed.bench.write(
        conftest="""
            import os, pytest
            HERE = os.environ.get("PYTEST_XDIST_WORKER")
            @pytest.hookimpl(trylast=True)  # after xdist has sent it
            def pytest_runtest_logreport(report):
                if HERE == "gw0" and report.outcome == "rerun": os._exit(1)
            def pytest_runtest_logfinish(nodeid):
                if HERE == "gw1" and nodeid.endswith("test_over"): os._exit(1)
        """,
        test_a="""
            import os, pytest
            @pytest.mark.flaky(reruns=3)
            def test_repeated(): assert os.environ["PYTEST_XDIST_WORKER"] != "gw0"
            def test_over(): pass
            def test_good(): pass
        """,
    )
    done = finished(observed, observed.run("-n1", "-rA"))
    assert done.verdicts == {
        "test_repeated": [
            ("failed", "rerun", "call", 1, False),
            ("broken", "crashed", "teardown", 2, False),
            ("passed", "passed", "call", 3, True),
        ],
        "test_over": [PASSED, ("broken", "crashed", "teardown", 2, False)],
        "test_good": [PASSED],
    }
    assert len({row["span_id"] for row in done.rows}) == len(done.rows)
    counted = {name: done.session[name] for name in ("collected", "passed", "broken", "reruns", "not_run")}
    assert counted == {"collected": 3, "passed": 2, "broken": 1, "reruns": 3, "not_run": 0}


def test_a_killer_is_repeated_until_workers_run_out_and_the_rest_is_not_run(
    observed: Observed,
) -> None:
    observed.bench.write(
        test_a="""
            import os
            def test_good(): pass
            def test_killer(): os._exit(1)
            def test_never(): pass
            def test_either(): pass
        """
    )
    done = finished(observed, observed.run("-n1", "--dist=loadscope", "--max-worker-restart=2"))
    assert done.verdicts == {
        "test_good": [PASSED],
        "test_killer": [("broken", "crashed", "call", attempt, False) for attempt in (1, 2, 3)],
    }
    assert "2 collected tests not run" in done.run.summary
    assert (done.session["not_run"], done.session["partial"], done.session["broken"]) == (2, True, 1)


@pytest.mark.parametrize("flags", [("-x",), ("--maxfail=2",), ("-x", "-n2"), ("--maxfail=2", "-n2")], ids=" ".join)
def test_what_an_early_stop_leaves_out_is_counted(observed: Observed, flags: tuple[str, ...]) -> None:
    observed.bench.write(**STOPPING)
    done = finished(observed, observed.run(*flags))
    missing = 12 - len(done.rows)
    assert missing > 0
    assert done.session["not_run"] == missing
    assert done.session["partial"]
    assert f"{missing} collected tests not run" in done.run.summary


@pytest.mark.parametrize("flags", [(), ("-n2",)], ids=["serial", "xdist"])
def test_duplicates_are_told_apart_and_count_from_one(observed: Observed, flags: tuple[str, ...]) -> None:
    observed.bench.write(test_a="def test_one(): pass\ndef test_two(): assert 0\n")
    done = finished(observed, observed.run("--keep-duplicates", "-p", "no:asyncio", "test_a.py", "test_a.py", *flags))
    assert done.verdicts == {"test_one": [PASSED] * 2, "test_two": [FAILED] * 2}
    assert len({row["span_id"] for row in done.rows}) == 4
    assert (done.session["collected"], done.session["not_run"]) == (4, 0)
