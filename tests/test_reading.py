"""The commands that read: each finds exactly what is planted, on a server and in the embedded engine."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from pytest_test_observer._cli import main
from pytest_test_observer._cli.run_shown import code
from pytest_test_observer._columns import TABLES
from pytest_test_observer._destinations._http import connect
from pytest_test_observer._destinations.config import destinations_of
from pytest_test_observer._destinations.schema import Place, create_table
from pytest_test_observer._reading.filters import parse_since
from pytest_test_observer._reading.runs import Verdict, compare
from pytest_test_observer._settings import SETTINGS, resolve_layers
from tests.history import SERVICE, VARIANTS, History, write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.client import ClickHouse

NOW_MS = int(time.time() * 1000)
HISTORY = History(NOW_MS)
PLANTED = HISTORY.planted
DATABASE = "test_history"
ALL = "--since=100d"
UNSET = {row.env: None for row in SETTINGS}


@pytest.fixture(scope="module")
def stored(clickhouse_server: ClickHouse) -> Iterator[dict[str, str | None]]:
    """The environment of a command that reads the history."""
    clickhouse_server.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
    clickhouse_server.execute(f"CREATE DATABASE {DATABASE}")
    given = {
        "ch_url": clickhouse_server.url,
        "ch_user": clickhouse_server.user,
        "ch_password": clickhouse_server.password,
        "ch_db": DATABASE,
    }
    settings = destinations_of(resolve_layers(given, {}, {})).clickhouse
    assert settings is not None
    with contextlib.closing(connect(settings)) as client:
        write(HISTORY, client, Place(DATABASE, "pytest_results"))
    yield {**UNSET, **{f"PYTEST_OBSERVER_{name.upper()}": value for name, value in given.items()}}
    clickhouse_server.execute(f"DROP DATABASE {DATABASE} SYNC")


def ask(env: dict[str, str | None], *arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, env=env)


def answer(env: dict[str, str | None], *arguments: str) -> Any:
    result = ask(env, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def names(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(row["nodeid"] for row in rows)


def test_runs_lists_every_run_with_its_counts_the_latest_first(stored: dict[str, str | None]) -> None:
    rows = answer(stored, "runs", ALL, "--limit=1000")
    assert [row["run_id"] for row in rows] == [run.run_id for run in reversed(HISTORY.runs)]
    for row, run in zip(rows, reversed(HISTORY.runs), strict=True):
        counts = HISTORY.counts(run)
        assert {name: row[name] for name in counts} == counts, run
        assert (row["partial"], row["git_branch"]) == (run.partial, run.branch)


def test_filters_leave_what_they_name(stored: dict[str, str | None]) -> None:
    rows = answer(stored, "runs", ALL, "--branch=fix/login", f"--variant={VARIANTS[1]}", f"--service={SERVICE}")
    wanted = [run.run_id for run in HISTORY.runs if run.branch == "fix/login" and run.variant == VARIANTS[1]]
    assert [row["run_id"] for row in rows] == wanted[::-1]
    since = answer(stored, "runs", "--since=10d", "--limit=1000")
    assert len(since) == sum(run.started_at > NOW_MS - 10 * 86_400_000 for run in HISTORY.runs)
    assert answer(stored, "runs", "--service=other") == []


@pytest.mark.parametrize("cell", [0, 1])
def test_run_tells_exactly_what_changed(stored: dict[str, str | None], cell: int) -> None:
    run = HISTORY.latest[cell]
    previous = HISTORY.previous(run)
    found = answer(stored, "run", "latest", f"--variant={run.variant}")
    assert previous is not None
    assert (found["run"]["run_id"], found["previous"]["run_id"]) == (run.run_id, previous.run_id)
    assert found["changes"].pop("newly_slow")[0]["seconds_before"] == pytest.approx(0.5, rel=0.1)
    changes = {name: sorted(getattr(PLANTED, "newly_failing" if name == "new_failures" else name)) for name in
               ("new_failures", "fixed", "new", "vanished")}  # fmt: skip
    assert found["changes"] == changes
    bad = [*PLANTED.broken, *PLANTED.crashing, *PLANTED.failing, *PLANTED.newly_failing]
    assert names(found["failures"]) == sorted([*bad, *(PLANTED.fails_in_variant if cell else ())])
    assert [test["nodeid"] for test in found["slowest"][:3]] == list(PLANTED.slow)


def test_newly_slow_tests_are_those_planted(stored: dict[str, str | None]) -> None:
    found = answer(stored, "run", "latest")
    assert names(found["changes"]["newly_slow"]) == sorted(PLANTED.newly_slow)


def test_a_partial_run_makes_no_test_vanish(stored: dict[str, str | None]) -> None:
    run = HISTORY.latest_partial
    found = answer(stored, "run", run.run_id)
    assert found["run"]["collected"] == len(HISTORY.members(run)) < len(HISTORY.tests)
    assert found["changes"] == {"new_failures": [], "fixed": [], "newly_slow": [], "new": [], "vanished": []}


def test_a_run_shows_what_passed_after_a_failed_attempt(stored: dict[str, str | None]) -> None:
    first = PLANTED.flaky_attempts[0]
    test = next(test for test in HISTORY.tests if test.nodeid == first)
    run = next(run for run in HISTORY.runs if len(HISTORY.attempts(run, test)) == 2)
    assert names(answer(stored, "run", run.run_id)["flaky"]) == [first]


def test_the_first_run_of_all_is_compared_with_none(stored: dict[str, str | None]) -> None:
    found = answer(stored, "run", HISTORY.runs[0].run_id)
    assert (found["previous"], found["changes"]) == (None, None)
    assert "Not compared" in ask(stored, "run", HISTORY.runs[0].run_id).output


def test_flaky_finds_both_kinds_and_no_other_test(stored: dict[str, str | None]) -> None:
    rows = answer(stored, "flaky", ALL)
    assert names(rows) == sorted([*PLANTED.flaky_attempts, *PLANTED.flaky_commits])
    for row in rows:
        test = next(test for test in HISTORY.tests if test.nodeid == row["nodeid"])
        shown = [run for run in HISTORY.runs if not run.partial and HISTORY.attempts(run, test)[0][0] == "failed"]
        assert (row["flaky_runs"], row["runs"]) == (len(shown), sum(not run.partial for run in HISTORY.runs))
        kind = "passed_on_retry" if row["nodeid"] in PLANTED.flaky_attempts else "mixed_commits"
        assert row[kind] == len(shown)
        assert row["since_commit"] == shown[0].commit
        assert 0 <= row["since"] - shown[0].started_at < 60_000
        assert 0 <= row["last_seen"] - shown[-1].started_at < 60_000
    assert [row["rate"] for row in rows] == sorted((row["rate"] for row in rows), reverse=True)


def test_slow_has_median_percentile_share_and_trend(stored: dict[str, str | None]) -> None:
    rows = answer(stored, "slow", "--since=90d", "--limit=1000")
    assert [row["nodeid"] for row in rows[:3]] == list(PLANTED.slow)
    assert [row["nodeid"] for row in rows if row["trend"] and row["trend"] > 1.5] == list(PLANTED.slower)
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    pole = next(test for test in HISTORY.tests if test.nodeid == PLANTED.long_pole)
    took = sorted(HISTORY.seconds(run, pole) + 0.003 for run in HISTORY.runs if not run.partial)
    assert took[len(took) // 2 - 2] <= rows[0]["p50"] <= took[len(took) // 2 + 2]
    assert rows[0]["p95"] == pytest.approx(took[int(len(took) * 0.95)], rel=0.02)


def test_test_tells_history_pass_rate_and_last_error(stored: dict[str, str | None]) -> None:
    nodeid = PLANTED.fails_in_variant[0]
    found = answer(stored, "test", nodeid, ALL, "--limit=5")
    complete = [run for run in HISTORY.runs if not run.partial]
    assert (found["runs"], found["pass_rate"]) == (len(complete), 0.5)
    assert [row["run_id"] for row in found["history"]] == [run.run_id for run in complete[:-6:-1]]
    assert found["last_error"]["run_id"] == complete[-1].run_id
    assert found["last_error"]["error_message"] == "assert 1611 == 1612"
    assert len(found["durations_s"]) == 40


def test_a_part_of_an_id_is_enough_where_it_is_the_only_one(stored: dict[str, str | None]) -> None:
    assert answer(stored, "test", "test_BROKEN_", ALL)["nodeid"] == PLANTED.broken[0]
    several = ask(stored, "test", "test_fixed_", ALL)
    assert several.exit_code == 1
    assert all(nodeid in several.output for nodeid in PLANTED.fixed)


@pytest.mark.parametrize("arguments", [("test", "no::such"), ("run", "no-such-run")])
def test_what_is_not_there_is_said_in_one_line(stored: dict[str, str | None], arguments: tuple[str, ...]) -> None:
    result = ask(stored, *arguments)
    assert (result.exit_code, len(result.output.splitlines())) == (1, 1)


@pytest.mark.parametrize("command", ["runs", "flaky", "slow"])
def test_nothing_to_show_is_explained(stored: dict[str, str | None], command: str) -> None:
    result = ask(stored, command, "--service=other")
    assert result.exit_code == 0
    assert result.output.startswith("No ")


def test_piped_tables_cut_nothing(stored: dict[str, str | None]) -> None:
    shown = ask(stored, "flaky", ALL).output
    assert all(nodeid in shown for nodeid in (*PLANTED.flaky_attempts, *PLANTED.flaky_commits))
    assert "x3.0" in ask(stored, "slow", "--since=90d").output
    assert HISTORY.latest[1].run_id in ask(stored, "runs").output
    assert "Last error" in ask(stored, "test", PLANTED.broken[0]).output


@pytest.mark.skipif(sys.platform == "win32", reason="there are no terminals to open")
@pytest.mark.parametrize(("command", "ids"), [("flaky", "nodeid"), ("runs", "run_id")])
def test_a_narrow_terminal_cuts_no_id(stored: dict[str, str | None], command: str, ids: str) -> None:
    lines = on_terminal(stored, 60, command, ALL).splitlines()
    assert {row[ids] for row in answer(stored, command, ALL)} <= {line.split("  ")[0] for line in lines}
    assert max(map(len, lines)) <= 80


def on_terminal(env: dict[str, str | None], columns: int, *arguments: str) -> str:
    """Run a command on a terminal so wide, and return what it shows."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    given = {name: value for name, value in {**os.environ, "TERM": "xterm", **env}.items() if value is not None}
    command = [str(Path(sys.executable).with_name("pytest-observer")), *arguments]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=given):
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError), open(ours, "rb", buffering=0) as stream:
            while part := stream.read(65_536):
                shown += part
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).replace("\r", "")


