"""The test server answers clickhouse-connect as a ClickHouse server does."""

# ruff: noqa: F811 - a fixture is imported by the name under which tests ask for it

from __future__ import annotations

import concurrent.futures
import contextlib
import gzip
import http.client
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import zlib
from typing import TYPE_CHECKING, Any

import clickhouse_connect
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from .client import (
    PACKAGE,
    PASSWORD,
    ROOT,
    ClickHouse,
    ServerAnswer,
    at_url,
    embedded_query,
    running_clickhouse,
)
from .fixtures import URL_VARIABLE, clickhouse_server, database, query  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from clickhouse_connect.driver.client import Client

    Query = Callable[[str], list[tuple[Any, ...]]]

pytestmark = pytest.mark.skipif(URL_VARIABLE in os.environ, reason="these test the server of our own")

ROWS = b'{"id":1,"labels":{"k":["v","w"]}}\n{"id":2,"name":"\xc3\xa9"}\n'
TABLE = """CREATE TABLE results (id UInt64, name LowCardinality(String), labels Map(String, Array(String)))
ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 100"""


@pytest.fixture
def table(clickhouse_server: ClickHouse, database: str) -> str:
    """A table of the test's own database."""
    clickhouse_server.execute(TABLE, database=database)
    return "results"


def connect(server: ClickHouse, database: str, user: str = "default", **options: Any) -> Client:
    return clickhouse_connect.get_client(
        host=server.host,
        port=server.port,
        username=user,
        password=options.pop("password", server.password),
        database=database,
        query_retries=0,
        **options,
    )


@pytest.fixture
def client(clickhouse_server: ClickHouse, database: str) -> Iterator[Client]:
    """clickhouse-connect on the test's own database."""
    with contextlib.closing(connect(clickhouse_server, database, compress="lz4")) as connected:
        yield connected


COMPRESSORS: dict[str | None, Callable[[bytes], bytes]] = {
    None: bytes,
    "lz4": importlib.import_module("lz4.frame").compress,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
}


@pytest.mark.parametrize("compression", COMPRESSORS)
def test_raw_insert_stores_the_rows_in_every_encoding(client: Client, table: str, compression: str | None) -> None:
    block = COMPRESSORS[compression](ROWS)
    summary = client.raw_insert(table, fmt="JSONEachRow", insert_block=block, compression=compression)
    assert summary.written_rows == 2
    found = client.query(f"SELECT id, name, labels FROM {table} ORDER BY id").result_rows
    assert found == [(1, "", {"k": ["v", "w"]}), (2, "é", {})]


def test_rows_in_native_format_survive_both_directions(client: Client, table: str) -> None:
    rows = [[2**63, "\x00\n\\'", {"a": ["b"]}], [5, "ü" * 1000, {}]]
    client.insert(table, rows, column_names=["id", "name", "labels"])
    assert [list(row) for row in client.query(f"SELECT * FROM {table} ORDER BY id DESC").result_rows] == rows


def test_an_insert_from_a_generator_arrives_in_chunks(client: Client, table: str) -> None:
    lines = (b'{"id":%d}\n' % number for number in range(10_000))
    assert client.raw_insert(table, fmt="JSONEachRow", insert_block=lines).written_rows == 10_000


@pytest.mark.parametrize("count", [3, 20_000], ids=["in the URL", "in a form"])
def test_parameters_are_bound_by_the_server(client: Client, table: str, count: int) -> None:
    client.raw_insert(table, fmt="JSONEachRow", insert_block=ROWS)
    names = ["é", *(f"no such name '{number}" for number in range(count))]
    sql = f"SELECT id FROM {table} WHERE name IN {{names:Array(String)}}"
    if count == 3:
        assert client.query(sql, parameters={"names": names}).result_rows == [(2,)]
    else:
        with pytest.raises(DatabaseError, match="Field value too long"):
            client.query(sql, parameters={"names": names})


def test_a_form_carries_what_is_too_long_for_a_url(client: Client) -> None:
    long = ["x" * 50_000]
    assert client.query("SELECT length({long:Array(String)}[1])", parameters={"long": long}).result_rows == [(50_000,)]


