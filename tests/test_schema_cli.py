"""``pytest-observer schema``: what it prints is what the engine takes, what it applies can be repeated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from pytest_test_observer._cli import main
from pytest_test_observer._columns import TABLES
from pytest_test_observer._destinations.schema import Place, create_table
from pytest_test_observer._settings import SETTINGS
from pytest_test_observer._views.layout import Layout, create_tables, parse_ttl, statements
from tests.parity import NAMES, counts
from tests.spans_kit import Hostile, exported, request, span_of_run, spans_of_test

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers.client import ClickHouse

    Query = Callable[[str], list[tuple[Any, ...]]]

SCHEMA = Path(__file__).parents[1] / "otel-collector" / "schema" / "observer.sql"
UNSET = {row.env: None for row in SETTINGS}
ALL = {*NAMES, "otel_traces", "otel_traces_trace_id_ts"}
VIEWS = {f"{name}_mv" for name in (*NAMES, "otel_traces_trace_id_ts")}


def run(*arguments: str, **env: str) -> Result:
    return CliRunner().invoke(main, ["schema", *arguments], env={**UNSET, **env})


@pytest.fixture
def apply(clickhouse_server: ClickHouse, database: str) -> Callable[..., Result]:
    """Run ``schema apply`` on the test's database."""
    server = clickhouse_server
    env = {"PYTEST_OBSERVER_CH_USER": server.user, "PYTEST_OBSERVER_CH_PASSWORD": server.password}
    return lambda *arguments: run("apply", f"--ch-url={server.url}", f"--ch-db={database}", *arguments, **env)


def test_the_file_of_the_repository_is_what_is_printed() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == run("print").output, "run: make docs"


def test_the_documented_tables_are_those_of_direct_mode() -> None:
    place = Place("db", "t")
    printed = statements(Layout(place))
    assert printed[:3] == [create_table(table, place) for table in TABLES.values()]


def test_apply_makes_tables_and_views_and_can_be_repeated(apply: Callable[..., Result], query: Query) -> None:
    for _ in range(2):
        result = apply()
        assert (result.exit_code, result.output.startswith("The schema is complete on http://")) == (0, True)
    assert {name for (name,) in query("SHOW TABLES")} == ALL | VIEWS


def test_apply_brings_tables_and_views_of_an_older_version_up_to_this_one(
    apply: Callable[..., Result], clickhouse_server: ClickHouse, database: str, query: Query
) -> None:
    apply()
    for sql in (
        "ALTER TABLE pytest_results_mv MODIFY QUERY SELECT SpanAttributes['pytest.nodeid'] AS nodeid FROM otel_traces",
        "ALTER TABLE pytest_results DROP COLUMN error_type, DROP COLUMN attempt",
    ):
        clickhouse_server.execute(sql, database=database)
    assert apply().exit_code == 0
    hostile = Hostile(1)
    test = hostile.test(0)
    rows = exported(request(hostile.context, spans_of_test(test)))
    sql = "INSERT INTO otel_traces FORMAT JSONEachRow"
    clickhouse_server.execute(sql, rows, database=database)
    assert query("SELECT attempt, error_type FROM pytest_results") == [(test.attempt, test.error_type)]


def test_apply_has_tables_that_the_exporter_made_itself_remember_inserts(
    apply: Callable[..., Result], clickhouse_server: ClickHouse, database: str, query: Query
) -> None:
    for statement in create_tables(Layout(Place(database, "pytest_results")))[3:]:
        clickhouse_server.execute(statement.replace("non_replicated_deduplication_window = 10000, ", ""))
    assert apply().exit_code == 0
    settings = "SELECT countIf(engine_full LIKE '%deduplication_window = 10000%') FROM system.tables WHERE database = "
    assert query(f"{settings}'{database}' AND name LIKE 'otel_%'") == [(2,)]


