"""The ClickHouse destination and its tables: made, migrated, or refused with what there is to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_test_observer._columns import EVENTS, RESULTS
from pytest_test_observer._destinations import Answer
from pytest_test_observer._destinations._tables import fit_tables
from pytest_test_observer._destinations.embedded import opened
from pytest_test_observer._destinations.schema import Place as SchemaPlace
from tests.clickhouse.kit import OLD_EVENTS, OLD_RESULTS, Place, batch, row

if TYPE_CHECKING:
    from pathlib import Path


def test_the_first_prepare_makes_the_tables_and_the_second_run_sends_no_ddl(ours: Place) -> None:
    assert ours.destination().prepare().answer is Answer.TAKEN
    made = {name for (name,) in ours.query(f"SELECT name FROM system.tables WHERE database = '{ours.database}'")}
    assert made == {"pytest_results", "pytest_results_events", "pytest_results_runs"}
    ours.server.reset()
    destination = ours.destination()
    assert destination.prepare().answer is Answer.TAKEN
    assert set(ours.statements()) == {"SELECT"}
    ours.server.reset()
    assert destination.prepare().answer is Answer.TAKEN
    assert ours.statements() == []
    assert destination.notes() == []


def test_preparing_costs_four_requests_once_the_tables_exist(ours: Place) -> None:
    ours.destination().prepare()
    ours.server.reset()
    ours.destination().prepare()
    assert len(ours.server.requests()) == 4


def test_tables_of_0_2_0_get_the_new_columns_and_keep_their_rows(place: Place) -> None:
    place.make([*OLD_RESULTS, "team String DEFAULT 'core'"])
    place.make(OLD_EVENTS, "pytest_results_events")
    place.run("INSERT INTO pytest_results (run_id, nodeid, timestamp) VALUES ('old', 'n', now64())")
    destination = place.destination()
    assert destination.send(batch([row()])).answer is Answer.TAKEN
    assert destination.notes() == []
    names = [name for name, *_ in place.query("DESCRIBE TABLE pytest_results")]
    assert names == [*RESULTS.column_names, "team"]
    events = [name for name, *_ in place.query("DESCRIBE TABLE pytest_results_events")]
    assert events == list(EVENTS.column_names)
    assert place.query("SELECT run_id, team FROM pytest_results ORDER BY run_id") == [
        ("old", "core"),
        ("r1", "core"),
    ]


def test_an_older_table_recognises_repeats_from_the_first_prepare_on(place: Place) -> None:
    place.make(OLD_RESULTS)
    destination = place.destination()
    for _ in range(3):
        assert destination.send(batch([row()])).answer is Answer.TAKEN
    assert place.count() == 1


def test_a_user_without_ddl_rights_is_enough_once_the_tables_exist(ours: Place) -> None:
    ours.destination().prepare()
    destination = ours.destination(user="inserter")
    assert destination.send(batch([row()])).answer is Answer.TAKEN
    assert destination.notes() == []


def test_without_the_right_to_create_the_message_holds_the_sql_for_an_administrator(ours: Place) -> None:
    reply = ours.destination(user="inserter").prepare()
    assert reply.answer is Answer.UNAVAILABLE
    assert reply.fatal
    sql = reply.message.partition("administrator: ")[2]
    for statement in sql.split("; "):
        ours.run(statement)
    assert ours.destination(user="inserter").send(batch([row()])).answer is Answer.TAKEN


def test_with_auto_migrate_off_nothing_is_written_and_the_message_holds_the_sql(ours: Place) -> None:
    ours.make(OLD_RESULTS)
    ours.server.reset()
    reply = ours.destination(auto_migrate=False).send(batch([row()]))
    assert (reply.answer, reply.fatal) == (Answer.UNAVAILABLE, True)
    assert "ALTER TABLE" in reply.message
    assert set(ours.statements()) == {"SELECT"}
    for statement in reply.message.partition("administrator: ")[2].split("; "):
        ours.run(statement)
    destination = ours.destination(auto_migrate=False)
    assert destination.send(batch([row()])).answer is Answer.TAKEN
    assert "MODIFY SETTING" in destination.notes()[0]  # rows go in, but repeats are not recognised


def test_without_the_right_to_alter_rows_go_in_and_one_note_says_what_is_missing(ours: Place) -> None:
    ours.destination().prepare()
    ours.run("ALTER TABLE pytest_results MODIFY SETTING non_replicated_deduplication_window = 0")
    destination = ours.destination(user="inserter")
    assert destination.send(batch([row()])).answer is Answer.TAKEN
    (note,) = destination.notes()
    assert "may be stored twice" in note
    ours.run(note.partition("This ends it: ")[2])
    assert destination.notes() == []
    assert ours.destination(user="inserter").prepare().answer is Answer.TAKEN


def test_a_column_of_another_type_stops_before_anything_is_written(place: Place) -> None:
    place.make([column.replace("status LowCardinality(String)", "status UInt8") for column in OLD_RESULTS])
    destination = place.destination()
    reply = destination.send(batch([row()]))
    assert (reply.answer, reply.fatal) == (Answer.UNAVAILABLE, True)
    assert "column `status` is UInt8, wanted LowCardinality(String)" in reply.message
    assert place.count() == 0
    assert len(place.query("DESCRIBE TABLE pytest_results")) == 19
    place.run(reply.message.partition("or run: ")[2])
    assert destination.send(batch([row()])).answer is Answer.TAKEN


def test_compatible_types_store_the_same_values(place: Place) -> None:
    place.destination().prepare()
    for change in (
        "status Nullable(String)",
        "ci_url LowCardinality(Nullable(String))",
        "allure_links Array(Tuple(type String, url String, name String))",
        "attributes Map(String, LowCardinality(String))",
    ):
        place.run(f"ALTER TABLE pytest_results MODIFY COLUMN {change}")
    assert place.destination().send(batch([row(ci_url="")])).answer is Answer.TAKEN
    (stored,) = place.query("SELECT status, ci_url, allure_links, attributes FROM pytest_results")
    assert stored == ("passed", "", [["issue", "http://x", "X-1"]], {"k": "v"})


def test_a_time_zone_on_the_column_does_not_move_the_instant(place: Place) -> None:
    columns = [column.replace("DateTime64(3)", "DateTime64(3, 'Asia/Tokyo')") for column in OLD_RESULTS]
    place.make(columns)
    assert place.destination().send(batch([row(7)])).answer is Answer.TAKEN
    assert place.query("SELECT toUnixTimestamp64Milli(timestamp) FROM pytest_results") == [(1738367999007,)]


def test_a_table_that_vanished_is_made_again_with_the_next_batch(place: Place) -> None:
    destination = place.destination()
    destination.prepare()
    place.run("DROP TABLE pytest_results SYNC")
    reply = destination.send(batch([row()]))
    assert (reply.answer, reply.fatal) == (Answer.UNAVAILABLE, False)
    assert destination.send(batch([row()])).answer is Answer.TAKEN
    assert place.count() == 1


def test_a_user_who_is_read_only_is_told_before_any_ddl(tmp_path: Path) -> None:
    with opened(str(tmp_path / "db")) as client:
        client.server_settings["readonly"] = client.server_settings["readonly"]._replace(value="1")
        reply = fit_tables(client, SchemaPlace("default", "t"), auto_migrate=True, note=print)
        assert (reply.answer, reply.fatal) == (Answer.UNAVAILABLE, True)
        assert "--ch-user" in reply.message
        assert client.command("SELECT count() FROM system.tables WHERE database = 'default'") == 0