def test_the_same_token_stores_a_block_once(client: Client, table: str, query: Query) -> None:
    for _ in range(3):
        settings = {"insert_deduplication_token": "one", "async_insert": 0}
        client.raw_insert(table, fmt="JSONEachRow", insert_block=ROWS, settings=settings)
    assert query(f"SELECT count() FROM {table}") == [(2,)]


def test_settings_hold_for_one_request_only(client: Client) -> None:
    sql = "SELECT getSetting('max_threads')"
    assert client.query(sql, settings={"max_threads": 7}).result_rows == [(7,)]
    assert client.query(sql).result_rows != [(7,)]


def test_commands_answer_like_a_server(client: Client, table: str) -> None:
    assert client.command(f"EXISTS TABLE {table}") == 1
    assert client.command("SELECT 'a\\tb'") == "a\\tb"
    assert client.command(f"SELECT name FROM {table}") == ""
    assert client.query(f"SELECT * FROM {table} LIMIT 0").column_names == ("id", "name", "labels")
    assert client.ping()


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT * FROM absent", (60, 404)),
        ("SELECT absent", (47, 404)),
        ("SELEC", (62, 400)),
        ("SELECT 1; SELECT 2", (62, 400)),
        ("SELECT throwIf(1)", (395, 500)),
        ('INSERT INTO results FORMAT JSONEachRow {"id":"x"}', (27, 400)),
        ("INSERT INTO results FORMAT JSONEachRow {", (33, 500)),
        ("INSERT INTO absent FORMAT JSONEachRow {}", (60, 404)),
    ],
)
def test_an_error_has_the_code_and_the_status_of_a_server(
    clickhouse_server: ClickHouse,
    database: str,
    table: str,
    sql: str,
    expected: tuple[int, int],
) -> None:
    with pytest.raises(ServerAnswer, match=rf"Code: {expected[0]}\. DB::Exception: (?s:.)*\(version ") as caught:
        clickhouse_server.execute("", sql.encode(), database=database)
    assert (caught.value.code, caught.value.status) == expected


def test_an_unknown_setting_or_database_is_an_error(clickhouse_server: ClickHouse) -> None:
    with pytest.raises(ServerAnswer, match="UNKNOWN_SETTING") as setting:
        clickhouse_server.execute("SELECT 1", no_such_setting="1")
    with pytest.raises(ServerAnswer, match="UNKNOWN_DATABASE") as missing:
        clickhouse_server.execute("SELECT 1", database="absent")
    assert (setting.value.status, missing.value.status) == (404, 404)


def test_a_broken_row_stores_nothing_of_its_insert(client: Client, table: str, query: Query) -> None:
    with pytest.raises(DatabaseError, match="at row 3") as caught:
        client.raw_insert(table, fmt="JSONEachRow", insert_block=ROWS + b'{"id":"no number"}\n')
    assert caught.value.code in {27, 72}
    assert query(f"SELECT count() FROM {table}") == [(0,)]


def test_rows_reach_the_views_of_their_table(
    clickhouse_server: ClickHouse, database: str, table: str, query: Query
) -> None:
    view = f"CREATE MATERIALIZED VIEW v ENGINE = Memory AS SELECT id * 10 AS ten FROM {table}"
    clickhouse_server.execute(view, database=database)
    clickhouse_server.execute(f"INSERT INTO {table} FORMAT JSONEachRow", ROWS, database=database)
    assert query("SELECT ten FROM v ORDER BY ten") == query(f"SELECT id * 10 FROM {table} ORDER BY id")


def test_a_view_that_throws_fails_the_insert(clickhouse_server: ClickHouse, database: str, table: str) -> None:
    view = f"CREATE MATERIALIZED VIEW v ENGINE = Memory AS SELECT throwIf(id > 0) AS thrown FROM {table}"
    clickhouse_server.execute(view, database=database)
    with pytest.raises(ServerAnswer, match="while pushing to view"):
        clickhouse_server.execute(f"INSERT INTO {table} FORMAT JSONEachRow", ROWS, database=database)


