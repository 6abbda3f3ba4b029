"""The public exporter: spans of any SDK pipeline become the rows that direct mode writes."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from pytest_test_observer import ClickHouseSpanExporter
from pytest_test_observer._destinations import Answer, Reply
from pytest_test_observer._destinations.clickhouse import ClickHouseDestination
from pytest_test_observer._destinations.settings import ClickHouseSettings
from pytest_test_observer._record import AllureMeta
from pytest_test_observer._spans.batches import SpanMaker
from tests import otlp_kit as kit
from tests import parity, spans_kit
from tests.otlp_kit import record

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from pytest_test_observer._destinations import Batch
    from tests.servers.client import ClickHouse

Query = "Callable[[str], list[tuple[Any, ...]]]"
TABLES = ("", "_events", "_runs")
TESTS = [
    record(
        0,
        events=kit.events(3, {"": "e", "k": "נ\0", "pytest.event.x": "y"}),
        attributes={"a": 'quote"'},
        allure=AllureMeta("1", "t", "s", {"feature": ["a", "b"]}, [("issue", "u", "n")]),
        markers=["m"],
    ),
    record(1, status="failed", outcome="failed", error_type="E", error_message="m\nn", error_stacktrace="s"),
    record(2, status="skipped", outcome="skipped", error_message="why", duration=0.1 + 0.2, line=0),
    record(3, events=kit.events(1_500)),
]


def spans(*batches: Batch) -> list[ReadableSpan]:
    """Return the spans of batches, as a pipeline hands them over."""
    maker = SpanMaker()
    return [span for batch in batches for piece in maker.pieces(batch) for span in piece.spans]


@pytest.fixture
def exporter(clickhouse_server: ClickHouse, database: str) -> ClickHouseSpanExporter:
    return ClickHouseSpanExporter(
        clickhouse_server.url,
        user=clickhouse_server.user,
        password=clickhouse_server.password,
        database=database,
        table="spans",
    )


def test_the_rows_are_those_of_direct_mode(
    exporter: ClickHouseSpanExporter, clickhouse_server: ClickHouse, database: str, query: Any
) -> None:
    began = kit.begin()
    results = kit.results(*TESTS, began=began)
    runs = kit.batch_of("runs", [kit.run_line(kit.run_record())], began)
    assert exporter.export(spans(results, runs)) is SpanExportResult.SUCCESS
    direct = ClickHouseDestination(
        ClickHouseSettings(
            host=clickhouse_server.host,
            port=clickhouse_server.port,
            user=clickhouse_server.user,
            password=clickhouse_server.password,
            database=database,
            table="direct",
        )
    )
    events = kit.batch_of("events", [kit.event_lines(test, carried=False) for test in TESTS])
    for batch in (events, results, runs):
        assert direct.send(batch).message == ""
    direct.close()
    exporter.shutdown()
    for table in TABLES:
        here, there = f"SELECT * FROM spans{table}", f"SELECT * FROM direct{table}"
        assert query(f"{here} EXCEPT {there}") == query(f"{there} EXCEPT {here}") == []
    assert query("SELECT count() FROM spans") == [(4,)]
    assert query("SELECT count() FROM spans_events") == [(1_503,)]


def test_the_same_spans_again_store_nothing_twice(exporter: ClickHouseSpanExporter, query: Any) -> None:
    for _ in range(2):
        assert exporter.export(spans(kit.results(*TESTS))) is SpanExportResult.SUCCESS
    exporter.shutdown()
    assert query("SELECT count() FROM spans") == [(4,)]


def test_spans_of_a_program_are_passed_over_in_a_pipeline_of_its_own(
    exporter: ClickHouseSpanExporter, query: Any
) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("program")
    with tracer.start_as_current_span("GET /"):
        pass
    attributes = {"pytest.nodeid": "t.py::test", "pytest.phase": "call", "pytest.status": "passed"}
    with tracer.start_as_current_span("t.py::test", attributes=attributes) as span:
        span.add_event("clicked", {"pytest.event.seq": 0, "where": "here"})
    provider.shutdown()
    assert query("SELECT nodeid, status, when_phase FROM spans") == [("t.py::test", "passed", "call")]
    assert query("SELECT nodeid, event_name, payload FROM spans_events") == [
        ("t.py::test", "clicked", {"where": "here"})
    ]


# What a pipeline of somebody else can put into attributes that we name.
ODD: list[dict[str, Any]] = [
    {"pytest.attempt": "3", "code.line.number": "12", "pytest.duration": "0.5", "pytest.flaky": "true"},
    {"pytest.attempt": "x", "code.line.number": -1, "pytest.duration": "fast", "pytest.flaky": 1},
    {"pytest.attempt": 70_000, "code.line.number": 1.0, "pytest.duration": 3, "pytest.flaky": "maybe"},
    {"pytest.attempt": -1, "code.line.number": 1.5, "pytest.duration": True, "pytest.markers": "slow"},
    {"pytest.attempt": True, "pytest.markers": [1, 2], "pytest.status": ["passed"], "code.function.name": b"\x00\xff"},
    {"pytest.markers": [True, False], "pytest.worker.id": 1e-7, "error.type": True, "pytest.reason": 7},
    {"pytest.property.b": 3, "pytest.property.a": True, "pytest.property.d": ["x", "<y>"], "pytest.property.c": 1e21},
    {"allure.label.z": ["f"], "allure.label.b": 1, "allure.label.a": "text", "allure.label.f": [1.5]},
    {"allure.link.url": ["u", "v"], "allure.link.type": ["t"]},
    {"allure.link.url": "u", "allure.link.type": ["t"], "allure.link.name": [1]},
    {"pytest.exit_status": "zero", "pytest.collected": 2**40, "pytest.partial": "yes"},
    {"pytest.exit_status": 2**20, "pytest.count.passed": "5", "pytest.run.attributes.x": 1},
]


def odd_spans(*more: dict[str, Any]) -> list[ReadableSpan]:
    """Return spans of a pipeline of somebody else, each with an event."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    for number, given in enumerate((*ODD, *more)):
        attributes = {"pytest.nodeid": f"t::{number:02}", "pytest.phase": "call", **given}
        with provider.get_tracer("theirs").start_as_current_span("t", attributes=attributes) as span:
            span.add_event(
                "e", {"pytest.event.seq": 0, "z": 1, "a": True, "pytest.event.x": "y", "l": ["<m>"], "": "e"}
            )
            span.add_event("f", {"pytest.event.seq": "no"})
    return list(memory.get_finished_spans())


