"""Replaying files without a sidecar: those of version 0.2.0, and what is no buffer file at all.

``tests/data/0.2.0`` was written by pytest-test-observer 0.2.0 itself while its server was down.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_test_observer._clock import Clock
from pytest_test_observer._columns import EVENTS, RESULTS
from pytest_test_observer._replay.older import completed
from tests.clickhouse.kit import OLD_EVENTS, OLD_RESULTS
from tests.replay_kit import Replayer, change_line, lines_of

if TYPE_CHECKING:
    from tests.servers.client import ClickHouse

DATA = Path(__file__).parent / "data" / "0.2.0"
WRITTEN = [json.loads(line) for line in lines_of(str(DATA / "checkout-417.jsonl"))]


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing wait between two tries of this process."""
    monkeypatch.setattr(Clock, "sleep", lambda _seconds: None)


@pytest.fixture
def kept(tmp_path: Path, clickhouse_server: ClickHouse, database: str) -> Replayer:
    kept = Replayer(tmp_path, clickhouse_server, database)
    shutil.copytree(DATA, kept.buffers)
    return kept


def test_each_row_arrives_as_it_was_written_and_the_files_go(kept: Replayer) -> None:
    done = kept.replay()
    assert done.code == 0
    assert kept.counts() == (10, 4, 0)
    assert kept.left() == []
    columns = [column.name for column in RESULTS.columns[:19] if column.name != "timestamp"]
    stored = kept.rows(", ".join(columns), order="finished_at, nodeid, timestamp")
    expected = [{name: row[name] for name in columns} for row in WRITTEN]
    assert sorted(map(json.dumps, stored)) == sorted(map(json.dumps, expected))


def test_times_are_the_instants_that_were_written(kept: Replayer) -> None:
    kept.replay()
    times = kept.rows("toUnixTimestamp64Milli(timestamp) AS t", order="t")
    assert [row["t"] for row in times] == [1_795_455_827_000 + int(row["timestamp"][20:23]) for row in WRITTEN]


def test_what_later_versions_know_is_made_from_the_content(kept: Replayer) -> None:
    kept.replay()
    durations = "setup_duration > 0 AS s, call_duration > 0 AS c, teardown_duration > 0 AS t"
    made = {
        (row["function"], row["outcome"]): (row["attempt"], row["file"], row["s"], row["c"], row["t"])
        for row in kept.rows(f"outcome, attempt, file, function, {durations}")
    }
    file = "test_checkout.py"
    assert made == {
        ("test_pay", "passed"): (1, file, 0, 1, 0),
        ("test_total", "failed"): (1, file, 0, 1, 0),
        ("test_needs_database", "error"): (1, file, 1, 0, 0),
        ("test_with_cleanup", "passed"): (1, file, 0, 1, 0),
        ("test_with_cleanup", "error"): (1, file, 0, 0, 1),
        ("test_later", "skipped"): (1, file, 1, 0, 0),
        ("test_name", "passed"): (1, file, 0, 1, 0),
        ("test_flaky", "failed"): (1, file, 0, 1, 0),
        ("test_flaky", "passed"): (1, file, 0, 1, 0),
    }


def test_rows_of_a_run_share_a_trace_and_each_has_a_span_of_its_own(kept: Replayer) -> None:
    kept.replay()
    rows = kept.rows() + kept.rows(table="pytest_results_events")
    assert len({row["trace_id"] for row in rows}) == 1
    assert {len(row["trace_id"]) for row in rows} == {32}
    assert len({row["span_id"] for row in rows}) == 14
    assert {len(row["span_id"]) for row in rows} == {16}


def test_events_arrive_in_their_table(kept: Replayer) -> None:
    kept.replay(kept.buffers / "checkout-417_events.jsonl")
    names = [column.name for column in EVENTS.columns[:6] if column.name != "timestamp"]
    stored = kept.rows(", ".join(names), "pytest_results_events", "timestamp, seq")
    written = [json.loads(line) for line in lines_of(str(DATA / "checkout-417_events.jsonl"))]
    assert stored == [{name: row[name] for name in names} for row in written]
    assert kept.left() == ["checkout-417.jsonl"]


