"""The ClickHouse destination against a server over a socket and against the embedded engine."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pytest_test_observer._columns import EVENTS, RESULTS, TABLES
from pytest_test_observer._destinations import Answer, Batch, Unanswered
from pytest_test_observer._destinations._answers import reply_to, shorten, without_secrets
from pytest_test_observer._destinations._tables import fit_tables
from pytest_test_observer._destinations.clickhouse import ClickHouseDestination
from pytest_test_observer._destinations.embedded import EmbeddedError, opened
from pytest_test_observer._destinations.schema import Place as SchemaPlace
from pytest_test_observer._destinations.settings import ClickHouseSettings
from tests.servers.client import embedded_query
from tests.servers.faulty import faulty

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.servers.client import ClickHouse

    Query = Callable[[str], list[tuple[Any, ...]]]

SRC = os.path.join(os.path.dirname(__file__), os.pardir, "src")
# The tables of 0.2.0, as its source has them.
OLD_RESULTS = [f"{column.name} {column.type}" for column in RESULTS.columns[:19]]
OLD_EVENTS = [
    "run_id String",
    "nodeid String",
    "timestamp DateTime64(3)",
    "seq UInt32",
    "event_name LowCardinality(String)",
    "payload Map(String, String)",
]


def row(number: int = 0, **values: object) -> dict[str, object]:
    return {
        "run_id": "r1",
        "nodeid": f"tests/test_a.py::test_it['{number}\\n]",
        "timestamp": f"2025-01-31T23:59:59.{number % 1000:03d}+00:00",
        "status": "passed",
        "span_id": f"{number:016x}",
        "duration": 0.1,
        "allure_links": [["issue", "http://x", "X-1"]],
        "attributes": {"k": "v"},
        **values,
    }


def batch(rows: Sequence[Mapping[str, object]], token: str = "token", table: str = "results") -> Batch:
    return Batch(table, b"".join(msgspec.json.encode(each) + b"\n" for each in rows), len(rows), token)


class Place:
    """A database that only one test uses, on the server of the tests."""

    def __init__(self, server: ClickHouse, database: str, query: Query) -> None:
        self.server = server
        self.database = database
        self.query = query
        self._opened = contextlib.ExitStack()

    def settings(self, **changes: Any) -> ClickHouseSettings:
        server = self.server
        settings = ClickHouseSettings(
            host=server.host,
            port=server.port,
            user=server.user,
            password=server.password,
            database=self.database,
            read_timeout_s=5,
        )
        return msgspec.structs.replace(settings, **changes)

    def destination(self, **changes: Any) -> ClickHouseDestination:
        destination = ClickHouseDestination(self.settings(**changes))
        self._opened.callback(destination.close)
        return destination

    def make(self, columns: list[str], name: str = "pytest_results", engine: str = "MergeTree") -> None:
        """Make a table with its key, as 0.2.0 did."""
        key = " ORDER BY (nodeid, timestamp) PARTITION BY toYYYYMM(timestamp)" if "MergeTree" in engine else ""
        self.run(f"CREATE TABLE {name} ({', '.join(columns)}) ENGINE = {engine}{key}")

    def run(self, sql: str) -> None:
        self.server.execute(sql, database=self.database)

    def statements(self) -> list[str]:
        """What the server was asked to do, by its first word."""
        return [request["statement"].split()[0] for request in self.server.requests()]

    def count(self, table: str = "pytest_results") -> int:
        return int(self.query(f"SELECT count() FROM {table}")[0][0])

    def close(self) -> None:
        self._opened.close()


@pytest.fixture
def place(clickhouse_server: ClickHouse, database: str, query: Query) -> Iterator[Place]:
    with contextlib.closing(Place(clickhouse_server, database, query)) as place:
        yield place


@pytest.fixture
def ours(place: Place, controllable_clickhouse: ClickHouse) -> Place:
    """The same, where the server is one that tests control."""
    return place


# --- tables ------------------------------------------------------------------


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


# --- rows --------------------------------------------------------------------


def test_a_batch_is_one_insert_with_its_token_never_asynchronous_and_compressed(ours: Place) -> None:
    destination = ours.destination()
    destination.prepare()
    ours.server.reset()
    large = batch([row(number, error_stacktrace="x" * 300) for number in range(10_000)], token="t-1")
    assert destination.send(large).answer is Answer.TAKEN
    (request,) = ours.server.requests()
    assert request["params"]["insert_deduplication_token"] == "t-1"
    assert request["params"]["async_insert"] == "0"
    assert "session_id" not in request["params"]
    assert request["body_bytes"] < len(large.data) / 5
    assert ours.count() == 10_000


def test_a_full_batch_stays_one_block_so_that_its_repeat_is_recognised(place: Place) -> None:
    destination = place.destination()
    large = batch([row(number, error_stacktrace="x" * 400) for number in range(10_000)])
    assert len(large.data) > 4_000_000
    destination.prepare()
    place.run("SYSTEM STOP MERGES pytest_results")
    assert destination.send(large).answer is Answer.TAKEN
    where = f"database = '{place.database}' AND table = 'pytest_results' AND active"
    assert place.query(f"SELECT rows FROM system.parts WHERE {where}") == [(10_000,)]
    assert destination.send(large).answer is Answer.TAKEN
    assert place.count() == 10_000


def test_one_row_may_be_larger_than_a_batch(place: Place) -> None:
    huge = batch([row(error_message="é" * 8_000_000)])
    assert place.destination().send(huge).answer is Answer.TAKEN
    assert place.query("SELECT lengthUTF8(error_message) FROM pytest_results") == [(8_000_000,)]


def test_rows_of_many_years_go_in_with_one_batch(place: Place) -> None:
    rows = [
        row(year, timestamp=f"{1980 + year}-{month:02d}-01T00:00:00.000+00:00")
        for year in range(20)
        for month in range(1, 13)
    ]
    assert place.destination().send(batch(rows)).answer is Answer.TAKEN
    assert place.count() == 240


def test_rows_of_older_and_newer_versions_go_in_with_the_columns_that_fit(place: Place) -> None:
    old: dict[str, object] = {"run_id": "r", "nodeid": "n", "timestamp": "2025-01-01T00:00:00.000+00:00"}
    rows = [old, row(novelty="x")]
    assert place.destination().send(batch(rows)).answer is Answer.TAKEN
    assert place.count() == 2


@pytest.mark.parametrize("bad", [b'{"nodeid": "n", "duration": "soon"}\n', b'{"timestamp": "never"}\n', b'{"a\n'])
def test_a_row_that_cannot_be_read_is_refused_and_nothing_of_its_batch_is_stored(place: Place, bad: bytes) -> None:
    good = batch([row()])
    reply = place.destination().send(good._replace(data=good.data + bad, rows=2))
    assert reply.answer is Answer.REFUSED
    assert "\n" not in reply.message
    assert len(reply.message) <= 300
    assert place.count() == 0


def test_events_and_runs_go_into_their_tables(place: Place) -> None:
    destination = place.destination()
    event = row(seq=3, event_name="e", payload={"a": "1"})
    assert destination.send(batch([event], table="events")).answer is Answer.TAKEN
    assert destination.send(batch([row(partial=True, exit_status=-11)], table="runs")).answer is Answer.TAKEN
    assert place.query("SELECT seq, payload FROM pytest_results_events") == [(3, {"a": "1"})]
    assert place.query("SELECT partial, exit_status FROM pytest_results_runs") == [(True, -11)]


# --- what is stored already --------------------------------------------------


@pytest.mark.parametrize("table", list(TABLES))
def test_only_lines_that_are_not_stored_are_absent(place: Place, table: str) -> None:
    destination = place.destination()
    stored = [row(number, seq=number % 2) if table == "events" else row(number) for number in range(20)]
    assert destination.send(batch(stored, table=table)).answer is Answer.TAKEN
    new = [row(number, seq=5) if table == "events" else row(number) for number in (19, 20, 21)]
    absent = destination.absent(batch([*stored, *new], table=table))
    expected = new if table == "events" else new[1:]
    assert [json.loads(line) for line in absent or []] == expected


@pytest.mark.parametrize("name", ["a\nb", "a\0b", 'it\'s \\ "quoted"', "ü\u2028😀", "", '["a", "b"]', "{p}%s\\n"])
def test_a_row_is_found_whatever_its_test_is_called(place: Place, name: str) -> None:
    destination = place.destination()
    rows = [row(1, nodeid=name, run_id=name), row(2, nodeid=f"{name}!", run_id=name)]
    assert destination.send(batch(rows[:1])).answer is Answer.TAKEN
    assert destination.absent(batch(rows)) == batch(rows[1:]).data.splitlines(keepends=True)


def test_the_same_tests_of_another_run_are_other_rows(place: Place) -> None:
    destination = place.destination()
    assert destination.send(batch([row(1)])).answer is Answer.TAKEN
    other = batch([row(1, run_id="r2", span_id="f" * 16)])
    assert destination.absent(other) == other.data.splitlines(keepends=True)


def test_times_of_several_shapes_are_compared_as_times_and_not_as_texts(place: Place) -> None:
    destination = place.destination()
    times = ["2025-01-31 09:00:00.000+00:00", "2025-01-31T08:00:00.000+00:00", "2025-01-31T08:30:00.000-01:00"]
    rows = [row(number, timestamp=time) for number, time in enumerate(times)]
    assert destination.send(batch(rows)).answer is Answer.TAKEN
    assert destination.absent(batch(rows)) == []


def test_a_batch_of_usual_names_is_asked_for_in_one_question_without_its_ids(ours: Place) -> None:
    destination = ours.destination()
    rows = [row(number, nodeid=f"tests/test_a.py::test_{number}") for number in range(5_000)]
    assert destination.prepare().answer is Answer.TAKEN
    ours.server.reset()
    absent = destination.absent(batch(rows))
    assert absent is not None
    assert len(absent) == 5_000
    assert ours.statements() == ["SELECT"]


def test_large_batches_are_asked_in_parts_that_a_server_parses(place: Place) -> None:
    destination = place.destination()
    rows = [row(number, nodeid=f"tests/{'d' * 200}/test_{number}.py::test") for number in range(4_000)]
    rows.append(row(5_000, nodeid="n" * 400_000))
    assert destination.send(batch(rows[::2])).answer is Answer.TAKEN
    absent = destination.absent(batch(rows))
    assert absent is not None
    assert [json.loads(line)["span_id"] for line in absent] == [each["span_id"] for each in rows[1::2]]


def test_names_full_of_quotes_are_asked_for_in_parts_that_a_server_parses(place: Place) -> None:
    destination = place.destination()
    rows = [row(number, nodeid=f"test[{number}{chr(39) * 60}]") for number in range(3_000)]
    assert destination.send(batch(rows[1:])).answer is Answer.TAKEN
    absent = destination.absent(batch(rows))
    assert absent is not None
    assert [json.loads(line)["span_id"] for line in absent] == [rows[0]["span_id"]]


def test_lines_without_an_id_or_of_no_json_count_as_absent(place: Place) -> None:
    lines = b'{"nodeid": "n"}\n{"span_id": 7}\n{torn\n\xff\xfe\n'
    assert place.destination().absent(Batch("results", lines, 4, "t")) == lines.splitlines(keepends=True)


def test_a_time_without_an_offset_is_found_all_the_same(place: Place) -> None:
    destination = place.destination()
    rows = [row(timestamp="2025-01-31 10:00:00.000")]
    destination.send(batch(rows))
    assert destination.absent(batch(rows)) == []


@pytest.mark.parametrize("timestamp", [None, 1_738_310_400])
def test_a_row_whose_time_is_no_text_is_found_too(place: Place, timestamp: int | None) -> None:
    destination = place.destination()
    rows = [row(1, timestamp=timestamp), row(2)]
    assert destination.send(batch(rows[:1])).answer is Answer.TAKEN
    assert destination.absent(batch(rows)) == batch(rows[1:]).data.splitlines(keepends=True)


def test_a_user_who_may_not_read_cannot_be_asked_and_is_told_so_once(ours: Place) -> None:
    ours.destination().prepare()
    destination = ours.destination(user="writer_only")
    assert destination.send(batch([row()])).answer is Answer.TAKEN
    assert destination.absent(batch([row()])) is None
    assert destination.absent(batch([row()])) is None
    (note,) = destination.notes()
    assert "SELECT" in note


def test_a_question_without_an_answer_is_not_taken_for_nothing_is_stored(ours: Place) -> None:
    destination = ours.destination()
    destination.prepare()
    ours.server.fail(503, keyword="SELECT")
    with pytest.raises(Unanswered) as caught:
        destination.absent(batch([row()]))
    assert caught.value.reply.answer is Answer.UNAVAILABLE


# --- answers -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"password": "wrong-password"}, "--ch-password"),
        ({"user": "nobody-here"}, "--ch-user"),
        ({"database": "no_such_db"}, "--ch-db"),
        ({"url_path": "/elsewhere"}, "--ch-url"),
    ],
)
def test_what_somebody_must_change_is_named_and_no_secret_shown(
    ours: Place, changes: dict[str, str], named: str
) -> None:
    reply = ours.destination(**changes).prepare()
    assert (reply.answer, reply.fatal) == (Answer.UNAVAILABLE, True)
    assert named in reply.message
    assert changes.get("password", ours.server.password) not in reply.message


def test_a_missing_grant_is_named(ours: Place) -> None:
    ours.destination().prepare()
    reply = ours.destination(user="reader").send(batch([row()]))
    assert (reply.answer, reply.fatal) == (Answer.UNAVAILABLE, True)
    assert "GRANT INSERT" in reply.message


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (0, Answer.IN_DOUBT),
        (429, Answer.UNAVAILABLE),
        (500, Answer.IN_DOUBT),
        (502, Answer.IN_DOUBT),
        (503, Answer.UNAVAILABLE),
        (504, Answer.IN_DOUBT),
        (413, Answer.REFUSED),
        (404, Answer.UNAVAILABLE),
    ],
)
def test_an_insert_is_tried_once_and_its_failure_says_whether_it_may_be_stored(
    ours: Place, status: int, answer: Answer
) -> None:
    destination = ours.destination()
    destination.prepare()
    ours.server.reset()
    ours.server.fail(status, keyword="INSERT")
    assert destination.send(batch([row()])).answer is answer
    assert len(ours.server.requests()) == 1
    assert destination.send(batch([row()])).answer is Answer.TAKEN


def test_a_batch_whose_answer_was_lost_is_stored_once_when_it_is_sent_again(ours: Place) -> None:
    destination = ours.destination()
    destination.prepare()
    ours.server.fail(0, after=True, keyword="INSERT")
    assert destination.send(batch([row()])).answer is Answer.IN_DOUBT
    assert destination.send(batch([row()])).answer is Answer.TAKEN
    assert ours.count() == 1


def test_a_server_that_takes_too_long_leaves_the_batch_in_doubt(ours: Place) -> None:
    destination = ours.destination(read_timeout_s=1)
    destination.prepare()
    ours.server.delay(30)
    reply = destination.send(batch([row()]))
    assert (reply.answer, reply.message) == (Answer.IN_DOUBT, "no answer within 1 s")


@pytest.mark.parametrize(
    ("kind", "fatal", "part"),
    [
        ("refusing", False, "cannot connect (Connection refused)"),
        ("unconnectable", False, "nothing answered within 1 s"),
        ("silent", False, "no answer within 1 s"),
        ("redirect-302", True, "give the final address in --ch-url"),
        ("redirect-307", True, "give the final address in --ch-url"),
        ("503", False, "HTTP 503"),
        ("401", True, "--ch-password"),
        ("html", True, "not ClickHouse"),
        ("garbage", False, "connection broke"),
        ("truncated", False, "connection broke"),
        ("closing", False, "connection broke"),
        ("resetting", False, "Connection reset by peer"),
    ],
)
def test_whatever_answers_instead_of_clickhouse_is_asked_once_and_told_apart(kind: str, fatal: bool, part: str) -> None:
    with faulty(kind) as server:
        settings = ClickHouseSettings(
            host="127.0.0.1", port=server.port, password="geheimnis", connect_timeout_s=1, read_timeout_s=1
        )
        reply = ClickHouseDestination(settings).prepare()
        assert (reply.answer, reply.fatal) == (Answer.UNAVAILABLE, fatal)
        assert part in reply.message
        assert len(server.requests) <= 1
        assert server.followed == []


def test_https_to_a_server_without_it_says_so(ours: Place) -> None:
    reply = ours.destination(tls=True).prepare()
    assert reply.answer is Answer.UNAVAILABLE
    assert "https" in reply.message or "encrypted" in reply.message


def test_a_host_that_cannot_be_found_is_certainly_not_reached() -> None:
    reply = ClickHouseDestination(ClickHouseSettings(host="nowhere.invalid")).prepare()
    assert reply.answer is Answer.UNAVAILABLE
    assert "--ch-url" in reply.message


def test_a_proxy_of_the_environment_is_used(ours: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with faulty("slow", ours.server.url) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert ours.destination().prepare().answer is Answer.TAKEN
        assert proxy.requests[0].line.startswith(f"POST http://{ours.server.host}:{ours.server.port}/")


class ServerError(Exception):
    """As clickhouse-connect raises it."""


@pytest.mark.parametrize(
    ("text", "answer", "part"),
    [
        (
            "Code: 252. DB::Exception: Too many parts (300). Merges are slow. (TOO_MANY_PARTS)",
            Answer.UNAVAILABLE,
            "merge",
        ),
        ("Code: 252. DB::Exception: Too many partitions for single INSERT block", Answer.REFUSED, "months"),
        ("Code: 241. DB::Exception: Memory limit (total) exceeded", Answer.UNAVAILABLE, "out of memory"),
        ("Code: 243. DB::Exception: Cannot reserve 1 MiB", Answer.UNAVAILABLE, "disk is full"),
        ("Code: 159. DB::Exception: Timeout exceeded", Answer.IN_DOUBT, "gave up"),
        ("Code: 164. DB::Exception: Cannot execute query in readonly mode", Answer.UNAVAILABLE, "read-only"),
        (
            (
                "Code: 497. DB::Exception: u: Not enough privileges. To execute this query, it's necessary "
                "to have the grant INSERT(run_id, line) ON db.pytest_results. (ACCESS_DENIED) (version 25.3)"
            ),
            Answer.UNAVAILABLE,
            "GRANT INSERT ON db.pytest_results",
        ),
        ("Code: 7777. DB::Exception: Something new", Answer.IN_DOUBT, "Something new"),
        ("list index out of range", Answer.IN_DOUBT, "not understood"),
    ],
)
def test_errors_of_clickhouse_are_translated(text: str, answer: Answer, part: str) -> None:
    reply = reply_to(ServerError(text))
    assert reply.answer is answer
    assert part in reply.message
    assert "version" not in reply.message


def test_an_answer_that_repeats_the_password_is_not_passed_on_as_it_is() -> None:
    assert without_secrets("denied: Basic Z2Vo, geheimnis!", ("geheimnis", "Z2Vo")) == "denied: Basic ***, ***!"


def test_a_user_who_is_read_only_is_told_before_any_ddl(tmp_path: Path) -> None:
    with opened(str(tmp_path / "db")) as client:
        client.server_settings["readonly"] = client.server_settings["readonly"]._replace(value="1")
        reply = fit_tables(client, SchemaPlace("default", "t"), auto_migrate=True, note=print)
        assert (reply.answer, reply.fatal) == (Answer.UNAVAILABLE, True)
        assert "--ch-user" in reply.message
        assert client.command("SELECT count() FROM system.tables WHERE database = 'default'") == 0


def test_settings_do_not_show_their_password() -> None:
    settings = ClickHouseSettings(password="geheimnis")
    assert "geheimnis" not in f"{settings!r} {settings}"
    assert msgspec.json.decode(msgspec.json.encode(settings), type=ClickHouseSettings) == settings


# --- the embedded engine -----------------------------------------------------


def embedded(path: Path, **changes: Any) -> ClickHouseSettings:
    return msgspec.structs.replace(ClickHouseSettings(embedded=True, path=str(path)), **changes)


def test_the_embedded_engine_stores_once_and_is_free_for_others_after_close(tmp_path: Path) -> None:
    path = tmp_path / "new" / "observer.db"
    destination = ClickHouseDestination(embedded(path))
    for _ in range(2):
        assert destination.send(batch([row(number) for number in range(3)])).answer is Answer.TAKEN
    assert destination.absent(batch([row(2), row(3)])) == batch([row(3)]).data.splitlines(keepends=True)
    destination.close()
    assert embedded_query(path, "SELECT count() AS n FROM pytest_results") == [{"n": 3}]
    assert destination.prepare().answer is Answer.TAKEN
    destination.close()


def test_the_embedded_engine_gets_the_database_that_was_asked_for(tmp_path: Path) -> None:
    destination = ClickHouseDestination(embedded(tmp_path / "db", database="ci"))
    assert destination.send(batch([row()])).answer is Answer.TAKEN
    destination.close()
    assert embedded_query(tmp_path / "db", "SELECT count() AS n FROM ci.pytest_results") == [{"n": 1}]


def test_the_embedded_engine_refuses_what_a_server_refuses(tmp_path: Path) -> None:
    destination = ClickHouseDestination(embedded(tmp_path / "db"))
    reply = destination.send(batch([row(duration="soon")]))
    destination.close()
    assert reply.answer is Answer.REFUSED
    assert "/tmp" not in reply.message


def test_a_view_that_fails_leaves_the_batch_in_doubt_and_is_named(tmp_path: Path) -> None:
    destination = ClickHouseDestination(embedded(tmp_path / "db"))
    assert destination.prepare().answer is Answer.TAKEN
    with opened(str(tmp_path / "db")) as client:
        client.command(
            "CREATE MATERIALIZED VIEW default.strict ENGINE = Null AS "
            "SELECT toUInt32(run_id) AS n FROM default.pytest_results"
        )
    reply = destination.send(batch([row()]))
    destination.close()
    assert (reply.answer, reply.fatal) == (Answer.IN_DOUBT, True)
    assert "the materialized view default.strict fails" in reply.message


HOLD_OURS = """
import sys
from pytest_test_observer._destinations.embedded import opened
with opened(sys.argv[1]):
    print("open", flush=True)
    sys.stdin.read()