def test_markdown_has_counts_new_failures_and_changes(stored: dict[str, str | None]) -> None:
    text = ask(stored, "run", "latest", "--markdown").output
    counts = HISTORY.counts(HISTORY.latest[1])
    assert text.startswith(f"## ❌ {counts['collected']} tests: failure\n")
    assert f"| {counts['passed']} | {counts['failed']} | {counts['broken']} |" in text
    new = text.partition("### New failures (2)")[2].partition("###")[0]
    assert all(f"- `{nodeid}`: `'currency'`" in new for nodeid in PLANTED.newly_failing)
    assert ask(stored, "run", "latest", "--markdown", "--json").exit_code == 2


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a|b <i>", "`a|b <i>`"), ("a`b", "``a`b``"), ("`x", "`` `x ``"), ("a\nb", "`a b`"), (" ", "`(empty)`")],
)
def test_no_text_of_others_is_markup(text: str, shown: str) -> None:
    assert code(text) == shown


def test_errors_say_what_to_do(stored: dict[str, str | None], database: str, tmp_path: Path) -> None:
    assert "run pytest with --ch-url" in ask(stored, "runs", f"--ch-db={database}").output
    missing = ask(stored, "runs", f"--ch-url=chdb://{tmp_path}/none")
    assert (missing.exit_code, "no database is there" in missing.output) == (1, True)
    assert missing.output.count(f"chdb://{tmp_path}/none") == 1
    assert not (tmp_path / "none").exists()
    assert "create it" in ask(stored, "runs", "--ch-db=nonesuch").output
    assert ask(stored, "runs", "--since=yesterday").exit_code == 2
    assert ask({**stored, "PYTEST_OBSERVER_CH_URL": None}, "runs").exit_code == 2
    wrong = ask(stored, "runs", "--ch-password=wrong-one")
    assert (wrong.exit_code, "--ch-password" in wrong.output, "wrong-one" in wrong.output) == (1, True, False)


