"""The commands that read, on rows that are rare: what they say is compared with what was stored."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from pytest_test_observer._cli import main
from pytest_test_observer._cli.run_shown import markdown_of
from pytest_test_observer._cli.words import seconds
from pytest_test_observer._columns import TABLES
from pytest_test_observer._destinations.config import destinations_of
from pytest_test_observer._destinations.schema import Place, create_table
from pytest_test_observer._reading import ReadingError, open_reader
from pytest_test_observer._settings import SETTINGS, resolve_layers
from pytest_test_observer._text import storable
from tests.grafana_data import EVERYTHING
from tests.grafana_kit import Span, expanded, queries
from tests.report_kit import Read, write
from tests.test_queries import QUERIES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.servers.client import ClickHouse

    Env = dict[str, str | None]
    Rows = list[dict[str, Any]]

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
NOW_MS = int(time.time() * 1000) - MINUTE_MS
SHOP = {"service": "shop", "repository": "git/shop", "variant": "v", "git_branch": "main", "git_commit": "c"}


@pytest.fixture
def stored(clickhouse_server: ClickHouse, database: str) -> Callable[[Rows, Rows], Env]:
    """Store results and runs in a database of the test's own, and get the environment of a command that reads it."""
    given = {
        "ch_url": clickhouse_server.url,
        "ch_user": clickhouse_server.user,
        "ch_password": clickhouse_server.password,
        "ch_db": database,
    }

    def store(results: Rows, runs: Rows) -> Env:
        for table in TABLES.values():
            clickhouse_server.execute(create_table(table, Place(database, "pytest_results")))
        for into, rows in {"pytest_results": results, "pytest_results_runs": runs}.items():
            data = "\n".join(map(json.dumps, rows)).encode()
            clickhouse_server.execute(f"INSERT INTO {into} FORMAT JSONEachRow", data, database=database)
        unset = {row.env: None for row in SETTINGS}
        return {**unset, **{f"PYTEST_OBSERVER_{name.upper()}": value for name, value in given.items()}}

    return store


def ask(env: Env, *arguments: str) -> Result:
    result = CliRunner().invoke(main, arguments, env=env)
    assert result.exit_code == 0, result.output
    return result


def answer(env: Env, *arguments: str) -> Any:
    return json.loads(ask(env, *arguments, "--json").stdout)


def result(run_id: str, nodeid: str, ago_ms: int, status: str = "passed", **more: Any) -> dict[str, Any]:
    """Return a row of an attempt that took half a second."""
    at = NOW_MS - ago_ms
    times = {"timestamp": str(at), "started_at": at - 500, "finished_at": at, "duration": 0.5, "call_duration": 0.5}
    verdict = {"status": status, "outcome": status, "when_phase": "call", "attempt": 1}
    return {**SHOP, **times, **verdict, "run_id": run_id, "nodeid": nodeid, **more}


def run(run_id: str, began_ms: int, ended_ms: int, **more: Any) -> dict[str, Any]:
    """Return the row of a session that began and ended so long ago."""
    times = {"started_at": NOW_MS - began_ms, "finished_at": NOW_MS - ended_ms, "duration": (began_ms - ended_ms) / 1e3}
    return {**SHOP, **times, "timestamp": str(NOW_MS - ended_ms), "run_id": run_id, "status": "success", **more}


def names(rows: Rows) -> list[str]:
    return [row["nodeid"] for row in rows]


def test_a_test_of_two_repositories_can_be_chosen_in_each(stored: Callable[[Rows, Rows], Env]) -> None:
    fork: dict[str, Any] = {"repository": "git/fork"}
    rows = [result("r1", "t.py::a", 1000), result("r2", "t.py::a", 2000, "failed", **fork, error_message="no")]
    env = stored(rows, [run("r1", 3000, 1000), run("r2", 3000, 2000, **fork)])
    shown = ask(env, "test", "t.py::a").output
    assert "Also elsewhere: --repository=git/fork\n" in shown
    other = ask(env, "test", "t.py::a", "--repository=git/fork").output
    assert ("0.0 % passed" in other, "\nno\n" in other, "elsewhere" in other) == (True, True, False)
    for command in ("slow", "runs"):
        assert all(name in ask(env, command).output for name in ("git/shop", "git/fork")), command


