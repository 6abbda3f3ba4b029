"""The dashboards of a run and of flaky tests, and the report, on a history in which the answers were planted."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import clickhouse_connect
import pytest

from pytest_test_observer._destinations.schema import Place
from tests.grafana_data import EVERYTHING
from tests.grafana_kit import Span, expanded, queries
from tests.history import DAY_MS, SERVICE, WORKERS, History, PlannedRun, write
from tests.report_kit import Read
from tests.report_kit import write as write_report

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.client import ClickHouse

DATABASE = "test_dashboards_history"
QUERIES = {(query.board, query.title): query.sql for query in queries() if query.kind != "variable"}
BAD = ("failed", "broken")


@pytest.fixture(scope="module")
def history(clickhouse_server: ClickHouse) -> Iterator[History]:
    """Thirty days, forty runs of two hundred tests, in a database of their own."""
    found = History(int(time.time() * 1000), runs=40, tests=200, days=30)
    address = urlsplit(clickhouse_server.url)
    clickhouse_server.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
    clickhouse_server.execute(f"CREATE DATABASE {DATABASE}")
    client = clickhouse_connect.get_client(
        host=address.hostname,
        port=address.port or 8123,
        username=clickhouse_server.user,
        password=clickhouse_server.password,
    )
    write(found, client, Place(DATABASE, "pytest_results"))
    client.close()
    yield found
    clickhouse_server.execute(f"DROP DATABASE {DATABASE} SYNC")


@pytest.fixture
def ask(clickhouse_server: ClickHouse, history: History) -> Any:
    """Answer a query of a dashboard: ``ask("run", "Workers", run=run_id, variant=variant)``."""

    def answer(board: str, title: str, /, span: Span | None = None, **values: str) -> list[dict[str, Any]]:
        whole = Span(history.now_ms - 31 * DAY_MS, history.now_ms, DAY_MS)
        sql = expanded(QUERIES[board, title], {**EVERYTHING, **values}, span or whole)
        settings = {"output_format_json_quote_64bit_integers": "0"}
        found = clickhouse_server.execute(f"{sql}\nFORMAT JSONEachRow", b"", database=DATABASE, **settings)
        return [json.loads(line) for line in found.splitlines()]

    return answer


def of_latest(history: History, cell: int = 1) -> dict[str, str]:
    """Choose the last run of a variant."""
    return {**chosen(history.latest[cell]), "variant": history.latest[cell].variant}


def chosen(run: PlannedRun) -> dict[str, str]:
    """Choose a run."""
    return {"run": run.run_id, "attempt": str(run.ci_attempt)}


def flaked(history: History, begin: int = 0) -> set[str]:
    """Return tests that the plan makes flaky in runs that end after ``begin``."""
    both_ways = set(history.planted.flaky_commits)
    found = set()
    for run in history.runs:
        for test in history.members(run):
            attempts = history.attempts(run, test)
            repeated = len(attempts) > 1 and attempts[-1][0] == "passed"
            if run.started_at >= begin and (repeated or (test.nodeid in both_ways and attempts[-1][0] in BAD)):
                found.add(test.nodeid)
    return found


# --- the dashboard of a run


def test_a_run_is_compared_with_the_whole_run_before_it(ask: Any, history: History) -> None:
    before = history.previous(history.latest[1])
    assert before
    assert [row["run_id"] for row in ask("run", "Previous run", **of_latest(history))] == [before.run_id]
    changes: dict[str, set[str]] = {}
    for row in ask("run", "Changed since the previous run", **of_latest(history)):
        changes.setdefault(row["change"], set()).add(row["nodeid"])
    planted = history.planted
    assert changes == {
        "new failure": set(planted.newly_failing),
        "fixed": set(planted.fixed),
        "newly slow": set(planted.newly_slow),
        "new test": set(planted.new),
        "vanished": set(planted.vanished),
    }


def test_nothing_vanishes_in_a_partial_run(ask: Any, history: History) -> None:
    run = history.latest_partial
    rows = ask("run", "Changed since the previous run", variant=run.variant, **chosen(run))
    assert "vanished" not in {row["change"] for row in rows}


def test_outcomes_of_a_run_are_those_of_the_plan(ask: Any, history: History) -> None:
    counts = history.counts(history.latest[1])
    wanted = {name: counts[name] for name in ("passed", "failed", "broken", "skipped", "flaky")}
    assert ask("run", "Outcomes", **of_latest(history)) == [wanted]


def test_failures_of_a_run_are_grouped_by_error(ask: Any, history: History) -> None:
    run = history.latest[1]
    wanted: dict[tuple[str, str], int] = {}
    for test in history.members(run):
        for attempt in history.attempts(run, test):
            if attempt[0] in BAD:
                key = (attempt[3], attempt[4].partition("\n")[0])
                wanted[key] = wanted.get(key, 0) + 1
    rows = ask("run", "Failures by error", **of_latest(history))
    assert {(row["error_type"], row["error"]): row["attempts"] for row in rows} == wanted
    assert len(wanted) > 3


def test_workers_are_listed_with_their_longest_test_the_last_to_end_first(ask: Any, history: History) -> None:
    rows = ask("run", "Workers", **of_latest(history))
    assert [row["ended"] for row in rows] == sorted((row["ended"] for row in rows), reverse=True)
    assert len(rows) == WORKERS
    assert history.planted.long_pole in {row["longest"] for row in rows}
    assert sum(row["attempts"] for row in rows) == len(history.members(history.latest[1]))
    assert max(row["percent"] for row in rows) == pytest.approx(100, abs=0.1)
    assert ask("run", "Slowest tests", **of_latest(history))[0]["nodeid"] == history.planted.long_pole


def test_lanes_show_each_worker_and_end_with_nothing(ask: Any, history: History) -> None:
    last: dict[str, Any] = {}
    states = set()
    for row in ask("run", "Workers over time", **of_latest(history)):
        last[row["worker"]] = row["outcome"]
        states.add(row["outcome"])
    assert len(last) == WORKERS
    assert set(last.values()) <= {None, ""}
    assert {"passed", "failed", "error", "crashed", "skipped"} <= states


# --- the dashboard of flaky tests


def test_exactly_the_planted_tests_are_flaky(ask: Any, history: History) -> None:
    planted = {*history.planted.flaky_attempts, *history.planted.flaky_commits}
    rows = ask("flaky", "Flakiest tests")
    assert {row["nodeid"] for row in rows} == planted == flaked(history)
    for row in rows:
        only_repeated = row["nodeid"] in history.planted.flaky_attempts
        assert (row["repeated"] > 0, row["unrepeated"] > 0) == (only_repeated, not only_repeated)
    assert ask("flaky", "Flaky tests") == [{"flaky": len(planted), "tests": len(history.tests)}]


def test_flaky_tests_are_listed_by_commit_and_variant(ask: Any, history: History) -> None:
    rows = ask("flaky", "By commit and variant")
    for row in rows:
        both_ways = row["nodeid"] in history.planted.flaky_commits
        assert (row["good"] > 0, row["bad"] > 0, row["repeated"] > 0) == (True, both_ways, not both_ways)
    assert {row["nodeid"] for row in rows} == flaked(history)


def test_newly_flaky_is_what_was_not_in_as_long_a_time_before(ask: Any, history: History) -> None:
    middle = history.now_ms - 15 * DAY_MS
    rows = ask("flaky", "Newly flaky", Span(middle, history.now_ms, DAY_MS))
    known = {history.planted.flaky_attempts[0], history.planted.flaky_commits[0]}
    assert {row["nodeid"] for row in rows} == flaked(history, middle) - known
    assert rows


# --- the report


def report(server: ClickHouse, file: Path, *arguments: str) -> Read:
    result = write_report(server, DATABASE, file, f"--service={SERVICE}", *arguments)
    assert result.exit_code == 0, result.output
    return Read(file.read_text(encoding="utf-8"))


def test_a_report_of_the_time_finds_exactly_what_was_planted(
    clickhouse_server: ClickHouse, history: History, tmp_path: Path
) -> None:
    read = report(clickhouse_server, tmp_path / "r.html", "--since=31d")
    tests = read.tests()
    assert len(read.rows("runs")) == len(history.runs)
    assert {name for name, row in tests.items() if row["flaky"]} == flaked(history)
    slowest = sorted(tests, key=lambda name: -(tests[name]["median"] or 0))[: len(history.planted.slow)]
    assert slowest == list(history.planted.slow)
    broken = {name for name, row in tests.items() if row["broken"]}
    assert broken == {*history.planted.broken, *history.planted.crashing}


def test_a_report_of_the_last_run_says_what_changed(
    clickhouse_server: ClickHouse, history: History, tmp_path: Path
) -> None:
    of = of_latest(history)
    read = report(clickhouse_server, tmp_path / "r.html", f"--run={of['run']}", f"--variant={of['variant']}")
    changes: dict[str, set[str]] = {}
    for name, row in read.tests().items():
        changes.setdefault(row["change"], set()).add(name)
    planted = history.planted
    assert {change: names for change, names in changes.items() if change} == {
        "failing": set(planted.newly_failing),
        "fixed": set(planted.fixed),
        "slower": set(planted.newly_slow),
        "added": set(planted.new),
    }
