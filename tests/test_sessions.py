"""Sessions that share a run id: shards are one run, repeated jobs, cells and services are runs of their own."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from pytest_test_observer._cli import main
from pytest_test_observer._columns import TABLES
from pytest_test_observer._destinations.schema import Place, create_table
from pytest_test_observer._settings import SETTINGS
from tests.grafana_data import EVERYTHING
from tests.grafana_kit import Span, expanded, queries
from tests.report_kit import Read
from tests.report_kit import write as write_report

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kit import Observed
    from tests.servers.client import ClickHouse

NOW_MS = int(time.time() * 1000)
DAY_MS = 86_400_000
DATABASE = "test_sessions"
# What the whole suite has.
FOUND = 6


class Session:
    """A session that starts ``ago`` seconds before now and takes 10; ``verdicts`` are of the tests a to f."""

    def __init__(self, run_id: str, ago: int, verdicts: dict[str, str], **context: Any) -> None:
        self.verdicts = verdicts
        self.started = NOW_MS - ago * 1000
        self.workers = context.pop("workers", 2)
        self.context = {"run_id": run_id, "service": "shop", "variant": "py3.14", "git_branch": "main", **context}
        self.context.setdefault("git_commit", run_id)
        self.span = f"{ago:016x}"

    def _timed(self, started: int, seconds: int) -> dict[str, Any]:
        finished = started + seconds * 1000
        times = {"timestamp": str(finished), "started_at": started, "finished_at": finished}
        return {**self.context, **times, "trace_id": f"{self.started:032x}"}

    def run(self) -> dict[str, Any]:
        """Return its row in the table of runs."""
        last = [verdict.split()[-1] for verdict in self.verdicts.values()]
        counts = {status: last.count(status) for status in ("passed", "failed")}
        deselected = FOUND - len(last)
        return {
            **self._timed(self.started, 10),
            **counts,
            "duration": 10.0,
            "status": "failure" if counts["failed"] else "success",
            "collected": len(last),
            "deselected": deselected,
            "partial": deselected > 0,
            "workers": self.workers,
            "span_id": self.span,
        }

    def results(self) -> Iterator[dict[str, Any]]:
        """Yield its attempts: "failed passed" is a test with two."""
        for number, (nodeid, verdicts) in enumerate(self.verdicts.items()):
            for attempt, verdict in enumerate(verdicts.split(), 1):
                yield {
                    **self._timed(self.started + 1500 * number + attempt * 100, 1),
                    "nodeid": nodeid,
                    "attempt": attempt,
                    "status": verdict,
                    "outcome": verdict,
                    "when_phase": "call",
                    "call_duration": 1.0,
                    "worker_id": f"gw{number % 2}",
                    "parent_span_id": self.span,
                    "flaky": attempt > 1 and verdict == "passed",
                    "error_message": "assert 1 == 2" if verdict == "failed" else "",
                }


GOOD = dict.fromkeys("abcdef", "passed")
FIRST, SECOND = dict.fromkeys("abc", "passed"), dict.fromkeys("def", "passed")
SESSIONS = (
    # shards of a suite, before and now: "a" fails, "f" became slow enough to be retried
    Session("shards-1", 90_000, FIRST),
    Session("shards-1", 89_990, SECOND),
    Session("shards-2", 80_000, {**FIRST, "a": "failed"}, ci_job="tests 1/2"),
    Session("shards-2", 79_990, {**SECOND, "f": "failed passed"}, ci_job="tests 2/2"),
    # a job that was repeated; the repetition of one shard only
    Session("again", 70_000, {**GOOD, "b": "failed"}, ci_attempt=1, git_branch="again"),
    Session("again", 69_000, GOOD, ci_attempt=2, git_branch="again"),
    Session("failed-only", 60_000, FIRST, ci_attempt=1, git_branch="parts"),
    Session("failed-only", 59_990, {**SECOND, "d": "failed"}, ci_attempt=1, git_branch="parts"),
    Session("failed-only", 59_000, SECOND, ci_attempt=2, git_branch="parts"),
    # one half twice is no whole; a second session of the same tests, which repeats what failed
    Session("half-twice", 50_000, FIRST, git_branch="half"),
    Session("half-twice", 49_000, FIRST, git_branch="half"),
    Session("once-more", 40_000, {**GOOD, "c": "failed"}, git_branch="more"),
    Session("once-more", 39_000, {"c": "passed"}, git_branch="more"),
    # cells and services, whose rows nothing else tells apart
    Session("matrix", 30_000, {**GOOD, "e": "failed"}, variant="py3.10", git_branch="cells"),
    Session("matrix", 29_990, GOOD, git_branch="cells"),
    Session("matrix", 29_980, {"a": "failed"}, service="mail", git_branch="cells"),
    Session("matrix", 29_970, {"a": "passed"}, service="mail", repository="it's", git_branch="cells"),
)


@pytest.fixture(scope="module")
def stored(clickhouse_server: ClickHouse) -> Iterator[ClickHouse]:
    """A server with the sessions above."""
    clickhouse_server.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
    clickhouse_server.execute(f"CREATE DATABASE {DATABASE}")
    for table in TABLES.values():
        clickhouse_server.execute(create_table(table, Place(DATABASE, "pytest_results")))
    rows = {
        "pytest_results": [row for session in SESSIONS for row in session.results()],
        "pytest_results_runs": [session.run() for session in SESSIONS],
    }
    for into, found in rows.items():
        data = "\n".join(map(json.dumps, found)).encode()
        clickhouse_server.execute(f"INSERT INTO {into} FORMAT JSONEachRow", data, database=DATABASE)
    yield clickhouse_server
    clickhouse_server.execute(f"DROP DATABASE {DATABASE} SYNC")


def ask(server: ClickHouse, *arguments: str, database: str = DATABASE) -> Result:
    env: dict[str, str | None] = {row.env: None for row in SETTINGS}
    env |= {"PYTEST_OBSERVER_CH_USER": server.user, "PYTEST_OBSERVER_CH_PASSWORD": server.password}
    env |= {"PYTEST_OBSERVER_CH_URL": server.url, "PYTEST_OBSERVER_CH_DB": database}
    return CliRunner().invoke(main, arguments, env=env)


def answer(server: ClickHouse, *arguments: str, database: str = DATABASE) -> Any:
    result = ask(server, *arguments, "--json", database=database)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def counts(run: dict[str, Any]) -> tuple[int, ...]:
    return tuple(run[name] for name in ("sessions", "collected", "passed", "failed", "flaky"))


def failures(found: dict[str, Any]) -> list[str]:
    return [test["nodeid"] for test in found["failures"]]


# --- shards


def test_shards_are_one_run(stored: ClickHouse) -> None:
    found = answer(stored, "run", "shards-2")
    run = found["run"]
    assert counts(run) == (2, FOUND, 5, 1, 1)
    assert (run["status"], run["partial"], run["deselected"], run["workers"]) == ("failure", False, 0, 4)
    assert run["duration"] == pytest.approx(20)
    assert (failures(found), [test["nodeid"] for test in found["flaky"]]) == (["a"], ["f"])
    assert len(found["slowest"]) == FOUND
    assert "2 sessions" in ask(stored, "run", "shards-2").output


def test_shards_that_have_all_tests_together_are_compared_with_such(stored: ClickHouse) -> None:
    found = answer(stored, "run", "shards-2")
    assert counts(found["previous"]) == (2, FOUND, 6, 0, 0)
    assert found["changes"]["new_failures"] == ["a"]
    assert found["changes"]["vanished"] == found["changes"]["new"] == []


def test_half_of_the_suite_run_twice_is_no_whole(stored: ClickHouse) -> None:
    assert answer(stored, "run", "half-twice")["run"]["partial"]


def test_the_list_of_runs_has_shards_once(stored: ClickHouse) -> None:
    rows = answer(stored, "runs")
    assert [row["run_id"] for row in rows[-2:]] == ["shards-2", "shards-1"]
    assert [counts(row) for row in rows[-2:]] == [(2, FOUND, 5, 1, 0), (2, FOUND, 6, 0, 0)]
    assert len(rows) == 12
    shown = ask(stored, "runs").output
    assert "2 sessions" in shown
    assert "attempt 2" in shown


def test_real_shards_are_one_run(observed: Observed, clickhouse_server: ClickHouse) -> None:
    observed.bench.write(
        test_a="import pytest\n@pytest.mark.parametrize('n', range(5))\ndef test_n(n): assert n != 3\n",
        conftest="import os\ndef pytest_collection_modifyitems(config, items):\n"
        "    out = items[int(os.environ['SHARD'])::2]\n"
        "    config.hook.pytest_deselected(items=out)\n"
        "    items[:] = [item for item in items if item not in out]\n",
    )
    for shard in "01":
        observed.run(env={"SHARD": shard, "PYTEST_OBSERVER_RUN_ID": "one"})
    found = answer(clickhouse_server, "run", "one", database=observed.database)
    assert counts(found["run"]) == (2, 5, 4, 1, 0)
    assert not found["run"]["partial"]
    assert failures(found) == ["test_a.py::test_n[3]"]


# --- repeated jobs, and what runs the same tests again


def test_a_repeated_job_is_a_run_of_its_own_and_the_last_one_is_shown(stored: ClickHouse) -> None:
    last, first = answer(stored, "run", "again"), answer(stored, "run", "again", "--attempt=1")
    assert (failures(last), failures(first)) == ([], ["b"])
    assert last["previous"]["ci_attempt"] == 1
    assert last["changes"]["fixed"] == ["b"]


def test_the_repetition_of_one_shard_is_a_part(stored: ClickHouse) -> None:
    last, first = answer(stored, "run", "failed-only"), answer(stored, "run", "failed-only", "--attempt=1")
    assert (counts(last["run"]), last["run"]["partial"]) == ((1, 3, 3, 0, 0), True)
    assert (counts(first["run"]), first["run"]["partial"]) == ((2, FOUND, 5, 1, 0), False)
    assert last["changes"]["fixed"] == ["d"]
    assert last["changes"]["vanished"] == []


def test_an_attempt_that_is_not_there_is_said_with_what_there_is(stored: ClickHouse) -> None:
    result = ask(stored, "run", "again", "--attempt=3")
    assert result.exit_code == 1
    assert "there is no attempt 3 of it: again had its last as attempt 2" in result.output


def test_an_attempt_of_a_run_outside_of_ci_is_said_to_be_none(stored: ClickHouse) -> None:
    result = ask(stored, "run", "once-more", "--attempt=5")
    assert result.exit_code == 1
    assert "no attempt 5 of it: once-more has no attempts of a CI job, leave out --attempt." in result.output


def test_a_test_that_ran_in_two_sessions_counts_once_by_the_later_result(stored: ClickHouse) -> None:
    found = answer(stored, "run", "once-more")
    assert counts(found["run"]) == (2, FOUND, 6, 0, 1)
    assert (failures(found), [test["nodeid"] for test in found["flaky"]]) == ([], ["c"])


def test_what_passes_when_it_is_repeated_is_flaky(stored: ClickHouse) -> None:
    rows = {(row["service"], row["nodeid"]): row for row in answer(stored, "flaky", "--repository=")}
    kinds = {key: (row["passed_on_retry"], row["mixed_commits"]) for key, row in rows.items()}
    assert kinds == {("shop", "f"): (1, 0), ("shop", "b"): (0, 1), ("shop", "d"): (0, 1), ("shop", "c"): (1, 0)}


def test_the_history_of_a_test_has_each_attempt_of_a_job(stored: ClickHouse) -> None:
    found = answer(stored, "test", "b", "--branch=again")
    assert [(row["run_id"], row["verdict"]) for row in found["history"]] == [("again", "passed"), ("again", "failed")]


# --- cells and services


def test_cells_and_services_are_asked_for_as_they_can_be_given(stored: ClickHouse) -> None:
    result = ask(stored, "run", "matrix")
    assert result.exit_code == 1
    asked = [line.strip() for line in result.output.splitlines()[1:]]
    assert asked == sorted(
        [
            "matrix --repository='' --service=mail --variant=py3.14",
            "matrix --repository='' --service=shop --variant=py3.10",
            "matrix --repository='' --service=shop --variant=py3.14",
            "matrix --repository='it'\"'\"'s' --service=mail --variant=py3.14",
        ]
    )
    assert failures(answer(stored, "run", "matrix", "--variant=py3.10")) == ["e"]
    assert failures(answer(stored, "run", "matrix", "--service=mail", "--repository=")) == ["a"]
    assert failures(answer(stored, "run", "matrix", "--service=mail", "--repository=it's")) == []


# --- dashboards


def panel(server: ClickHouse, board: str, title: str, **values: str) -> list[dict[str, Any]]:
    sql = next(query.sql for query in queries() if (query.board, query.title) == (board, title))
    text = expanded(sql, {**EVERYTHING, **values}, Span(NOW_MS - 2 * DAY_MS, NOW_MS, DAY_MS))
    settings = {"output_format_json_quote_64bit_integers": "0"}
    found = server.execute(f"{text}\nFORMAT JSONEachRow", b"", database=DATABASE, **settings)
    return [json.loads(line) for line in found.splitlines()]


def test_the_dashboard_of_a_run_has_all_its_shards(stored: ClickHouse) -> None:
    run = {"run": "shards-2"}
    outcomes = {"passed": 5, "failed": 1, "broken": 0, "skipped": 0, "flaky": 1}
    assert panel(stored, "run", "Outcomes", **run) == [outcomes]
    assert [row["run_id"] for row in panel(stored, "run", "Previous run", **run)] == ["shards-1"]
    changes = panel(stored, "run", "Changed since the previous run", **run)
    assert [(row["change"], row["nodeid"]) for row in changes] == [("new failure", "a")]
    assert {row["job"] for row in panel(stored, "run", "Workers", **run)} == {"tests 1/2", "tests 2/2"}
    assert len({row["worker"] for row in panel(stored, "run", "Workers over time", **run)}) == 4
    assert len(panel(stored, "run", "The run", **run)) == 2


def test_the_dashboard_of_a_run_offers_its_attempts_the_last_first(stored: ClickHouse) -> None:
    assert [row["found"] for row in panel(stored, "run", "attempt", run="again")] == ["2", "1"]
    assert [panel(stored, "run", "Outcomes", run="again", attempt=n)[0]["failed"] for n in ("1", "2")] == [1, 0]
    assert panel(stored, "run", "Previous run", run="again", attempt="2")[0]["attempt"] == 1


def test_the_dashboard_of_flaky_tests_tells_attempts_and_cells_apart(stored: ClickHouse) -> None:
    rows = panel(stored, "flaky", "Flakiest tests")
    assert {row["nodeid"] for row in rows if row["service"] == "shop"} == {"b", "c", "d", "f"}
    runs = panel(stored, "test", "Outcomes per run", nodeid="e", branch="cells")
    assert [(row["passed"], row["failed"]) for row in runs] == [(1, 1)]


# --- the report


def read(server: ClickHouse, file: Path, *arguments: str) -> Read:
    result = write_report(server, DATABASE, file, *arguments)
    assert result.exit_code == 0, result.output
    return Read(file.read_text(encoding="utf-8"))


def test_a_report_has_shards_as_one_run_with_the_workers_of_each(stored: ClickHouse, tmp_path: Path) -> None:
    found = read(stored, tmp_path / "r.html", "--run=shards-2")
    run = found.rows("runs")[found.about["run"]]
    assert (run["id"], run["sessions"], run["collected"], run["partial"]) == ("shards-2", 2, FOUND, 0)
    workers = {row["worker"] for row in found.timelines[0]}
    assert workers == {f"tests {shard}/2 gw{worker}" for shard in (1, 2) for worker in (0, 1)}
    assert {name for name, row in found.tests().items() if row["change"] == "failing"} == {"a"}


def test_sessions_without_a_job_are_numbered_in_the_timeline(stored: ClickHouse, tmp_path: Path) -> None:
    found = read(stored, tmp_path / "r.html", "--run=shards-1")
    assert {row["worker"] for row in found.timelines[0]} == {"#1 gw0", "#1 gw1", "#2 gw0", "#2 gw1"}


def test_a_report_is_about_the_attempt_that_is_asked_for(stored: ClickHouse, tmp_path: Path) -> None:
    found = read(stored, tmp_path / "r.html", "--run=again", "--attempt=1")
    assert [row["text"] for row in found.rows("groups")] == ["assert 1 == 2"]
    assert len(found.timelines[0]) == FOUND
    assert not read(stored, tmp_path / "r.html", "--run=again").rows("groups")
    asked = write_report(stored, DATABASE, tmp_path / "r.html", "--run=matrix")
    assert (asked.exit_code, "--variant=py3.10" in asked.output) == (1, True)
    assert write_report(stored, DATABASE, tmp_path / "r.html", "--attempt=1").exit_code == 2


def test_a_report_of_a_time_counts_a_test_once_for_each_attempt_of_a_job(stored: ClickHouse, tmp_path: Path) -> None:
    found = read(stored, tmp_path / "r.html", "--branch=again")
    assert [(row["id"], row["ci_attempt"]) for row in found.rows("runs")] == [("again", 2), ("again", 1)]
    assert {row["runs"] for row in found.rows("tests")} == {2}