def test_they_replay_into_the_tables_of_0_2_0_with_rows_in_them(kept: Replayer) -> None:
    for name, columns in (("pytest_results", OLD_RESULTS), ("pytest_results_events", OLD_EVENTS)):
        order = "(nodeid, timestamp)"
        kept.server.execute(
            f"CREATE TABLE {name} ({', '.join(columns)}) ENGINE = MergeTree ORDER BY {order}",
            database=kept.database,
        )
    kept.server.execute("INSERT INTO pytest_results (run_id, nodeid) VALUES ('before', 'n')", database=kept.database)
    assert kept.replay().code == 0
    assert kept.counts() == (11, 4, 0)


def test_twice_is_once_and_so_is_a_copy(kept: Replayer) -> None:
    shutil.copytree(DATA, kept.buffers / "copies")
    assert kept.replay("--keep").code == 0
    done = kept.replay(kept.buffers, kept.buffers / "copies")
    assert done.code == 0
    assert kept.counts() == (10, 4, 0)
    assert done.output.count("there already") == 4


def test_a_line_that_was_written_twice_is_one_row(kept: Replayer) -> None:
    file = kept.buffers / "checkout-417.jsonl"
    file.write_bytes(file.read_bytes() * 2)
    done = kept.replay(file)
    assert done.code == 0
    assert kept.counts()[0] == 10


def test_a_failed_replay_keeps_the_file_whole(kept: Replayer, controllable_clickhouse: ClickHouse) -> None:
    file = kept.buffers / "checkout-417.jsonl"
    controllable_clickhouse.fail(503, 10, keyword="INSERT")
    assert kept.replay(file).code == 1
    assert file.read_bytes() == (DATA / file.name).read_bytes()
    controllable_clickhouse.reset()
    assert kept.replay(file).code == 0
    assert kept.counts()[0] == 10


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"smoke", b"sm\xffke", "bytes that are no UTF-8"),
        (b'"status":', b'"status', "no valid JSON"),
        (b'"nodeid":', b'"nodeidea":', "no row of this plugin"),
        (b'"when_phase": "call"', b'"when_phase": ["call"]', "its status or when_phase is no text"),
        (b'"status": "passed"', b'"status": {}', "its status or when_phase is no text"),
        (b'"markers": ["smoke"]', b'"markers": "smoke"', "ClickHouse cannot read a row"),
    ],
)
def test_a_damaged_line_is_set_aside_as_it_was(kept: Replayer, old: bytes, new: bytes, reason: str) -> None:
    damaged = change_line(str(kept.buffers / "checkout-417.jsonl"), 0, old, new)
    assert kept.replay().code == 3
    assert kept.counts() == (9, 4, 0)
    assert kept.left() == []
    assert kept.quarantined("checkout-417.jsonl") == damaged
    assert reason in kept.reasons("checkout-417")[0]["reason"]


def test_a_torn_last_line_is_set_aside_and_a_whole_one_is_not(kept: Replayer) -> None:
    results, events = kept.buffers / "checkout-417.jsonl", kept.buffers / "checkout-417_events.jsonl"
    results.write_bytes(results.read_bytes()[:-100])
    events.write_bytes(events.read_bytes().rstrip(b"\n"))
    assert kept.replay().code == 3
    assert kept.counts() == (9, 4, 0)
    assert kept.quarantined("checkout-417.jsonl") == lines_of(str(DATA / results.name))[-1][:-100] + b"\n"
    assert kept.reasons("checkout-417")[0]["size"] == len(lines_of(str(DATA / results.name))[-1]) - 100