def test_a_time_is_ago_or_a_date() -> None:
    assert parse_since("2d", NOW_MS) == NOW_MS - 172_800_000
    assert parse_since("1970-01-02", NOW_MS) == 86_400_000
    with pytest.raises(ValueError, match="as in 30d"):
        parse_since("x", NOW_MS)


def _verdict(nodeid: str, phase: str = "call") -> Verdict:
    return Verdict(nodeid, "broken" if phase == "collect" else "passed", "", phase, False, 1, 0.1, "", "", "")


@pytest.mark.parametrize(
    ("unread", "hidden"),
    [
        ("a", {"a/test_x.py::test_1", "a/test_x.py.py::test_1", "a/b/test_x.py::test_1"}),
        ("a/b", {"a/b/test_x.py::test_1"}),
        ("a/b/__init__.py", {"a/b/test_x.py::test_1"}),
        ("a/test_x.py", {"a/test_x.py::test_1"}),
        ("ab/test_x.py::TestOne", {"ab/test_x.py::TestOne::test_1[a/b::c]"}),
        (".", None),
    ],
)
def test_what_stands_in_a_place_that_could_not_be_collected_has_not_vanished(
    unread: str, hidden: set[str] | None
) -> None:
    tests = {
        "a/test_x.py::test_1",
        "a/b/test_x.py::test_1",
        "ab/test_x.py::test_1",
        "ab/test_x.py::TestOne::test_1[a/b::c]",
        "a/test_x.py.py::test_1",
    }
    change = compare([_verdict(unread, "collect")], map(_verdict, tests), partial=False)
    assert set(change.vanished) == (set() if hidden is None else tests - hidden)