def test_rows_of_version_0_2_have_their_duration(stored: Callable[[Rows, Rows], Env]) -> None:
    old: dict[str, Any] = {
        "service": "",
        "repository": "",
        "outcome": "",
        "attempt": 0,
        "call_duration": 0,
        "duration": 3.0,
    }
    env = stored([result("r0", "t.py::a", 1000, **old), result("r0", "t.py::b", 1000)], [])
    assert [(row["nodeid"], row["p50"], row["total"]) for row in answer(env, "slow")] == [
        ("t.py::a", 3.0, 3.0),
        ("t.py::b", 0.5, 0.5),
    ]
    assert answer(env, "test", "t.py::a")["median_s"] == 3.0


def test_a_worker_whose_clock_is_wrong_belongs_to_its_run(stored: Callable[[Rows, Rows], Env]) -> None:
    rows = [
        result("r1", "t.py::late", 10 * MINUTE_MS, "failed"),
        result("r1", "t.py::early", 50 * MINUTE_MS, "failed"),
    ]
    env = stored(rows, [run("r1", 31 * MINUTE_MS, 30 * MINUTE_MS, failed=2, collected=2, status="failure")])
    assert names(answer(env, "run", "r1")["failures"]) == ["t.py::early", "t.py::late"]


def test_the_report_of_a_run_has_sessions_from_before_the_time_looked_at(
    stored: Callable[[Rows, Rows], Env], clickhouse_server: ClickHouse, database: str, tmp_path: Path
) -> None:
    shards = [
        run("r1", 11 * HOUR_MS, 10 * HOUR_MS, failed=1, collected=1, status="failure"),
        run("r1", 2 * HOUR_MS, HOUR_MS, passed=1, collected=1),
    ]
    stored([result("r1", "t.py::a", 10 * HOUR_MS, "failed"), result("r1", "t.py::b", HOUR_MS)], shards)
    file = tmp_path / "report.html"
    made = write(clickhouse_server, database, file, "--run=r1", "--since=2h")
    assert made.exit_code == 0, made.output
    read = Read(file.read_text(encoding="utf-8"))
    (found,) = read.rows("runs")
    assert (found["sessions"], found["passed"], found["failed"]) == (2, 1, 1)
    assert (len(read.rows("failures")), len(read.timelines[0])) == (1, 2)


def test_an_id_of_two_lines_takes_one(stored: Callable[[Rows, Rows], Env]) -> None:
    twice = [result("r1", "t.py::a[\n]", 2000, "failed", outcome="rerun"), result("r1", "t.py::a[\n]", 1000, attempt=2)]
    env = stored(twice, [run("r1", 3000, 1000, flaky=1)])
    assert "\n  t.py::a[ ] 2 attempts," in ask(env, "run", "r1").output


def test_a_summary_of_long_ids_is_one_that_github_takes() -> None:
    verdicts = [
        {"nodeid": f"{number}" + "é" * 5000, "error_message": "ü" * 5000, "error_type": "", "attempts": 2}
        for number in range(200)
    ]
    ids = [verdict["nodeid"] for verdict in verdicts]
    slow = [{"nodeid": name, "seconds": 1.0, "seconds_before": 0.1} for name in ids]
    changes = {"new_failures": ids[:60], "fixed": ids, "newly_slow": slow, "new": ids, "vanished": ids}
    counts = dict.fromkeys(("passed", "failed", "broken", "skipped", "flaky", "collected", "not_run", "duration"), 0)
    row = {**counts, "status": "failure", "partial": False, "run_id": "r"}
    answered = {"run": row, "failures": verdicts, "flaky": verdicts, "changes": changes, "previous": {"run_id": "p"}}
    text = markdown_of(answered, 50)
    assert len(text.encode()) < 1 << 20
    assert f"- `0{'é' * 5000}`" in text
    assert text.count("\n- and ") == len(changes) + 2


