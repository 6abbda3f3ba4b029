"""Replay to an OTLP receiver: a journal goes to whichever destination it is sent to, not only to the one it was for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.replay_kit import Replayer
from tests.servers.faulty import faulty
from tests.servers.otlp import receiving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.client import ClickHouse


@pytest.fixture
def replayer(tmp_path: Path, clickhouse_server: ClickHouse, database: str) -> Replayer:
    return Replayer(tmp_path, clickhouse_server, database)


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_journal_of_a_run_for_clickhouse_arrives_as_spans(replayer: Replayer, protocol: str) -> None:
    replayer.keep_run(tests=3, events=2)
    with receiving() as receiver:
        flags = [f"--otlp-endpoint={receiver.endpoint(protocol)}", f"--otlp-protocol={protocol}"]
        done = replayer.replay(*flags)
        spans = receiver.spans
    assert done.code == 0, done.output
    results = [span for span in spans if "pytest.phase" in span.attributes]
    assert sorted(span.name for span in results) == [f"test_a.py::test_{number:06d}" for number in range(3)]
    events = [event for span in spans for event in span.events if "pytest.event.seq" in event[2]]
    assert len(events) == 6
    assert [span.name for span in spans if span.parent_span_id == ""] == ["pytest session"]
    assert replayer.left() == []


def test_a_way_on_the_command_line_is_the_only_one(replayer: Replayer) -> None:
    replayer.keep_run(tests=2)
    with receiving() as receiver:
        done = replayer.replay(f"--otlp-endpoint={receiver.endpoint('grpc')}")
        assert done.code == 0, done.output
        assert len([span for span in receiver.spans if "pytest.phase" in span.attributes]) == 2
    replayer.keep_run(tests=2, run_id="other")
    with faulty("refusing") as nobody:
        done = replayer.replay(f"--ch-url={replayer.server.url}", env={"PYTEST_OBSERVER_OTLP_ENDPOINT": nobody.url})
    assert done.code == 0, done.output
    assert replayer.counts() == (2, 0, 1)


def test_what_no_receiver_takes_stays_on_disk(replayer: Replayer) -> None:
    replayer.keep_run(tests=2)
    before = replayer.left()
    with faulty("refusing") as nobody:
        done = replayer.replay(f"--otlp-endpoint={nobody.url}")
    assert done.code == 1
    assert replayer.left() == before