# --- the cells of a matrix share one id

# From service and variant to the tests that failed; all have the tests a, b and c, at the same time.
CELLS = {("shop", "py3.10"): "a", ("shop", "py3.14"): "b", ("mail", "py3.14"): ""}
EARLIER_CELLS = {("shop", "py3.10"): "a", ("shop", "py3.14"): "", ("mail", "py3.14"): ""}


def _cell(run_id: str, started: int, service: str, variant: str) -> dict[str, Any]:
    finished = started + 1000
    times = {"timestamp": str(finished), "started_at": started, "finished_at": finished}
    return {"run_id": run_id, "service": service, "variant": variant, "git_commit": run_id, **times}


@contextlib.contextmanager
def holding(
    server: ClickHouse, stored: dict[str, str | None], name: str, tables: dict[str, list[dict[str, Any]]]
) -> Iterator[dict[str, str | None]]:
    """Give the environment of a command that reads a database of its own, with the rows of ``tables`` in it."""
    database = f"{DATABASE}_{name}"
    server.execute(f"DROP DATABASE IF EXISTS {database}")
    server.execute(f"CREATE DATABASE {database}")
    for table in TABLES.values():
        server.execute(create_table(table, Place(database, "pytest_results")))
    for into, rows in tables.items():
        data = "\n".join(map(json.dumps, rows)).encode()
        server.execute(f"INSERT INTO {into} FORMAT JSONEachRow", data, database=database)
    yield {**stored, "PYTEST_OBSERVER_CH_DB": database}
    server.execute(f"DROP DATABASE {database} SYNC")


@pytest.fixture(scope="module")
def matrix(clickhouse_server: ClickHouse, stored: dict[str, str | None]) -> Iterator[dict[str, str | None]]:
    """The environment of a command that reads two pipelines, whose cells have one run id each."""
    results, runs = [], []
    for run_id, cells, started in (("ci-1", EARLIER_CELLS, NOW_MS - 90_000), ("ci-2", CELLS, NOW_MS - 60_000)):
        for of, failed in cells.items():
            cell = _cell(run_id, started, *of)
            runs.append({**cell, "status": "failure" if failed else "success", "collected": 3})
            verdicts = {test: "failed" if test in failed else "passed" for test in "abc"}
            results += [
                {**cell, "nodeid": test, "attempt": 1, "status": verdict, "outcome": verdict, "when_phase": "call"}
                for test, verdict in verdicts.items()
            ]
    tables = {"pytest_results": results, "pytest_results_runs": runs}
    with holding(clickhouse_server, stored, "matrix", tables) as environment:
        yield environment


def test_a_shared_run_id_asks_for_the_variant_and_names_what_there_is(matrix: dict[str, str | None]) -> None:
    for name in ("ci-2", "ci"):
        result = ask(matrix, "run", name)
        assert result.exit_code == 1
        assert all(f"ci-2 --service={service} --variant={variant}" in result.output for service, variant in CELLS)