"""
HOLD_FOREIGN = """
import sys
from chdb import _chdb
connection = _chdb.connect(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
connection.close()
"""


HOLD_LOCK_ONLY = """
import fcntl, os, sys
os.makedirs(sys.argv[1])
lock = open(sys.argv[1] + "/.pytest-test-observer.lock", "w")
fcntl.lockf(lock, fcntl.LOCK_EX)
print("open", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def held(path: Path, program: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that has the database open until its standard input closes."""
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": SRC},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        yield process


@pytest.mark.parametrize("program", [HOLD_OURS, HOLD_FOREIGN, HOLD_LOCK_ONLY], ids=["ours", "foreign", "lock"])
def test_a_database_that_another_process_has_open_is_waited_for_until_the_deadline(
    tmp_path: Path, program: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with held(tmp_path / "db", program):
        reply = ClickHouseDestination(embedded(tmp_path / "db"), wait_s=0.2).prepare()
        assert (reply.answer, reply.fatal) == (Answer.UNAVAILABLE, False)
        assert "another process has" in reply.message
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("program", [HOLD_OURS, HOLD_FOREIGN], ids=["ours", "foreign"])
def test_a_wait_is_told_after_two_seconds_and_ends_when_the_other_closes(tmp_path: Path, program: str) -> None:
    told: list[str] = []
    with held(tmp_path / "db", program) as process:

        def end_the_other(sentence: str) -> None:
            told.append(sentence)
            assert process.stdin is not None
            process.stdin.close()

        destination = ClickHouseDestination(embedded(tmp_path / "db"), on_wait=end_the_other)
        assert destination.send(batch([row()])).answer is Answer.TAKEN
        destination.close()
    assert len(told) == 1
    assert "another process" in told[0]


def test_openings_within_one_process_share_the_engine_and_its_lock(tmp_path: Path) -> None:
    with opened(str(tmp_path)) as first:
        with opened(str(tmp_path)) as second:
            assert second.command("SELECT 1") == 1
        assert first.command("SELECT 2") == 2
        other = f"import sys\n{HOLD_OURS.replace('sys.argv[1]', 'sys.argv[1], wait_s=0')}"
        environment = {**os.environ, "PYTHONPATH": SRC}
        done = subprocess.run(
            [sys.executable, "-c", other, str(tmp_path)], capture_output=True, env=environment, check=False
        )
        assert b"EmbeddedError: another process has" in done.stderr


def test_tables_in_memory_need_no_directory() -> None:
    destination = ClickHouseDestination(ClickHouseSettings(embedded=True, path="memory", database="memory_test"))
    assert destination.send(batch([row()])).answer is Answer.TAKEN
    destination.close()


def test_a_path_that_is_a_file_is_said_to_be_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("text")
    with pytest.raises(EmbeddedError, match="cannot use"), opened(str(path)):
        pass


def test_a_path_that_the_engine_would_take_for_another_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedError, match="question mark"), opened(str(tmp_path / "db?x")):
        pass
    assert os.listdir(tmp_path) == []


def test_without_the_engine_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "chdb", None)
    reply = ClickHouseDestination(embedded(tmp_path / "db")).prepare()
    assert (reply.answer, reply.fatal) == (Answer.UNAVAILABLE, True)
    assert "pip install 'pytest-test-observer[embedded]'" in reply.message


def test_what_a_server_says_cannot_write_to_the_terminal() -> None:
    assert shorten("HTTP 502:\x1b[2J gone\x9b31m\x07\nfor now") == "HTTP 502: [2J gone 31m for now"