@pytest.mark.parametrize("kind", ["query", "columns"])
@pytest.mark.parametrize(
    ("tail", "said"),
    [
        (b"\nCode: 241. DB::Exception: Memory limit exceeded. (MEMORY_LIMIT_EXCEEDED) (version 25.3)\n", "emory limit"),
        (b"", "broke off"),
    ],
)
def test_an_answer_that_breaks_off_is_an_error_in_words(
    stored: Callable[[Rows, Rows], Env], monkeypatch: pytest.MonkeyPatch, kind: str, tail: bytes, said: str
) -> None:
    env = stored([result("r1", f"t.py::{number}", 1000) for number in range(9)], [])
    layers = {name.removeprefix("PYTEST_OBSERVER_").lower(): value for name, value in env.items() if value}
    place = destinations_of(resolve_layers(layers, {}, {})).clickhouse
    assert place is not None
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(open_reader(place))
        whole = reader.client.raw_query

        def half(*args: Any, **named: Any) -> bytes:
            found = whole(*args, **named)
            return found[: len(found) * 3 // 4] + tail

        monkeypatch.setattr(reader.client, "raw_query", half)
        with pytest.raises(ReadingError, match=said):
            getattr(reader, kind)("SELECT nodeid FROM $results")


def test_a_file_that_could_be_collected_later_does_not_fail_any_more(
    stored: Callable[[Rows, Rows], Env], clickhouse_server: ClickHouse, database: str, tmp_path: Path
) -> None:
    def unread(nodeid: str, ago_ms: int, branch: str) -> dict[str, Any]:
        more = {"outcome": "error", "when_phase": "collect", "call_duration": 0, "file": nodeid, "git_branch": branch}
        return result(f"r1-{branch}", nodeid, ago_ms, "broken", **more)

    rows = [unread("a.py", 2000, "main"), unread("b.py", 2000, "main"), unread("a.py", 2000, "other")]
    rows += [result("r2", "a.py::t", 1000, file="a.py"), result("r2", "b.py::t", 3000, file="b.py")]
    stored(rows, [run("r1-main", 2500, 2000), run("r2", 1500, 1000)])
    file = tmp_path / "report.html"
    made = write(clickhouse_server, database, file)
    assert made.exit_code == 0, made.output
    failing = {name: test["failing"] for name, test in Read(file.read_text(encoding="utf-8")).tests().items()}
    assert failing == {"a.py": "other · v", "b.py": "main · v", "a.py::t": "", "b.py::t": ""}
    assert [row[1] for row in page_query(clickhouse_server, database, "Failing now, and since when")] == ["b.py"]
    now = panel(clickhouse_server, database, "overview", "Failing now")
    assert sorted((row["nodeid"], row["branch"]) for row in now) == [("a.py", "other"), ("b.py", "main")]


def test_what_could_not_be_collected_has_not_vanished_on_the_dashboard_either(
    stored: Callable[[Rows, Rows], Env], clickhouse_server: ClickHouse, database: str
) -> None:
    collect = {"outcome": "error", "when_phase": "collect"}
    rows = [result("r1", f"{place}::t", 9000) for place in ("a.py", "b.py", "dir/c.py", "gone.py")]
    rows += [result("r1", "old.py", 9000, "broken", **collect)]
    rows += [result("r2", place, 1000, "broken", **collect) for place in ("a.py", "dir")]
    rows += [result("r2", "b.py::t", 1000)]
    env = stored(rows, [run("r1", 10_000, 9000), run("r2", 2000, 1000, status="failure")])
    changed = panel(clickhouse_server, database, "run", "Changed since the previous run", run="r2")
    assert [(row["change"], row["nodeid"]) for row in changed] == [
        ("new failure", "a.py"),
        ("new failure", "dir"),
        ("vanished", "gone.py::t"),
    ]
    assert answer(env, "run", "r2")["changes"]["vanished"] == ["gone.py::t"]


def test_pipeline_runs_of_one_number_and_local_runs_of_one_beginning_are_several(
    stored: Callable[[Rows, Rows], Env], clickhouse_server: ClickHouse, database: str
) -> None:
    jenkins = {"ci_provider": "jenkins", "ci_run_id": "7"}
    local = [result(f"nightly-{day}", "t.py::a", 9000 + day, ci_provider="local") for day in range(3)]
    rows = [result("r1", "t.py::a", 900, **jenkins), result("r2", "t.py::a", 800, **jenkins, repository="git/fork")]
    stored([*rows, *local], [])
    (runs,) = panel(clickhouse_server, database, "overview", "Runs")
    assert int(runs["pipelines"]) == 5
    for board, title in (
        ("overview", "Recent pipeline runs"),
        ("overview", "Tests per pipeline run"),
        ("test", "Outcomes per run"),
    ):
        shown = panel(clickhouse_server, database, board, title, nodeid="t.py::a")
        assert [int(row["passed"]) for row in shown] == [1] * 5, title


def test_queries_of_the_page_tell_services_apart_and_need_a_commit(
    stored: Callable[[Rows, Rows], Env], clickhouse_server: ClickHouse, database: str
) -> None:
    rows = [
        result(f"r-{service}", "t.py::a", 1000, "failed", service=service, error_message="no")
        for service in ("shop", "mail")
    ]
    rows += [
        result("r3", "t.py::b", 1000, "failed", git_commit=""),
        result("r4", "t.py::b", 1000, git_commit="", variant="w"),
    ]
    stored(rows, [])
    (branch,) = page_query(clickhouse_server, database, "Failing by branch")
    assert branch[:3] == ["main", 4, 3]
    assert page_query(clickhouse_server, database, "Commonest errors")[0][1:4] == ["no", 2, 2]
    assert page_query(clickhouse_server, database, "Cells of a matrix that disagree") == []


def page_query(server: ClickHouse, database: str, title: str) -> list[list[Any]]:
    """Ask a query of docs/queries.md."""
    settings = {"output_format_json_quote_64bit_integers": "0"}
    found = server.execute(f"{QUERIES[title]} FORMAT JSONCompactEachRow", b"", database=database, **settings)
    return [json.loads(line) for line in found.splitlines()]


def panel(server: ClickHouse, database: str, board: str, title: str, **chosen: str) -> Rows:
    """Ask a panel of a dashboard about the last day."""
    (query,) = (query for query in queries() if (query.board, query.title) == (board, title))
    values = {**EVERYTHING, **chosen}
    sql = expanded(query.sql, values, Span(NOW_MS - 24 * HOUR_MS, NOW_MS + MINUTE_MS))
    found = server.execute(f"{sql} FORMAT JSONEachRow", b"", database=database)
    return [json.loads(line) for line in found.splitlines()]


@pytest.mark.parametrize("workers", [("gw0", "gw1"), ("master", "master")], ids=["dist-each", "keep-duplicates"])
def test_what_passes_beside_a_failure_does_not_replace_it(
    stored: Callable[[Rows, Rows], Env],
    clickhouse_server: ClickHouse,
    database: str,
    tmp_path: Path,
    workers: tuple[str, str],
) -> None:
    session = {"trace_id": "1" * 32, "parent_span_id": "1" * 16}
    rows = [
        result("r1", "t.py::a", 2000, "failed", worker_id=workers[0], error_message="no", **session),
        result("r1", "t.py::a", 1000, worker_id=workers[1], **session),
        # another session of the run, which is repeated: its result replaces the first
        result("r1", "t.py::b", 2000, "failed", **session),
        result("r1", "t.py::b", 1000, trace_id="2" * 32, parent_span_id="2" * 16),
    ]
    env = stored(rows, [run("r1", 3000, 900, collected=3, passed=1, failed=2, status="failure")])
    found = answer(env, "run", "r1")
    assert (names(found["failures"]), found["failures"][0]["error_message"]) == (["t.py::a"], "no")
    assert (names(found["flaky"]), names(answer(env, "flaky"))) == (["t.py::b"], ["t.py::b"])
    (row,) = answer(env, "test", "t.py::a")["history"]
    assert (row["verdict"], row["outcome"], row["flaky"]) == ("failed", "failed", False)
    made = write(clickhouse_server, database, tmp_path / "report.html")
    assert made.exit_code == 0, made.output
    tests = Read((tmp_path / "report.html").read_text(encoding="utf-8")).tests()
    assert {name: test["flaky"] for name, test in tests.items()} == {"t.py::a": 0, "t.py::b": 1}


def test_what_is_asked_for_may_have_any_bytes(
    stored: Callable[[Rows, Rows], Env], clickhouse_server: ClickHouse, database: str, tmp_path: Path
) -> None:
    branch = os.fsdecode(b"caf\xe9")
    env = stored([result("r1", "t.py::\u00e9", 1000, git_branch=storable(branch))], [run("r1", 2000, 1000)])
    # the bytes of the letter one by one, as a locale without it has them
    letter = "".join(os.fsdecode(bytes([byte])) for byte in "\u00e9".encode())
    assert answer(env, "test", f"t.py::{letter}", f"--branch={branch}")["runs"] == 1
    made = write(clickhouse_server, database, tmp_path / "report.html", f"--branch={branch}")
    assert made.exit_code == 0, made.output


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0.000 s"),
        (1e-9, "0.000 s"),
        (0.9996, "1.00 s"),
        (59.996, "1m 00s"),
        (119.6, "2m 00s"),
        (3599.7, "1h 00m"),
        (200_000, "55h 33m"),
    ],
)
def test_durations_have_the_unit_of_their_size(value: float, said: str) -> None:
    assert seconds(value) == said


