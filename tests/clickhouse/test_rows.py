"""The ClickHouse destination and its rows: what goes in, how, and what is known to be there already."""

from __future__ import annotations

import pytest

from pytest_test_observer._destinations import Answer
from tests.clickhouse.kit import Place, batch, row


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