def test_attributes_of_any_type_give_the_rows_that_the_views_give(
    exporter: ClickHouseSpanExporter, clickhouse_server: ClickHouse, database: str, query: Any
) -> None:
    made = odd_spans()
    assert exporter.export(made) is SpanExportResult.SUCCESS
    exporter.shutdown()
    parity.make_views(clickhouse_server, database)
    data = spans_kit.exported(encode_spans(made))
    clickhouse_server.execute("INSERT INTO otel_traces FORMAT JSONEachRow", data, database=database)
    for table in TABLES:
        here, there = (query(f"SELECT * FROM {name}{table} ORDER BY ALL") for name in ("spans", "pytest_results"))
        assert here == there
        assert here


def test_a_text_without_a_utf_8_form_takes_no_other_span_along(exporter: ClickHouseSpanExporter, query: Any) -> None:
    assert exporter.export(odd_spans({"pytest.property.\ud800": "\udc80"})) is SpanExportResult.SUCCESS
    exporter.shutdown()
    assert query("SELECT count() FROM spans") == [(len(ODD) + 1,)]
    assert query(f"SELECT attributes FROM spans WHERE nodeid = 't::{len(ODD):02}'") == [({"\\ud800": "\\udc80"},)]


def test_spans_that_come_after_the_end_are_dropped(exporter: ClickHouseSpanExporter, query: Any) -> None:
    exporter.export(spans(kit.results(record(0))))
    exporter.shutdown()
    exporter.shutdown()
    assert exporter.export(spans(kit.results(record(1)))) is SpanExportResult.FAILURE
    assert query("SELECT count() FROM spans") == [(1,)]


def test_an_embedded_database_is_free_for_others_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = ClickHouseSpanExporter("chdb://memory")
    released: list[bool] = []
    monkeypatch.setattr(exporter._destination, "send", lambda _batch: Reply(Answer.REFUSED, "no"))
    monkeypatch.setattr(exporter._destination, "release", lambda: released.append(True))
    assert exporter.export(spans(kit.results(record()))) is SpanExportResult.FAILURE
    assert released == [True]


def test_rows_that_are_not_stored_are_a_failure_that_says_why(caplog: pytest.LogCaptureFixture) -> None:
    exporter = ClickHouseSpanExporter("http://127.0.0.1:1", password="p4ssw0rd")
    with caplog.at_level(logging.ERROR, logger="pytest_test_observer"):
        assert exporter.export(spans(kit.results(record()))) is SpanExportResult.FAILURE
    exporter.shutdown()
    assert "1 rows were not written to http://127.0.0.1:1: cannot connect" in caplog.text
    assert "p4ssw0rd" not in caplog.text


def test_a_url_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="accepted"):
        ClickHouseSpanExporter("ftp://somewhere")


def test_the_package_loads_no_sdk_for_those_who_do_not_ask() -> None:
    code = (
        "import sys, pytest_test_observer as p; before = 'opentelemetry' in sys.modules; "
        "p.ClickHouseSpanExporter; print(before, 'opentelemetry' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
