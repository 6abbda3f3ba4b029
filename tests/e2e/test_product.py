"""What the plugin sends over OTLP becomes, behind the real Collector, the rows that it sends to ClickHouse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from pytest_test_observer._destinations import Answer, Batch
from pytest_test_observer._destinations.clickhouse import ClickHouseDestination, ClickHouseSettings
from pytest_test_observer._destinations.otlp import OtlpDestination, OtlpSettings
from tests import otlp_kit
from tests.e2e.test_collector import drain
from tests.parity import differences, make_views
from tests.servers.collector import running_collector
from tests.spans_kit import Hostile

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_test_observer._destinations import Destination
    from tests.servers.client import ClickHouse

TESTS = 1_000
EVENTS = 3_000
ROWS = 250


def batches(hostile: Hostile) -> list[Batch]:
    """Return a run as the journal has it, for both ways: the same bytes."""
    context = hostile.context
    tests = [hostile.test(number) for number in range(TESTS)]
    tests += [hostile.test(TESTS, events=EVENTS), hostile.test(TESTS + 1, message="long " * 20_000)]
    began = otlp_kit.begin(context=context)
    events = [otlp_kit.event_lines(test, carried=True, context=context) for test in tests]
    results = [otlp_kit.result_line(test, context=context) for test in tests]
    portions = [results[start : start + ROWS] for start in range(0, len(results), ROWS)]
    run = msgspec.structs.replace(hostile.run(tests), attributes=dict(sorted(context.resource.items())))
    return [
        otlp_kit.batch_of("events", events, began),
        *(otlp_kit.batch_of("results", portion, began) for portion in portions),
        otlp_kit.batch_of("runs", [otlp_kit.run_line(run, context=context)], began),
    ]


def send(destination: Destination, batch: Batch) -> None:
    reply = destination.send(batch)
    assert reply.answer is Answer.TAKEN, reply


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_the_same_journal_gives_the_same_rows_both_ways(
    both_ways: tuple[str, str], clickhouse_server: ClickHouse, tmp_path: Path, program: Path, protocol: str
) -> None:
    direct, viewed = both_ways
    server = clickhouse_server
    run = batches(Hostile(13))
    settings = ClickHouseSettings(
        host=server.host, port=server.port, user=server.user, password=server.password, database=direct
    )
    to_clickhouse = ClickHouseDestination(settings)
    make_views(server, viewed)
    with running_collector(program, tmp_path / "collector", server, viewed) as collector:
        port = collector.grpc_port if protocol == "grpc" else collector.http_port
        path = "" if protocol == "grpc" else "/v1/traces"
        to_otlp = OtlpDestination(
            OtlpSettings(endpoint=f"http://127.0.0.1:{port}{path}", protocol=protocol, insecure=True)
        )
        for batch in run:
            send(to_clickhouse, batch)
            send(to_otlp, batch)
        drain(collector, server, viewed)
    to_clickhouse.close()
    to_otlp.close()
    assert differences(server, direct, viewed) == {}
