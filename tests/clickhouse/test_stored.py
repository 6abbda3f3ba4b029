"""What of a batch a table has already: the questions that replay asks, and their answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_test_observer._columns import TABLES
from pytest_test_observer._destinations import Answer, Batch, Unanswered
from pytest_test_observer._destinations._stored import absent_lines
from tests.clickhouse.kit import Place, batch, row
from tests.journals import begun, reader_of, record

if TYPE_CHECKING:
    from pathlib import Path

MINUTE_NS = 60_000_000_000
# Of what ``written`` makes, in seconds.
TIMES = {"results": "1700000001", "events": "1700000000.5"}


def written(directory: Path, tests: int, apart_ns: int = 0, first: int = 0, **fields: Any) -> dict[str, Batch]:
    """Return what a journal of so many tests with an event each is sent as, by table."""
    journal = begun(directory)
    for number in range(first, first + tests):
        end = 1_700_000_001_000_000_000 + number * apart_ns
        journal.append(record(f"test_{number}", end_ns=end, events=1, span_id=f"{number:016x}", **fields))
    journal.close()
    batches = {sealed.table: sent for sealed, sent in reader_of(journal.files).cut()}
    return {table: sent._replace(token=f"{sent.token}-{directory.name}") for table, sent in batches.items()}


class Asked:
    """Asks a server, and remembers how."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.by_name: list[bool] = []

    def __call__(self, question: str) -> bytes:
        self.by_name.append("nodeid IN" in question)
        return self._place.server.execute(f"{question} FORMAT JSONCompactEachRow", database=self._place.database)


@pytest.mark.parametrize("table", ["results", "events"])
def test_lines_of_ours_are_asked_for_by_their_time_alone(place: Place, tmp_path: Path, table: str) -> None:
    destination, ask = place.destination(), Asked(place)
    destination.prepare()
    name = TABLES[table].name("pytest_results")
    sent, others = (written(tmp_path / directory, 20, first=first)[table] for directory, first in (("a", 0), ("b", 20)))
    assert absent_lines(sent, name, ask) is None
    assert destination.send(sent).answer is Answer.TAKEN
    assert absent_lines(others, name, ask) is None  # of the same time
    assert absent_lines(sent, name, ask) == []
    assert ask.by_name == [False] * 3


@pytest.mark.parametrize("table", ["results", "events"])
def test_where_many_others_ran_at_the_time_names_say_which_rows_are_meant(
    place: Place, tmp_path: Path, table: str
) -> None:
    destination, ask = place.destination(), Asked(place)
    name = TABLES[table].name("pytest_results")
    sent = written(tmp_path / "a", 4)[table]
    others = written(tmp_path / "b", 40, first=10)[table]
    assert destination.send(sent).answer is destination.send(others).answer is Answer.TAKEN
    assert absent_lines(sent, name, ask) == []
    assert ask.by_name == [False, True]


@pytest.mark.parametrize("table", ["results", "events"])
def test_rows_without_ids_of_the_same_time_hide_none_that_is_there(place: Place, tmp_path: Path, table: str) -> None:
    destination, ask = place.destination(), Asked(place)
    name = TABLES[table].name("pytest_results")
    sent = written(tmp_path, 4)[table]
    assert destination.prepare().answer is Answer.TAKEN
    # as 0.2.0 writes them
    others = f"SELECT toString(number), toDateTime64({TIMES[table]}, 3) FROM numbers(100)"
    place.run(f"INSERT INTO {name} (nodeid, timestamp) {others}")
    assert destination.send(sent).answer is Answer.TAKEN
    assert absent_lines(sent, name, ask) == []
    assert ask.by_name == [False, True]


def test_a_row_without_an_id_says_of_no_other_that_it_is_there(place: Place) -> None:
    destination = place.destination()
    rows = [row(1, span_id="", nodeid="n"), row(1, nodeid="n")]
    assert destination.send(batch(rows)).answer is Answer.TAKEN
    assert destination.absent(batch(rows)) == batch(rows[:1]).data.splitlines(keepends=True)


