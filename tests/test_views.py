"""Spans in ``otel_traces`` become the rows that direct mode writes, byte for byte, and no span fails an insert."""

from __future__ import annotations

import dataclasses
import json
import uuid
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pytest_test_observer._columns import TABLES, Column
from pytest_test_observer._views.expressions import expression
from tests.parity import NAMES, counts, differences, make_views, send_directly
from tests.spans_kit import HOSTILE, Hostile, exported, request, span_of_run, spans_of_test

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_test_observer._record import Context, RunRecord, TestRecord
    from tests.servers.client import ClickHouse

    Query = Callable[[str], list[tuple[Any, ...]]]

TESTS = 400
EVENTS = 3_000


@dataclasses.dataclass
class BothWays:
    """One run, in one database directly and in another through spans and views."""

    server: ClickHouse
    direct: str
    viewed: str
    tests: list[TestRecord]


def insert_spans(server: ClickHouse, database: str, rows: bytes, **settings: str) -> None:
    sql = f"INSERT INTO {database}.otel_traces FORMAT JSONEachRow"
    server.execute(sql, rows, **settings)


def sent_as_spans(context: Context, tests: list[TestRecord], run: RunRecord) -> bytes:
    spans = [span for test in tests for span in spans_of_test(test)]
    return exported(request(context, [*spans, span_of_run(run)]))


@pytest.fixture(scope="module")
def both(clickhouse_server: ClickHouse) -> Iterator[BothWays]:
    hostile = Hostile(4)
    tests = [hostile.test(number) for number in range(TESTS)]
    tests += [hostile.test(TESTS, events=EVENTS), hostile.test(TESTS + 1, message="long " * 20_000)]
    run = hostile.run(tests)
    names = [f"test_{way}_{uuid.uuid4().hex[:8]}" for way in ("direct", "viewed")]
    for name in names:
        clickhouse_server.execute(f"CREATE DATABASE {name}")
    direct, viewed = names
    send_directly(clickhouse_server, direct, hostile.context, tests, run)
    make_views(clickhouse_server, viewed)
    # a server that reads doubles a little wrong, as older ones do
    rows = sent_as_spans(hostile.context, tests, run)
    insert_spans(clickhouse_server, viewed, rows, precise_float_parsing="0")
    yield BothWays(clickhouse_server, direct, viewed, tests)
    for name in names:
        clickhouse_server.execute(f"DROP DATABASE {name} SYNC")


def test_both_ways_give_the_same_rows_in_all_three_tables(both: BothWays) -> None:
    assert differences(both.server, both.direct, both.viewed) == {}


def test_each_row_is_there_once(both: BothWays) -> None:
    events = sum(len(test.events) for test in both.tests)
    stored = counts(both.server, both.viewed)
    assert [stored[name] for name in NAMES] == [TESTS + 2, events, 1]


def test_events_in_further_spans_belong_to_the_tests_span(both: BothWays) -> None:
    span_id = both.tests[TESTS].span_id
    sql = (
        f"SELECT count(), uniqExact(seq), max(seq) FROM {both.viewed}.pytest_results_events WHERE span_id = '{span_id}'"
    )
    assert both.server.query(sql) == [(EVENTS, EVENTS, EVENTS - 1)]


@pytest.fixture
def viewed(clickhouse_server: ClickHouse, database: str) -> str:
    """A database with all tables and views."""
    make_views(clickhouse_server, database)
    return database


def foreign(**columns: Any) -> bytes:
    """One row of ``otel_traces`` that no test made."""
    row = {"Timestamp": "2026-01-02 03:04:05.123456789", "TraceId": "a" * 32, "SpanId": "b" * 16}
    return json.dumps({**row, **columns}).encode() + b"\n"


FOREIGN: tuple[dict[str, str], ...] = (
    {},
    {"http.request.method": "GET"},
    {"pytest.phase": "call"},
    {"pytest.nodeid": "t.py::t"},
    {"test.suite.run.status": "success"},
)


def test_a_span_that_is_no_test_gives_no_row(clickhouse_server: ClickHouse, viewed: str) -> None:
    events = {"Events.Timestamp": [0], "Events.Name": ["exception"], "Events.Attributes": [{"k": "v"}]}
    rows = b"".join(foreign(SpanAttributes=attributes, **events) for attributes in FOREIGN)
    insert_spans(clickhouse_server, viewed, rows)
    assert counts(clickhouse_server, viewed) == {**dict.fromkeys(NAMES, 0), "otel_traces": len(FOREIGN)}


