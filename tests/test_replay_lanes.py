"""Replays of runs of several batches: side by side, each once, and never a row before its events."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from pytest_test_observer._destinations import Answer, Batch, Reply
from pytest_test_observer._replay.lanes import Lanes
from tests.replay_kit import Replayer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.client import ClickHouse

PATIENCE = 60
# Two batches and a third.
TESTS = 10_000


@pytest.fixture
def kept(tmp_path: Path, clickhouse_server: ClickHouse, database: str) -> Replayer:
    return Replayer(tmp_path, clickhouse_server, database)


def inserts(server: ClickHouse, table: str) -> list[dict[str, Any]]:
    return [request for request in server.requests() if f"`{table}` (" in request["statement"]]


def wait_for_inserts(server: ClickHouse, table: str, count: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while len(inserts(server, table)) < count:
        assert time.monotonic() < deadline, server.requests()
        time.sleep(0.01)


def test_two_batches_are_on_their_way_at_a_time(kept: Replayer, controllable_clickhouse: ClickHouse) -> None:
    kept.keep_run(TESTS)
    controllable_clickhouse.delay(PATIENCE)
    process = kept.start()
    wait_for_inserts(controllable_clickhouse, "pytest_results", 2)
    assert [request["status"] for request in inserts(controllable_clickhouse, "pytest_results")] == [0, 0]
    controllable_clickhouse.reset()
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    assert kept.counts() == (TESTS, 0, 1)


def test_results_are_sent_when_all_events_have_arrived(kept: Replayer, controllable_clickhouse: ClickHouse) -> None:
    kept.keep_run(TESTS, events=2)
    controllable_clickhouse.delay(0.3)
    process = kept.start()
    wait_for_inserts(controllable_clickhouse, "pytest_results", 1)
    assert {request["status"] for request in inserts(controllable_clickhouse, "pytest_results_events")} == {200}
    controllable_clickhouse.reset()
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    assert kept.counts() == (TESTS, 2 * TESTS, 1)


class Place:
    """A destination that takes all batches but those with a token in ``refuses``; it tells what it was sent."""

    label = "place"
    carries_events = False

    def __init__(self, sent: list[str], refuses: str = "") -> None:
        self._sent = sent
        self._refuses = refuses

    def warm_up(self) -> None: ...

    def prepare(self) -> Reply:
        return Reply(Answer.TAKEN)

    def send(self, batch: Batch) -> Reply:
        self._sent.append(batch.token)
        return Reply(Answer.UNAVAILABLE, "away", fatal=True) if batch.token in self._refuses else Reply(Answer.TAKEN)

    def absent(self, batch: Batch) -> list[bytes] | None:
        return None

    def notes(self) -> list[str]:
        return []

    def release(self) -> None: ...

    def close(self) -> None: ...


def test_what_was_on_its_way_beside_a_batch_that_did_not_arrive_is_told_and_no_more_begun() -> None:
    sent: list[str] = []
    lanes = Lanes([Place(sent, refuses="b"), Place(sent, refuses="b")])
    batches = [(token, Batch("results", b'{"span_id":"1"}\n', 1, token)) for token in "abcdef"]
    told = [(token, delivered.reply.answer) for token, _, delivered in lanes.deliver(batches)]
    assert told == [("a", Answer.TAKEN), ("b", Answer.UNAVAILABLE), ("c", Answer.TAKEN)]
    assert sorted(sent) == ["a", "b", "c"]


def test_one_lane_sends_in_order() -> None:
    sent: list[str] = []
    batches = [(token, Batch("results", b'{"span_id":"1"}\n', 1, token)) for token in "abcdef"]
    assert [token for token, _, _ in Lanes([Place(sent)]).deliver(batches)] == list("abcdef")
    assert sent == list("abcdef")


def test_an_error_of_a_lane_is_raised_where_its_batch_would_be_told() -> None:
    class Broken(Place):
        def send(self, batch: Batch) -> Reply:
            raise MemoryError(batch.token)

    with pytest.raises(MemoryError, match="a"):
        list(Lanes([Broken([])]).deliver([("a", Batch("results", b'{"span_id":"1"}\n', 1, "a"))]))


def test_batches_that_fail_side_by_side_stay_on_disk(kept: Replayer, controllable_clickhouse: ClickHouse) -> None:
    kept.keep_run(TESTS)
    controllable_clickhouse.fail(503, 1_000, keyword="INSERT")
    assert kept.replay().code == 1
    controllable_clickhouse.reset()
    assert kept.replay().code == 0
    assert kept.counts() == (TESTS, 0, 1)
    assert kept.left() == []