@pytest.mark.parametrize(("variant", "failed"), [("py3.10", "a"), ("py3.14", "b")])
def test_a_cell_of_a_matrix_is_a_run_of_its_own(matrix: dict[str, str | None], variant: str, failed: str) -> None:
    found = answer(matrix, "run", "ci-2", f"--variant={variant}", "--service=shop")
    assert (found["run"]["variant"], found["previous"]["variant"], found["previous"]["run_id"]) == (
        variant,
        variant,
        "ci-1",
    )
    assert names(found["failures"]) == [failed]
    assert [test["attempts"] for test in found["slowest"]] == [1, 1, 1]
    assert found["changes"]["new_failures"] == (["b"] if variant == "py3.14" else [])
    assert found["changes"]["fixed"] == []


def test_the_history_of_a_test_has_each_cell(matrix: dict[str, str | None]) -> None:
    found = answer(matrix, "test", "a", "--service=shop")
    assert [(row["run_id"], row["variant"], row["verdict"]) for row in found["history"]] == [
        ("ci-2", "py3.10", "failed"),
        ("ci-2", "py3.14", "passed"),
        ("ci-1", "py3.10", "failed"),
        ("ci-1", "py3.14", "passed"),
    ]
    assert answer(matrix, "flaky") == []


_EMBEDDED = """
import sys
from click.testing import CliRunner
from pytest_test_observer._cli import main
for line in sys.stdin:
    print(CliRunner().invoke(main, line.split() + ["--json", "--ch-url=chdb://" + sys.argv[1]]).stdout, end="\\0")
"""


def test_the_embedded_engine_answers_the_same(stored: dict[str, str | None], tmp_path: Path) -> None:
    path = tmp_path / "observer.db"
    made = [sys.executable, "-m", "tests.history", f"--ch-url=chdb://{path}", "--tests=200", f"--now-ms={NOW_MS}"]
    subprocess.run(made, check=True, capture_output=True)
    asked = ["runs --since=100d", "run latest", "flaky --since=100d", f"test {PLANTED.broken[0]} --since=100d"]
    command = [sys.executable, "-c", _EMBEDDED, str(path)]
    done = subprocess.run(command, input="\n".join(asked), capture_output=True, text=True, check=True)
    answers = [json.loads(text) for text in done.stdout.split("\0")[:-1]]
    assert answers == [answer(stored, *line.split()) for line in asked]


# --- where answers go, and what stands in them

HOSTILE_ID = "t.py::test[\x1b[31mred\u202e\n[bold]x[/bold]\x07]" + "y" * 12_000


@pytest.fixture(scope="module")
def hostile(clickhouse_server: ClickHouse, stored: dict[str, str | None]) -> Iterator[dict[str, str | None]]:
    """The environment of a command that reads a run whose names and errors would like to rule the terminal."""
    run = {
        **_cell("r[red]", NOW_MS - 60_000, "shop", "v"),
        "status": "failure",
        "git_branch": "\x1b[2J",
    }
    verdict = {"attempt": 1, "status": "failed", "outcome": "failed", "when_phase": "call"}
    error = {"error_message": "\x1b]0;owned\x07 expected\n\tmore\x9b1m", "error_type": "E"}
    result = {**run, **verdict, **error, "nodeid": HOSTILE_ID}
    tables = {"pytest_results": [result], "pytest_results_runs": [run]}
    with holding(clickhouse_server, stored, "hostile", tables) as environment:
        yield environment


def test_no_name_and_no_error_rules_the_terminal(hostile: dict[str, str | None]) -> None:
    for arguments in (("runs",), ("run", "latest"), ("run", "latest", "--markdown"), ("slow",), ("test", "red")):
        shown = ask(hostile, *arguments).output
        assert not set(shown) & set("\x1b\x07\u202e\x9b"), arguments
        if arguments != ("runs",):
            assert r"\x1b[31mred\u202e [bold]x[/bold]\x07]" + "y" * 12_000 in shown, arguments
    assert answer(hostile, "run", "latest")["failures"][0]["nodeid"] == HOSTILE_ID


def test_an_encoding_without_unicode_is_no_error(hostile: dict[str, str | None]) -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    env = {name: value for name, value in {**os.environ, **hostile, **plain}.items() if value is not None}
    script = str(Path(sys.executable).with_name("pytest-observer"))
    done = subprocess.run([script, "test", "red"], env=env, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b".  median" in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
def test_an_answer_that_cannot_be_written_is_said_in_one_line(hostile: dict[str, str | None]) -> None:
    env = {name: value for name, value in {**os.environ, **hostile}.items() if value is not None}
    script = str(Path(sys.executable).with_name("pytest-observer"))
    with open("/dev/full", "wb") as full:
        done = subprocess.run([script, "runs"], env=env, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "Error: this cannot go on: No space left on device\n")
