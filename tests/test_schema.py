"""What SQL the tables need: pure functions, and the engine's opinion of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_test_observer._columns import EVENTS, RESULTS, RUNS, TABLES, Table
from pytest_test_observer._destinations._types import canonical, compatible
from pytest_test_observer._destinations.schema import (
    Found,
    FoundColumn,
    Place,
    Plan,
    create_table,
    one_line,
    plan,
)

if TYPE_CHECKING:
    from collections.abc import Callable

PLACE = Place("db", "t")
WINDOW = "non_replicated_deduplication_window"
GUARDED = f"MergeTree ORDER BY x SETTINGS index_granularity = 8192, {WINDOW} = 10000"
NOTHING = Plan([], [], [], [])


def as_documented(table: Table, **changes: FoundColumn) -> Found:
    columns = {column.name: FoundColumn(column.type) for column in table.columns}
    return Found("MergeTree", GUARDED, {**columns, **changes})


def existing(results: Found) -> dict[str, Found]:
    return {"results": results, "events": as_documented(EVENTS), "runs": as_documented(RUNS)}


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ("String", "LowCardinality(String)"),
        ("LowCardinality(Nullable(String))", "String"),
        ("Map(String, String)", "Map(LowCardinality(String), String)"),
        ("Array(LowCardinality(String))", "Array(Nullable(String))"),
        ("DateTime64(3, 'Europe/Berlin')", "DateTime64(3)"),
        ("DateTime64( 3 )", "DateTime64(3)"),
        ("Array(Tuple(type String, url String, `link name` String))", "Array(Tuple(String, String, String))"),
        ("Map(String,Array( String ))", "Map(String, Array(String))"),
    ],
)
def test_types_that_hold_the_same_values_are_compatible(found: str, wanted: str) -> None:
    assert compatible(found, wanted)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ("Int64", "UInt64"),
        ("DateTime", "DateTime64(3)"),
        ("DateTime64(6)", "DateTime64(3)"),
        ("UInt8", "Bool"),
        ("Enum8('passed' = 1, 'failed' = 2)", "LowCardinality(String)"),
        ("FixedString(16)", "String"),
        ("Array(String)", "String"),
        ("Array(Tuple(String, String))", "Array(Tuple(String, String, String))"),
    ],
)
def test_types_that_hold_other_values_are_not_compatible(found: str, wanted: str) -> None:
    assert not compatible(found, wanted)


def test_every_type_of_ours_is_understood_and_not_merely_compared_as_text() -> None:
    types = {column.type for table in TABLES.values() for column in table.columns}
    assert {canonical(type_) for type_ in types} & {"Array(Tuple(String,String,String))", "DateTime64(3)"}
    assert not any("LowCardinality" in canonical(type_) for type_ in types)


def test_a_text_that_is_no_type_is_compared_as_it_is() -> None:
    assert canonical("Tuple(String,") == "Tuple(String,"
    assert canonical("") == ""


def test_nothing_is_done_to_tables_as_documented() -> None:
    assert plan(existing(as_documented(RESULTS)), PLACE) == NOTHING


def test_compatible_types_and_columns_of_the_user_are_left_alone() -> None:
    found = as_documented(RESULTS, status=FoundColumn("String"), team=FoundColumn("String", "DEFAULT"))
    assert plan(existing(found), PLACE) == NOTHING


def test_every_missing_table_is_made() -> None:
    statements = plan({}, PLACE).statements
    assert statements == [create_table(table, PLACE) for table in TABLES.values()]


def test_a_statement_for_people_is_one_line_with_quoted_names() -> None:
    sql = one_line(create_table(RUNS, PLACE))
    assert sql.startswith("CREATE TABLE IF NOT EXISTS `db`.`t_runs` (`run_id` String, `timestamp`")
    assert sql.endswith("PARTITION BY toYYYYMM(timestamp) SETTINGS non_replicated_deduplication_window = 10000")


def test_ddl_runs_on_the_cluster_that_was_named() -> None:
    assert "`t` ON CLUSTER `main`\n(" in create_table(RESULTS, Place("db", "t", "main"))


def test_missing_columns_are_added_in_one_statement_after_the_one_before_them() -> None:
    found = as_documented(RESULTS)
    columns = {name: column for name, column in found.columns.items() if name not in {"run_id", "file", "line"}}
    (statement,) = plan(existing(found._replace(columns=columns)), PLACE).statements
    assert one_line(statement) == (
        "ALTER TABLE `db`.`t` ADD COLUMN IF NOT EXISTS `run_id` String FIRST, "
        "ADD COLUMN IF NOT EXISTS `file` LowCardinality(String) AFTER `change_id`, "
        "ADD COLUMN IF NOT EXISTS `line` UInt32 AFTER `file`"
    )


def test_a_column_of_another_type_is_a_conflict_with_two_ways_out() -> None:
    found = as_documented(RESULTS, status=FoundColumn("Enum8('passed' = 1)"))
    (conflict,) = plan(existing(found), PLACE).conflicts
    assert "`db`.`t`: column `status` is Enum8('passed' = 1), wanted LowCardinality(String)" in conflict
    assert "nothing was written" in conflict
    assert "choose another --ch-table" in conflict
    assert conflict.endswith("ALTER TABLE `db`.`t` MODIFY COLUMN `status` LowCardinality(String)")


def test_a_column_of_the_key_cannot_be_altered_so_no_sql_says_so() -> None:
    clauses = "MergeTree PARTITION BY toYYYYMM(timestamp) ORDER BY (nodeid, timestamp)"
    columns = {"timestamp": FoundColumn("DateTime64(6)"), "status": FoundColumn("UInt8")}
    found = as_documented(RESULTS, **columns)._replace(engine_full=f"{clauses} SETTINGS {WINDOW} = 10000")
    (conflict,) = plan(existing(found), PLACE).conflicts
    assert conflict.endswith("Rename or drop the table or choose another --ch-table.")


@pytest.mark.parametrize("kind", ["ALIAS 'x'", "MATERIALIZED 'x'", "EPHEMERAL"])
def test_the_sql_that_a_message_shows_makes_a_computed_column_ours(
    kind: str, database: str, query: Callable[[str], list[tuple[Any, ...]]]
) -> None:
    place = Place(database, "t")
    query(
        create_table(RESULTS, place).replace("`ci_url` String", f"`ci_url` String {kind}").replace("UInt32", "UInt64")
    )

    def conflicts() -> list[str]:
        columns = query(f"SELECT name, type, default_kind FROM system.columns WHERE database = '{database}'")
        found = Found("MergeTree", GUARDED, {name: FoundColumn(*rest) for name, *rest in columns})
        return plan(existing(found), place).conflicts

    (conflict,) = conflicts()
    query(conflict.partition("or run: ")[2])
    assert conflicts() == []


@pytest.mark.parametrize("kind", ["ALIAS", "MATERIALIZED", "EPHEMERAL"])
def test_a_computed_column_with_a_name_of_ours_is_a_conflict(kind: str) -> None:
    (conflict,) = plan(existing(as_documented(RESULTS, file=FoundColumn("String", kind))), PLACE).conflicts
    assert f"column `file` is {kind}" in conflict


def test_a_view_is_a_conflict_because_it_takes_no_rows() -> None:
    (conflict,) = plan(existing(as_documented(RESULTS)._replace(engine="View")), PLACE).conflicts
    assert "is a View, which takes no rows" in conflict


def test_a_table_of_somebody_else_gets_no_columns_of_ours() -> None:
    found = Found("MergeTree", GUARDED, {"email": FoundColumn("String")})
    result = plan(existing(found), PLACE)
    assert not result.statements
    assert "somebody else's" in result.conflicts[0]


def test_a_distributed_table_is_taken_as_it_is_but_not_altered() -> None:
    found = as_documented(RESULTS)._replace(engine="Distributed", engine_full="Distributed('c', 'db', 'local')")
    assert plan(existing(found), PLACE) == NOTHING
    columns = {name: column for name, column in found.columns.items() if name != "line"}
    result = plan(existing(found._replace(columns=columns)), PLACE)
    assert not result.statements
    assert "the table behind it" in result.conflicts[0]


@pytest.mark.parametrize("settings", ["", "SETTINGS index_granularity = 8192", f"SETTINGS {WINDOW} = 0"])
def test_a_table_that_forgets_inserts_is_told_to_remember_them(settings: str) -> None:
    found = as_documented(RESULTS)._replace(engine_full=f"MergeTree ORDER BY x {settings}")
    result = plan(existing(found), PLACE)
    assert result.guards == [f"ALTER TABLE `db`.`t` MODIFY SETTING {WINDOW} = 10000"]
    assert not result.statements


@pytest.mark.parametrize("engine", ["ReplicatedMergeTree", "SharedReplacingMergeTree", "Null"])
def test_engines_that_remember_by_themselves_or_store_nothing_are_left_alone(engine: str) -> None:
    found = as_documented(RESULTS)._replace(engine=engine, engine_full=engine)
    assert plan(existing(found), PLACE) == NOTHING


def test_an_engine_that_cannot_recognise_repeats_is_said_once() -> None:
    result = plan(existing(as_documented(RESULTS)._replace(engine="Log", engine_full="Log")), PLACE)
    assert [note for note in result.notes if "is a Log table" in note]
    assert not result.statements


def test_the_engine_shows_each_column_with_a_type_that_is_compatible(
    database: str,
    query: Callable[[str], list[tuple[Any, ...]]],
    clickhouse_server: Any,
) -> None:
    for table in TABLES.values():
        clickhouse_server.execute(create_table(table, Place(database, "t")))
        where = f"database = '{database}' AND table = '{table.name('t')}'"
        shown = query(f"SELECT name, type FROM system.columns WHERE {where}")
        assert [name for name, _ in shown] == list(table.column_names)
        assert all(compatible(type_, column.type) for (_, type_), column in zip(shown, table.columns, strict=True))