def test_an_insert_cut_off_by_its_client_stores_nothing(
    clickhouse_server: ClickHouse,
    database: str,
    table: str,
) -> None:
    head = f"POST /?database={database}&query=INSERT+INTO+{table}+FORMAT+JSONEachRow HTTP/1.1\r\n"
    head += f"X-ClickHouse-User: default\r\nX-ClickHouse-Key: {PASSWORD}\r\nContent-Length: 1000\r\n\r\n"
    with socket.create_connection((clickhouse_server.host, clickhouse_server.port)) as connection:
        connection.sendall(head.encode() + ROWS)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    assert clickhouse_server.query(f"SELECT count() FROM {database}.{table}") == [(0,)]


@pytest.mark.parametrize(("user", "password"), [("default", "wrong"), ("nobody", PASSWORD), ("default", "")])
def test_wrong_credentials_are_refused(clickhouse_server: ClickHouse, user: str, password: str) -> None:
    with pytest.raises(DatabaseError, match="AUTHENTICATION_FAILED") as caught:
        connect(clickhouse_server, "default", user, password=password)
    assert caught.value.code == 516


CREATE, ALTER, DROP = (
    "CREATE TABLE t (a Int8) ENGINE = Memory",
    "ALTER TABLE results ADD COLUMN c Int8",
    "DROP TABLE results",
)
INSERT, SELECT = "INSERT INTO results (id) VALUES (1)", "SELECT count() FROM results"
COLUMNS = "SELECT name FROM system.columns WHERE table = 'results'"
COPY = "INSERT INTO results SELECT * FROM results"


@pytest.mark.parametrize(
    ("user", "statements"),
    [
        ("default", ([CREATE, ALTER, INSERT, SELECT, COLUMNS, COPY, DROP], [])),
        ("inserter", ([INSERT, SELECT, COLUMNS, COPY], [CREATE, ALTER, DROP])),
        ("reader", ([SELECT, COLUMNS], [INSERT, COPY, CREATE, ALTER, DROP])),
        ("writer_only", ([INSERT, COLUMNS, "DESCRIBE results"], [SELECT, COPY, CREATE, ALTER, DROP])),
    ],
)
def test_each_user_may_do_what_its_rights_say(
    clickhouse_server: ClickHouse,
    database: str,
    table: str,
    user: str,
    statements: tuple[list[str], list[str]],
) -> None:
    allowed, denied = statements
    with contextlib.closing(connect(clickhouse_server, database, user)) as client:
        for sql in denied:
            with pytest.raises(DatabaseError, match="Not enough privileges") as caught:
                client.command(sql)
            assert caught.value.code == 497
        for sql in allowed:
            client.command(sql)


def test_the_log_tells_what_was_asked_and_no_password(clickhouse_server: ClickHouse, database: str, table: str) -> None:
    clickhouse_server.reset()
    clickhouse_server.execute(f"INSERT INTO {table} FORMAT JSONEachRow", ROWS, database=database, async_insert="0")
    with pytest.raises(ServerAnswer):
        clickhouse_server.execute("SELECT 1", user="default", password=PASSWORD, max_threads="no number")
    insert, failed = clickhouse_server.requests()
    assert insert["statement"].startswith(f"INSERT INTO {table} FORMAT JSONEachRow")
    assert (insert["user"], insert["body_bytes"], insert["status"]) == ("default", len(ROWS), 200)
    assert insert["params"]["async_insert"] == "0"
    assert failed["status"] == 400
    assert PASSWORD not in json.dumps(failed)


def test_failures_to_come_hit_the_named_statement_so_many_times(
    clickhouse_server: ClickHouse,
    client: Client,
    table: str,
    query: Query,
) -> None:
    clickhouse_server.fail(503, count=2, keyword="INSERT")
    for _ in range(2):
        with pytest.raises(DatabaseError, match="503"):
            client.raw_insert(table, fmt="JSONEachRow", insert_block=ROWS)
    assert query(f"SELECT count() FROM {table}") == [(0,)]
    client.raw_insert(table, fmt="JSONEachRow", insert_block=ROWS)
    assert query(f"SELECT count() FROM {table}") == [(2,)]


