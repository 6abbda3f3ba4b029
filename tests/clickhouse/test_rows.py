"""The ClickHouse destination and its rows: what goes in, how, and what is known to be there already."""

from __future__ import annotations

import json

import pytest

from pytest_test_observer._columns import TABLES
from pytest_test_observer._destinations import Answer, Batch, Unanswered
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


# --- what is stored already


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