@pytest.mark.parametrize("table", ["results", "events"])
def test_ids_may_be_null_in_a_table_of_the_users_own(place: Place, tmp_path: Path, table: str) -> None:
    nullable = {"span_id": "Nullable(String)", "seq": "Nullable(UInt32)"}
    name = TABLES[table].name("pytest_results")
    columns = [f"{each.name} {nullable.get(each.name, each.type)}" for each in TABLES[table].columns]
    order = "(nodeid, timestamp)"
    place.run(f"CREATE TABLE {name} ({', '.join(columns)}) ENGINE = MergeTree ORDER BY {order}")
    sent = written(tmp_path, 4)[table]
    place.run(f"INSERT INTO {name} (nodeid, timestamp, span_id) SELECT 'n', toDateTime64({TIMES[table]}, 3), NULL")
    destination = place.destination()
    assert destination.absent(sent) is None
    assert destination.send(sent).answer is Answer.TAKEN
    assert destination.absent(sent) == []


def test_where_a_question_of_time_may_not_read_so_much_names_say_which_rows_are_meant(
    place: Place, tmp_path: Path
) -> None:
    class Limited(Asked):
        def __call__(self, question: str) -> bytes:
            return super().__call__(f"{question} SETTINGS max_rows_to_read = 50000")

    destination, ask = place.destination(), Limited(place)
    assert destination.prepare().answer is Answer.TAKEN
    others = "SELECT toString(number), toDateTime64(1700000001, 3) - number FROM numbers(200000)"
    place.run(f"INSERT INTO pytest_results (nodeid, timestamp) {others}")
    sent = written(tmp_path, 4)["results"]
    assert destination.send(sent).answer is Answer.TAKEN
    assert absent_lines(sent, "pytest_results", ask) == []
    assert ask.by_name == [False, True]


def test_a_time_that_no_table_has_is_not_compared(place: Place) -> None:
    destination = place.destination()
    rows = [row(1, timestamp="9999-12-31T23:59:59.999+00:00"), row(2)]
    assert destination.send(batch(rows[1:])).answer is Answer.TAKEN
    assert destination.absent(batch(rows)) == batch(rows[:1]).data.splitlines(keepends=True)


def test_a_time_that_is_no_column_of_a_row_is_not_taken_for_its_time(place: Place, tmp_path: Path) -> None:
    destination = place.destination()
    attributes = {"timestamp": "2001-01-01T00:00:00.000+00:00", "started_at": "1"}
    sent = written(tmp_path, 3, MINUTE_NS, attributes=attributes)["results"]
    assert b'"attributes":{"timestamp":"2001' in sent.data
    assert destination.send(sent).answer is Answer.TAKEN
    assert destination.absent(sent) == []


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
    assert destination.absent(batch([row(1, run_id="r2", span_id="f" * 16)])) is None


def test_times_of_several_shapes_are_compared_as_times_and_not_as_texts(place: Place) -> None:
    destination = place.destination()
    times = ["2025-01-31 09:00:00.000+00:00", "2025-01-31T08:00:00.000+00:00", "2025-01-31T08:30:00.000-01:00"]
    rows = [row(number, timestamp=time) for number, time in enumerate(times)]
    assert destination.send(batch(rows)).answer is Answer.TAKEN
    assert destination.absent(batch(rows)) == []


def test_times_of_several_zones_are_compared_as_times_and_not_as_texts(place: Place) -> None:
    destination = place.destination()
    times = [f"2025-01-31T{text}" for text in ("09:00:00.001+00:00", "09:30:00.000+00:00", "10:00:00.000+09:00")]
    rows = [row(number, timestamp=time) for number, time in enumerate(times)]
    assert destination.send(batch(rows)).answer is Answer.TAKEN
    assert destination.absent(batch(rows)) == []


def test_a_batch_of_usual_names_is_asked_for_in_one_question_without_its_ids(ours: Place) -> None:
    destination = ours.destination()
    rows = [row(number, nodeid=f"tests/test_a.py::test_{number}") for number in range(5_000)]
    assert destination.prepare().answer is Answer.TAKEN
    ours.server.reset()
    assert destination.absent(batch(rows)) is None
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
    destination = place.destination()
    stored = batch([row()])
    assert destination.send(stored).answer is Answer.TAKEN
    lines = b'{"nodeid": "n"}\n{"span_id": 7}\n{torn\n\xff\xfe\n'
    assert destination.absent(Batch("results", lines, 4, "t")) is None
    assert destination.absent(Batch("results", lines + stored.data, 5, "t")) == lines.splitlines(keepends=True)


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