def test_an_answer_can_be_lost_after_the_rows_were_stored(
    clickhouse_server: ClickHouse, table: str, database: str, query: Query
) -> None:
    clickhouse_server.fail(0, count=1, after=True, keyword="INSERT")
    with pytest.raises(http.client.RemoteDisconnected):
        clickhouse_server.execute(f"INSERT INTO {table} FORMAT JSONEachRow", ROWS, database=database)
    assert query(f"SELECT count() FROM {table}") == [(2,)]


def test_a_delay_holds_inserts_and_their_session_but_nothing_else(
    clickhouse_server: ClickHouse, database: str, table: str, query: Query
) -> None:
    clickhouse_server.delay(600)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        sql, params = f"INSERT INTO {table} FORMAT JSONEachRow", {"database": database, "session_id": "one"}
        insert = pool.submit(clickhouse_server.execute, sql, ROWS, **params)
        clickhouse_server.wait_for(lambda request: request["delayed"])
        with pytest.raises(ServerAnswer, match="SESSION_IS_LOCKED"):
            clickhouse_server.execute("SELECT 1", session_id="one")
        assert query(f"SELECT count() FROM {table}") == [(0,)]
        clickhouse_server.reset()
        insert.result()
    assert query(f"SELECT count() FROM {table}") == [(2,)]


def test_requests_run_side_by_side_and_none_is_lost(
    clickhouse_server: ClickHouse, database: str, table: str, query: Query
) -> None:
    def insert(number: int) -> list[tuple[Any, ...]]:
        row = b'{"id":%d}' % number
        clickhouse_server.execute(f"INSERT INTO {table} FORMAT JSONEachRow", row, database=database)
        return query(f"SELECT count() FROM {table} WHERE id = {number}")

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(insert, range(80))) == [[(1,)]] * 80


def test_rows_come_as_plain_values(query: Query) -> None:
    assert query("SELECT 18446744073709551615, [('a', 'b')], map('k', [1]), 'x\u2028y', toDateTime64(1, 3, 'UTC')") == [
        (18446744073709551615, [["a", "b"]], {"k": [1]}, "x\u2028y", "1970-01-01 00:00:01.000")
    ]


def test_the_greeting_tells_the_go_client_to_speak_revision_0(clickhouse_server: ClickHouse) -> None:
    hello = "SELECT displayName(), version(), revision(), timezone()"
    block = clickhouse_server.execute("", hello.encode(), client_protocol_version="54460", default_format="Native")
    block_info, four_columns_one_row = b"\x01\x00\x02\xff\xff\xff\xff\x00", b"\x04\x01"
    assert block.startswith(block_info + four_columns_one_row + b"\x0ddisplayName()\x06String\x00")
    assert b"\x0arevision()\x06UInt32\x00" + bytes(4) in block


def test_the_url_of_another_server_gives_its_parts() -> None:
    server = at_url("http://someone:p%40ss@db.example:8124/prefix")
    assert (server.host, server.port, server.user, server.password) == ("db.example", 8124, "someone", "p@ss")
    assert server.url == "http://db.example:8124/prefix"
    assert not server.controllable


def test_what_a_server_stored_can_be_read_from_its_directory_afterwards(tmp_path: Path) -> None:
    with running_clickhouse(tmp_path) as server:
        server.execute("CREATE TABLE t (id UInt64, names Array(String)) ENGINE = MergeTree ORDER BY id")
        server.execute("INSERT INTO t VALUES (9007199254740993, ['a', 'é'])")
    assert embedded_query(tmp_path / "data", "SELECT * FROM t") == [{"id": 9007199254740993, "names": ["a", "é"]}]


@pytest.mark.parametrize("end", ["SIGTERM", "the end of its input"])
def test_the_process_ends_on(tmp_path: Path, end: str) -> None:
    command = [sys.executable, "-m", f"{PACKAGE}.clickhouse", "--path", str(tmp_path / "data")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdin
        assert process.stdout
        assert json.loads(process.stdout.readline())["port"]
        if end == "SIGTERM":
            process.send_signal(signal.SIGTERM)
        else:
            process.stdin.close()
        assert process.wait(timeout=10) == 0
