"""``pytest-observer doctor``: what is wrong with a set-up is found, and what a run would do is what it says."""

from __future__ import annotations

import json
import sys
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


@pytest.mark.parametrize("command", ["doctor", "runs"])
def test_a_missing_engine_is_named_before_a_missing_database(
    env: Env, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setitem(sys.modules, "chdb", None)  # as where it is not installed
    result = CliRunner().invoke(main, [command, f"--ch-url=chdb://{tmp_path}/none"], env=env)
    assert result.exit_code == 1
    assert "pip install 'pytest-test-observer[embedded]'" in result.output