def test_two_tables_can_be_fed_by_the_same_spans(
    apply: Callable[..., Result], clickhouse_server: ClickHouse, database: str, query: Query
) -> None:
    for table in ("pytest_results", "other"):
        assert apply(f"--ch-table={table}").exit_code == 0
    hostile = Hostile(1)
    rows = exported(request(hostile.context, [span_of_run(hostile.run([]))]))
    sql = "INSERT INTO otel_traces FORMAT JSONEachRow"
    clickhouse_server.execute(sql, rows, database=database)
    assert query("SELECT count() FROM other_runs") == [(1,)]
    assert counts(clickhouse_server, database)["pytest_results_runs"] == 1


def test_rows_live_as_long_as_the_last_apply_says(apply: Callable[..., Result], query: Query) -> None:
    clauses = "SELECT name, engine_full LIKE '%TTL%toIntervalDay(30)%' FROM system.tables WHERE "
    clauses += "database = currentDatabase() AND engine = 'MergeTree'"
    for ttl in ("--ttl=90 DAY", "--ttl=30 days"):
        assert apply(ttl).exit_code == 0
    assert dict(query(clauses)) == dict.fromkeys(ALL, 1)
    assert apply().exit_code == 0
    assert dict(query(clauses)) == dict.fromkeys(ALL, 1)


@pytest.mark.parametrize("given", ["90", "DAY", "0 DAY", "90 DAY; DROP TABLE t", "1.5 DAY", "-1 DAY", "90 FORTNIGHT"])
def test_an_interval_that_is_none_is_a_usage_error(given: str) -> None:
    result = run("print", f"--ttl={given}")
    assert result.exit_code == 2
    assert "as in '90 DAY'" in result.output


@pytest.mark.parametrize("given", ["51 YEAR", "99999 MONTH", "9999 WEEK"])
def test_an_interval_beyond_the_engines_time_would_delete_rows_at_once_and_is_refused(given: str) -> None:
    result = run("print", f"--ttl={given}")
    assert result.exit_code == 2
    assert "at most 50 years" in result.output


def test_the_longest_interval_keeps_rows(database: str, query: Query) -> None:
    table = f"{database}.kept"
    (ttl,) = {
        line for line in run("print", "--ttl=50 YEAR").output.splitlines() if line.startswith("TTL toDateTime(time")
    }
    query(f"CREATE TABLE {table} (timestamp DateTime64(3)) ENGINE = MergeTree ORDER BY () {ttl}")
    query(f"INSERT INTO {table} SELECT now64(3)")
    assert query(f"SELECT count() FROM {table}") == [(1,)]


def test_apply_without_a_server_says_what_to_give() -> None:
    result = run("apply")
    assert (result.exit_code, "give --ch-url" in result.output) == (2, True)


def test_what_a_server_refuses_is_said_without_the_password(controllable_clickhouse: ClickHouse, database: str) -> None:
    server = controllable_clickhouse
    env = {"PYTEST_OBSERVER_CH_USER": "reader", "PYTEST_OBSERVER_CH_PASSWORD": server.password}
    result = run("apply", f"--ch-url={server.url}", f"--ch-db={database}", **env)
    assert result.exit_code == 1
    assert "lacks a right, it needs GRANT" in result.output
    assert server.password not in result.output


CLUSTER = Layout(Place("db", "t", "main"), parse_ttl("1 year"))


def test_the_engine_can_read_what_is_for_a_cluster(clickhouse_server: ClickHouse) -> None:
    for statement in statements(CLUSTER):
        assert clickhouse_server.query(f"EXPLAIN AST {statement}")


def test_on_a_cluster_a_view_reads_and_writes_its_own_shard() -> None:
    views = [statement for statement in statements(CLUSTER) if "MATERIALIZED" in statement]
    assert len(views) == 4
    for view in views:
        assert "_local`\nAS " in view
        assert "FROM `db`.`otel_traces_local`" in view


def test_on_a_cluster_each_statement_names_it() -> None:
    printed = run("print", "--cluster=main", "--ch-db=db", "--ch-table=t", "--ttl=1 YEAR").output
    assert printed == ";\n\n".join(statements(CLUSTER)) + ";\n"
    assert printed.count(" ON CLUSTER `main`") == 5 + 5 + 4
    assert printed.count("ENGINE = ReplicatedMergeTree\n") == 5
    assert printed.count("ENGINE = Distributed(`main`, `db`, ") == 5
    assert "non_replicated_deduplication_window" not in printed