def test_a_part_of_many_ids_says_that_there_are_more(stored: Callable[[Rows, Rows], Env]) -> None:
    env = stored([result("r1", f"t.py::test_{number:02}", 1000) for number in range(11)], [])
    shown = CliRunner().invoke(main, ["test", "test_"], env=env).output
    assert (shown.count("t.py::"), shown.splitlines()[-1]) == (10, "  and more")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_report_goes_into_what_is_no_file_and_through_a_link(
    stored: Callable[[Rows, Rows], Env], clickhouse_server: ClickHouse, database: str, tmp_path: Path
) -> None:
    stored([result("r1", "t.py::a", 1000)], [])
    file, link, pipe = (tmp_path / name for name in ("file.html", "link.html", "pipe"))
    link.symlink_to(file)
    assert write(clickhouse_server, database, link).exit_code == 0
    assert (link.is_symlink(), file.read_bytes()[:9]) == (True, b"<!doctype")
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE) as reader:
        made = write(clickhouse_server, database, pipe)
        if not pipe.is_fifo():  # nobody writes to who reads
            reader.kill()
        said = reader.communicate(timeout=30)[0]
    assert (made.exit_code, pipe.is_fifo(), said[:9]) == (0, True, b"<!doctype")
    empty = write(clickhouse_server, database, "")
    assert (empty.exit_code, "is a variable not set?" in empty.output) == (2, True)


@pytest.mark.parametrize("first", ["call", "teardown"])
def test_a_teardown_that_failed_in_0_2_is_the_last_of_its_test_on_dashboards_too(
    stored: Callable[[Rows, Rows], Env], clickhouse_server: ClickHouse, database: str, first: str
) -> None:
    old: dict[str, Any] = {"outcome": "", "attempt": 0}
    rows = [result("r0", "t.py::a", 1000, **old)]
    rows.append({**rows[0], "status": "broken", "when_phase": "teardown"})
    stored(rows if first == "call" else rows[::-1], [])
    (counts,) = panel(clickhouse_server, database, "overview", "Tests")
    assert {name: int(count) for name, count in counts.items() if int(count)} == {"broken": 1}
