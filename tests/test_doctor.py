"""``pytest-observer doctor``: what is wrong with a set-up is found, and what a run would do is what it says."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
import tempfile
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from click.testing import CliRunner, Result

from pytest_test_observer._cli import main
from pytest_test_observer._columns import TABLES
from pytest_test_observer._destinations.schema import Place, create_table
from pytest_test_observer._settings import SETTINGS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.client import ClickHouse

Env: TypeAlias = "dict[str, str | None]"


@pytest.fixture
def env(clickhouse_server: ClickHouse, database: str, tmp_path: Path) -> Env:
    """The environment of a command that looks at a database of its own, which is empty."""
    given = {
        "PYTEST_OBSERVER_CH_URL": clickhouse_server.url,
        "PYTEST_OBSERVER_CH_USER": clickhouse_server.user,
        "PYTEST_OBSERVER_CH_PASSWORD": clickhouse_server.password,
        "PYTEST_OBSERVER_CH_DB": database,
        "XDG_CACHE_HOME": str(tmp_path),
    }
    return {**{row.env: None for row in SETTINGS}, **given}


@pytest.fixture
def made(clickhouse_server: ClickHouse, database: str) -> None:
    """The tables, in that database."""
    for table in TABLES.values():
        clickhouse_server.execute(create_table(table, Place(database, "pytest_results")))


def ask(env: Env, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["doctor", *arguments], env=env)


def answer(env: Env) -> Any:
    return json.loads(ask(env, "--json").stdout)


@pytest.mark.usefixtures("made")
def test_doctor_finds_nothing_wrong_and_shows_no_secret(env: Env) -> None:
    found = answer(env)
    assert {finding["state"] for finding in found["findings"]} == {"good"}
    sources = {row["name"]: (row["value"], row["source"]) for row in found["settings"]}
    assert sources["ch_password"] == ("***", "env")
    assert sources["ch_table"] == ("pytest_results", "default")
    assert str(env["PYTEST_OBSERVER_CH_PASSWORD"]) not in ask(env).output


def test_doctor_names_a_missing_column_and_the_statement_that_adds_it(
    clickhouse_server: ClickHouse, database: str, env: Env
) -> None:
    clickhouse_server.execute(
        f"CREATE TABLE {database}.pytest_results_runs (run_id String) ENGINE=MergeTree ORDER BY ()"
    )
    result = ask(env)
    assert result.exit_code == 1
    assert "pytest_results_runs.variant" in result.output
    assert "ADD COLUMN IF NOT EXISTS `variant`" in result.output
    assert "non_replicated_deduplication_window" in result.output


@pytest.mark.parametrize(
    ("existing", "said"),
    [
        (
            "CREATE TABLE {} (run_id String, status Int32) ENGINE = MergeTree ORDER BY ()",
            ("column `status` is Int32, wanted LowCardinality(String)", "another --ch-table, or run: ALTER TABLE"),
        ),
        ("CREATE VIEW {} AS SELECT 'x' AS run_id", ("is a View, which takes no rows", "Rename it or choose another")),
        ("CREATE TABLE {} (own String) ENGINE = MergeTree ORDER BY ()", ("somebody else's", "Rename it or choose")),
    ],
    ids=["type", "view", "other"],
)
def test_doctor_says_of_a_table_that_does_not_fit_what_a_run_says(
    clickhouse_server: ClickHouse,
    database: str,
    env: Env,
    existing: str,
    said: tuple[str, ...],
) -> None:
    clickhouse_server.execute(existing.format(f"{database}.pytest_results"))
    result = ask(env)
    assert result.exit_code == 1
    assert all(text in result.output for text in said)
    assert "nothing was written" in result.output
    assert "next run" not in result.output


def test_doctor_does_not_promise_what_auto_migrate_would_do(env: Env) -> None:
    assert "The next run of pytest adds them" in ask(env).output
    result = ask(env, "--ch-auto-migrate=false")
    assert (result.exit_code, "until an administrator runs: CREATE TABLE" in result.output) == (1, True)


def test_doctor_does_not_call_rights_good_that_the_server_does_not_tell(
    clickhouse_server: ClickHouse, database: str, env: Env
) -> None:
    if not clickhouse_server.controllable:
        pytest.skip("this server does as it pleases")
    clickhouse_server.fail(400, len(TABLES) * 2, keyword="CHECK")
    [rights] = [finding for finding in answer(env)["findings"] if finding["about"] == "rights"]
    assert rights["state"] == "note"
    assert (
        f"not known: the server does not answer CHECK GRANT SELECT ON `{database}`.`pytest_results`" in rights["text"]
    )
    assert "SHOW GRANTS" in rights["remedy"]


def test_doctor_says_what_does_not_answer_and_what_is_kept(env: Env, tmp_path: Path) -> None:
    buffers = tmp_path / "pytest-test-observer"
    buffers.mkdir()
    (buffers / "run.jsonl").write_text('{"run_id": "r", "nodeid": "n", "status": "passed"}\n')
    result = ask(env, "--ch-url=127.0.0.1:1")
    assert result.exit_code == 1
    assert "cannot connect (Connection refused)" in result.output
    assert "1 run, 1 row, " in result.output
    assert "pytest-observer replay" in result.output


def about(env: Env, subject: str, *arguments: str) -> Any:
    """The one finding about ``subject``: one thing that is wrong is told once."""
    [found] = [row for row in json.loads(ask(env, "--json", *arguments).stdout)["findings"] if row["about"] == subject]
    return found


def test_doctor_tells_once_which_tables_do_not_recognise_repeats(
    clickhouse_server: ClickHouse, database: str, env: Env
) -> None:
    for table in TABLES.values():
        made = create_table(table, Place(database, "pytest_results"))
        clickhouse_server.execute(made.partition("\nSETTINGS")[0])  # as version 0.2.0 made them
    found = about(env, "tables")
    names = [f"`{database}`.`pytest_results{ending}`" for ending in ("", "_events", "_runs")]
    assert (found["state"], found["text"].endswith(f": {', '.join(names)}")) == ("bad", True)
    assert found["remedy"].startswith(
        "The next run of pytest changes that (ch_auto_migrate), or an administrator does: "
    )
    assert found["remedy"].count("MODIFY SETTING") == len(TABLES)


def test_doctor_counts_what_a_replay_would_send_and_nothing_else(
    env: Env, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    off, buffers = {**env, "PYTEST_OBSERVER_CH_URL": ""}, tmp_path / "pytest-test-observer"
    buffers.mkdir()
    (buffers / "notes.jsonl").write_text('{"somebody": "else"}\n')
    assert about(off, "kept on disk")["text"] == "nothing that can be sent now"
    # one run of version 0.2.0
    (buffers / "run.jsonl").write_text('{"run_id": "r", "nodeid": "n", "status": "passed"}\n')
    (buffers / "run_events.jsonl").write_text('{"run_id": "r", "nodeid": "n", "event_name": "e", "payload": {}}\n')
    assert about(off, "kept on disk")["text"].startswith("1 run, 2 rows, ")
    really_scan = os.scandir

    def scan(path: Any) -> Any:
        if path == str(buffers):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return really_scan(path)

    monkeypatch.setattr(os, "scandir", scan)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    lines = ask(off).output.splitlines()
    assert f"note  kept on disk: {buffers} cannot be read: Is a directory" in lines
    assert not [line for line in lines if " 0 rows" in line or "runs," in line]


def test_doctor_takes_the_flags_of_pytest_and_does_not_judge_ini_files(env: Env) -> None:
    off = {**env, "PYTEST_OBSERVER_CH_URL": "", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    found = about(off, "OpenTelemetry", "--otlp")
    assert (found["state"], found["text"]) == ("bad", "http://127.0.0.1:1 does not answer (Connection refused)")
    assert "ini files of pytest are not read here" in about(off, "destination")["text"]
    assert {row.flag for row in SETTINGS} <= set(re.findall(r"--[a-z-]+", ask(off, "--help").output))


def test_doctor_knows_an_embedded_database_that_no_run_can_make(env: Env, tmp_path: Path) -> None:
    pytest.importorskip("chdb", reason="needs chdb")
    (tmp_path / "file").write_text("")
    found = about(env, "connection", f"--ch-url=chdb://{tmp_path}/file/observer.db")
    assert (found["state"], f"none can be made in {tmp_path}/file" in found["text"]) == ("bad", True)
    found = about(env, "connection", f"--ch-url=chdb://{tmp_path}/new/observer.db")
    assert (found["state"], found["remedy"]) == ("note", "The first run of pytest with --ch-url makes it.")


@pytest.mark.parametrize("command", ["doctor", "runs"])
def test_a_missing_engine_is_named_before_a_missing_database(
    env: Env, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setitem(sys.modules, "chdb", None)  # as where it is not installed
    result = CliRunner().invoke(main, [command, f"--ch-url=chdb://{tmp_path}/none"], env=env)
    assert result.exit_code == 1
    assert "pip install 'pytest-test-observer[embedded]'" in result.output
    assert "start the server" not in result.output