def garbage(value: str) -> bytes:
    """A span that says to be everything, with ``value`` in every attribute."""
    single = {c.attribute: value for table in TABLES.values() for c in table.columns if c.attribute}
    grouped = {name.replace("*", part): value for name in single for part in ("", "type", "url", "name", "*")}
    everything = {"pytest.nodeid": value, "pytest.phase": value, "pytest.event.seq": value, **grouped}
    return foreign(
        Timestamp="1900-01-01 00:00:00.000000000",
        Duration=2**64 - 1,
        SpanAttributes=everything,
        ResourceAttributes=everything,
        **{
            "Events.Timestamp": ["2262-04-11 23:47:16.854775807"] * 2,
            "Events.Name": ["exception", value],
            "Events.Attributes": [{}, everything],
        },
    )


SENSELESS = (
    *(text for text in HOSTILE if text.isprintable() or "\x00" in text),
    *("[", '["a"', "[1, null, {}]", "-1", "9" * 400, "1e999", "nan"),
)


def test_no_attribute_can_fail_the_insert(clickhouse_server: ClickHouse, viewed: str) -> None:
    insert_spans(clickhouse_server, viewed, b"".join(map(garbage, SENSELESS)))
    assert set(counts(clickhouse_server, viewed).values()) == {len(SENSELESS)}


def test_no_duration_can_fail_the_insert(clickhouse_server: ClickHouse, viewed: str) -> None:
    attributes = {"pytest.nodeid": "t", "pytest.phase": "call", "pytest.exit_status": "0"}
    durations = (0, 1, 2**63 - 1, 2**63, 2**64 - 5_000_000)
    rows = b"".join(foreign(SpanAttributes=attributes, Duration=duration) for duration in durations)
    insert_spans(clickhouse_server, viewed, rows)
    assert counts(clickhouse_server, viewed)["pytest_results"] == len(durations)


def test_a_clock_that_was_set_back_gives_the_same_row_both_ways(
    clickhouse_server: ClickHouse, viewed: str, query: Query
) -> None:
    test = msgspec.structs.replace(
        Hostile(1).test(0), start_ns=1_795_392_930_500_999_999, end_ns=1_795_392_929_000_000_001
    )
    insert_spans(clickhouse_server, viewed, exported(request(Hostile(1).context, spans_of_test(test))))
    assert query("SELECT started_at, finished_at, toUnixTimestamp64Milli(timestamp) FROM pytest_results") == [
        (1_795_392_930_500, 1_795_392_929_000, 1_795_392_929_000)
    ]


def test_the_same_spans_again_are_stored_once(clickhouse_server: ClickHouse, viewed: str) -> None:
    hostile = Hostile(2)
    tests = [hostile.test(number, events=1) for number in range(50)]
    rows = sent_as_spans(hostile.context, tests, hostile.run(tests))
    for _ in range(3):
        insert_spans(clickhouse_server, viewed, rows, async_insert="0")
    assert counts(clickhouse_server, viewed) == dict(zip((*NAMES, "otel_traces"), (50, 50, 1, 51), strict=True))


def test_a_label_that_is_no_list_becomes_one(clickhouse_server: ClickHouse, viewed: str, query: Query) -> None:
    labels = {"allure.label.owner": "mia", "allure.label.tag": '["a","b"]', "allure.label.": "[]"}
    attributes = {"pytest.nodeid": "t", "pytest.phase": "call", **labels}
    insert_spans(clickhouse_server, viewed, foreign(SpanAttributes=attributes))
    assert query("SELECT allure_labels FROM pytest_results") == [({"owner": ["mia"], "tag": ["a", "b"], "": []},)]


def test_the_lookup_of_traces_is_filled(clickhouse_server: ClickHouse, viewed: str, query: Query) -> None:
    insert_spans(clickhouse_server, viewed, foreign())
    assert query("SELECT TraceId, toString(Start) FROM otel_traces_trace_id_ts") == [("a" * 32, "2026-01-02 03:04:05")]


def test_a_type_that_no_column_had_before_is_noticed() -> None:
    with pytest.raises(KeyError, match="IPv4"):
        expression(Column("address", "IPv4", "record", "address", "client.address"))
