"""The real Collector between spans and tables: the same rows as directly, once, whatever kills it."""

from __future__ import annotations

import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from pytest_test_observer._record import Context
from tests.parity import NAMES, counts, differences, make_views, send_directly
from tests.servers.collector import CONFIG, Collector, running_collector
from tests.spans_kit import (
    Hostile,
    NotTaken,
    foreign_span,
    request,
    send_grpc,
    send_http,
    span_of_run,
    spans_of_test,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    from tests.servers.client import ClickHouse

TESTS = 2_000
EVENTS = 3_000
BATCH = 300
KILLS = 20
# With three at a time on their way, some of six are in the queue at each kill, acknowledged and not sent.
THREE_AT_A_TIME = "yaml:exporters::clickhouse::sending_queue::num_consumers: 3"
REQUESTS_PER_KILL = 6
TESTS_PER_REQUEST = 100
SLOW_SECONDS = 0.4
PATIENCE_SECONDS = 120
IN_MEMORY = "yaml:exporters::clickhouse::sending_queue::storage: null"
REBATCHING = "yaml:exporters::clickhouse::sending_queue::batch: {flush_timeout: 1s, min_size: 5000}"


def test_the_configuration_for_production_is_valid(program: Path) -> None:
    done = subprocess.run([program, "validate", f"--config={CONFIG}"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def wait_for_rows(server: ClickHouse, table: str, condition: str) -> None:
    """Wait until a row with ``condition`` is stored."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not server.query(f"SELECT 1 FROM {table} WHERE {condition} LIMIT 1"):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def send_until_taken(collector: Collector, message: ExportTraceServiceRequest) -> None:
    """Send the same bytes until the Collector says that it has them, as a journal is sent."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not taken(collector, message):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def taken(collector: Collector, message: ExportTraceServiceRequest) -> bool:
    """Send once; tell whether the Collector has said that it has the spans."""
    try:
        send_grpc(collector.grpc_port, message)
    except NotTaken:
        return False
    return True


def drain(collector: Collector, server: ClickHouse, database: str) -> None:
    """Wait until the Collector has nothing left to send, then end it.

    The queue is first in, first out: when a last span is stored all others have been handed to the exporter,
    and a Collector that ends in peace waits for these.
    """
    last = foreign_span()
    send_until_taken(collector, request(Context(), [last]))
    wait_for_rows(server, f"{database}.otel_traces", f"SpanId = '{last.span_id.hex()}'")
    collector.stop()


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_through_the_collector_the_rows_are_those_of_direct_mode(
    both_ways: tuple[str, str], clickhouse_server: ClickHouse, tmp_path: Path, program: Path, protocol: str
) -> None:
    direct, viewed = both_ways
    hostile = Hostile(7)
    tests = [hostile.test(number) for number in range(TESTS)]
    tests += [hostile.test(TESTS, events=EVENTS), hostile.test(TESTS + 1, message="long " * 20_000)]
    run = hostile.run(tests)
    send_directly(clickhouse_server, direct, hostile.context, tests, run)
    make_views(clickhouse_server, viewed)
    spans = [span for test in tests for span in spans_of_test(test)] + [span_of_run(run)]
    with running_collector(program, tmp_path / "collector", clickhouse_server, viewed) as collector:
        send, port = (send_grpc, collector.grpc_port) if protocol == "grpc" else (send_http, collector.http_port)
        for start in range(0, len(spans), BATCH):
            send(port, request(hostile.context, spans[start : start + BATCH]))
        drain(collector, clickhouse_server, viewed)
    assert counts(clickhouse_server, viewed)["otel_traces"] == len(spans) + 1
    assert differences(clickhouse_server, direct, viewed) == {}


WITH_TEMPO = "yaml:service::pipelines::traces::exporters: [clickhouse, otlp_grpc/tempo]"


def test_rows_arrive_although_tempo_is_away(
    program: Path, tmp_path: Path, clickhouse_server: ClickHouse, database: str
) -> None:
    make_views(clickhouse_server, database)
    hostile = Hostile(3)
    tests = [hostile.test(number, events=1) for number in range(3)]
    directory, server = tmp_path / "collector", clickhouse_server
    with running_collector(program, directory, server, database, (WITH_TEMPO,)) as collector:
        for test in tests:
            send_grpc(collector.grpc_port, request(hostile.context, spans_of_test(test)))
            wait_for_rows(server, f"{database}.pytest_results", f"span_id = '{test.span_id}'")
        assert "otlp_grpc/tempo" in collector.log


class Killed:
    """A Collector that is killed and started again while batches arrive and the server takes its time."""

    def __init__(self, collector: Collector, server: ClickHouse, database: str, kills: int) -> None:
        self.collector = collector
        self.server = server
        self.database = database
        self.kills = kills
        self.hostile = Hostile(11)
        self.tests = [
            self.hostile.test(number, events=1) for number in range(kills * REQUESTS_PER_KILL * TESTS_PER_REQUEST)
        ]
        self.taken = 0
        self._permits = threading.Semaphore(0)

    def run(self) -> dict[str, int]:
        """Do it, and return how many rows there are in the end."""
        sender = threading.Thread(target=self._send, daemon=True)
        sender.start()
        self.server.delay(SLOW_SECONDS)
        for _ in range(self.kills):
            self._one_round()
            self.collector.kill()
            self.collector.start()
        self.server.reset()
        sender.join()
        drain(self.collector, self.server, self.database)
        return counts(self.server, self.database)

    def _send(self) -> None:
        for start in range(0, len(self.tests), TESTS_PER_REQUEST):
            self._permits.acquire()
            tests = self.tests[start : start + TESTS_PER_REQUEST]
            spans = [span for test in tests for span in spans_of_test(test)]
            send_until_taken(self.collector, request(self.hostile.context, spans))
            self.taken += 1

    def _one_round(self) -> None:
        """Let requests arrive until most are taken, and rows are on their way to which no answer came yet."""
        inserts, taken = len(self.server.requests()), self.taken
        self._permits.release(REQUESTS_PER_KILL)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.taken < taken + REQUESTS_PER_KILL * 3 // 4 or not self._is_inserting(inserts):
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def _is_inserting(self, after: int) -> bool:
        return any(entry["delayed"] and not entry["status"] for entry in self.server.requests()[after:])


@pytest.fixture
def killed(
    program: Path, tmp_path: Path, controllable_clickhouse: ClickHouse, database: str, request: pytest.FixtureRequest
) -> Iterator[Killed]:
    make_views(controllable_clickhouse, database)
    changes, kills = request.param
    directory = tmp_path / "collector"
    with running_collector(
        program, directory, controllable_clickhouse, database, (THREE_AT_A_TIME, *changes)
    ) as collector:
        yield Killed(collector, controllable_clickhouse, database, kills)


@pytest.mark.parametrize("killed", [((), KILLS)], indirect=True)
def test_a_collector_that_is_killed_loses_nothing_and_stores_nothing_twice(killed: Killed) -> None:
    wanted = len(killed.tests)
    expected = [wanted, wanted, 0, wanted + 1]
    assert killed.run() == dict(zip((*NAMES, "otel_traces"), expected, strict=True))


@pytest.mark.parametrize("killed", [((IN_MEMORY,), 2)], indirect=True)
def test_a_queue_in_memory_loses_what_it_has_taken(killed: Killed) -> None:
    assert killed.run()["pytest_results"] < len(killed.tests)


@pytest.mark.parametrize("killed", [((REBATCHING,), KILLS // 4)], indirect=True)
def test_a_queue_that_makes_batches_of_its_own_stores_rows_twice(killed: Killed) -> None:
    assert killed.run()["pytest_results"] > len(killed.tests)