def test_half_a_surrogate_pair_is_stored_visibly(kept: Replayer) -> None:
    change_line(str(kept.buffers / "checkout-417.jsonl"), 0, b"test_pay", b"test_\\udc80")
    assert kept.replay().code == 0
    assert "test_checkout.py::test_\\udc80" in [row["nodeid"] for row in kept.rows("nodeid")]


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("2025-01-01T10:00:00.123", "2025-01-01T10:00:00.123+00:00"),
        ("2025-01-01 10:00:00", "2025-01-01 10:00:00+00:00"),
        ("2025-01-01T10:00:00Z", "2025-01-01T10:00:00Z"),
        ("2025-01-01T10:00:00-05:00", "2025-01-01T10:00:00-05:00"),
    ],
)
def test_a_time_without_a_zone_is_utc_whatever_zone_the_server_is_in(written: str, sent: str) -> None:
    row = {**WRITTEN[0], "timestamp": written}
    assert json.loads(completed(json.dumps(row).encode(), row))["timestamp"] == sent


def test_an_empty_file_stays_where_it_is(kept: Replayer) -> None:
    empty = kept.buffers / "empty.jsonl"
    empty.touch()
    done = kept.replay(empty)
    assert done.code == 0
    assert "nothing to send" in done.lines[0]
    assert empty.exists()


def test_a_run_id_that_looks_like_a_sidecar_does_not_hide_its_rows(kept: Replayer) -> None:
    (kept.buffers / "checkout-417.jsonl").rename(kept.buffers / "nightly.meta.jsonl")
    assert kept.replay().code == 0
    assert kept.counts() == (10, 4, 0)


def test_a_file_of_this_version_whose_sidecar_is_gone_keeps_its_ids(kept: Replayer) -> None:
    files = kept.keep_run(3, events=2)
    kept.replay("--keep", files.results)
    Path(files.meta).unlink()
    done = kept.replay(files.results, files.events)
    assert done.code == 0
    assert kept.counts() == (3, 6, 1)


@pytest.mark.parametrize("text", ['{"level": "info", "message": "hello"}\n' * 3, "not even JSON\n", "[1, 2]\n"])
def test_a_file_of_somebody_else_is_left_alone(kept: Replayer, tmp_path: Path, text: str) -> None:
    foreign = tmp_path / "server.jsonl"
    foreign.write_text(text)
    done = kept.replay(foreign)
    assert done.code == 1
    assert "it holds no rows of pytest-test-observer, so it was left alone" in done.output
    assert foreign.read_text() == text
    assert not (tmp_path / "quarantine").exists()


def test_a_file_that_grows_while_it_is_sent_is_kept(kept: Replayer, monkeypatch: pytest.MonkeyPatch) -> None:
    from pytest_test_observer._destinations.clickhouse import ClickHouseDestination

    file = kept.buffers / "checkout-417.jsonl"
    send = ClickHouseDestination.send

    def send_while_it_grows(self: ClickHouseDestination, batch: object) -> object:
        with file.open("ab") as growing:
            growing.write(lines_of(str(DATA / file.name))[0].replace(b"test_pay", b"test_late"))
        return send(self, batch)  # type: ignore[arg-type]

    with monkeypatch.context() as context:
        context.setattr(ClickHouseDestination, "send", send_while_it_grows)
        done = kept.replay(file)
    assert done.code == 1
    assert "it was written to meanwhile: replay it again" in done.output
    assert kept.replay(file).code == 0
    assert kept.counts()[0] == 11


def test_a_dot_in_a_run_id_does_not_make_it_a_file_of_another_run(kept: Replayer) -> None:
    kept.keep_run(3, run_id="nightly")
    kept.keep_run(2, run_id="nightly.2")
    (kept.buffers / "checkout-417.jsonl").rename(kept.buffers / "nightly.417.jsonl")
    (kept.buffers / "checkout-417_events.jsonl").rename(kept.buffers / "nightly.417_events.jsonl")
    assert kept.replay("--keep", kept.buffers / "nightly.417.jsonl").code == 0
    assert kept.counts() == (10, 0, 0)
    assert kept.replay().code == 0
    assert kept.counts() == (15, 4, 2)
    assert kept.left() == []


def test_a_name_of_a_file_cannot_write_to_the_terminal(kept: Replayer, tmp_path: Path) -> None:
    foreign = tmp_path / "\x1b[31mred.jsonl"
    foreign.write_text("{}\n")
    assert r"\x1b[31mred.jsonl: not sent" in kept.replay(foreign).output
