"""Replaying what runs of this version kept: whole, once, and without losing what nobody takes."""

from __future__ import annotations

import builtins
import errno
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_test_observer._clock import Clock
from pytest_test_observer._journal.sidecar import Sealed, Taken, encode_line
from tests.replay_kit import Replayer, change_line, lines_of, open_journal
from tests.servers.client import embedded_query
from tests.servers.faulty import faulty

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers.client import ClickHouse


@pytest.fixture
def kept(tmp_path: Path, clickhouse_server: ClickHouse, database: str) -> Replayer:
    return Replayer(tmp_path, clickhouse_server, database)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing wait between two tries of this process."""
    monkeypatch.setattr(Clock, "sleep", lambda _seconds: None)


def digests(directory: Path) -> dict[str, str]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# ---------------------------------------------------------------------- the straightforward path


def test_without_paths_all_that_was_kept_is_sent_and_removed(kept: Replayer) -> None:
    kept.keep_run(3, run_id="one", events=2)
    kept.keep_run(2, run_id="two")
    done = kept.replay()
    assert done.code == 0
    assert kept.counts() == (5, 6, 2)
    assert kept.left() == []
    assert done.lines == [
        f"{kept.buffers}/one.jsonl: 3 results, 6 events sent",
        f"{kept.buffers}/two.jsonl: 2 results sent",
        f"5 results, 6 events sent to {kept.server.url}.",
    ]


def test_nothing_to_replay_is_said_and_no_error(kept: Replayer) -> None:
    done = kept.replay()
    assert (done.code, done.output) == (0, "Nothing to replay: no results were kept on disk.\n")


@pytest.mark.parametrize("ending", [".jsonl", "_events.jsonl", ".meta.jsonl", ".log", ".lock", ".running"])
def test_each_file_of_a_run_stands_for_the_run(kept: Replayer, ending: str) -> None:
    kept.keep_run(2, run_id="other")
    kept.keep_run(3, events=1)
    (kept.buffers / f"run{ending}").touch()
    done = kept.replay(kept.buffers / f"run{ending}")
    assert done.code == 0
    assert kept.counts() == (3, 3, 1)
    assert kept.left() == ["other.jsonl", "other.meta.jsonl"]


def test_a_directory_stands_for_all_runs_in_it_each_once(kept: Replayer, tmp_path: Path) -> None:
    kept.keep_run(3, events=1)
    artifacts = tmp_path / "artifacts"
    kept.buffers.rename(artifacts)
    done = kept.replay(artifacts, artifacts / "run.jsonl")
    assert done.code == 0
    assert kept.counts() == (3, 3, 1)
    assert list(artifacts.iterdir()) == []


def test_what_lies_deeper_in_an_artifact_is_found_but_not_what_was_set_aside(kept: Replayer, tmp_path: Path) -> None:
    kept.keep_run(2, run_id="one")
    (kept.buffers / "quarantine").mkdir()
    (kept.buffers / "quarantine" / "other.jsonl").write_text("no row\n")
    inner = tmp_path / "artifact" / "observer" / "pytest-test-observer"
    inner.parent.mkdir(parents=True)
    kept.buffers.rename(inner)
    assert kept.replay(tmp_path / "artifact").lines == [
        f"{inner}/one.jsonl: 2 results sent",
        f"2 results sent to {kept.server.url}.",
    ]
    assert os.listdir(inner) == ["quarantine"]
    again = kept.replay(tmp_path / "artifact")
    assert (again.code, again.output) == (0, f"Nothing to replay: no results are in {tmp_path}/artifact.\n")


def test_runs_in_a_temporary_directory_are_found_too(kept: Replayer) -> None:
    shared = kept.temporary / "pytest-test-observer-0"
    kept.keep_run(3)
    kept.buffers.rename(shared)
    # tempfile remembers the directory of this process
    assert kept.run().code == 0
    assert kept.counts() == (3, 0, 1)


def test_the_embedded_engine_takes_a_replay(kept: Replayer, tmp_path: Path) -> None:
    kept.keep_run(3)
    done = kept.run(f"--ch-url=chdb://{tmp_path}/db", "--ch-db=default")
    assert done.code == 0
    assert embedded_query(f"{tmp_path}/db", "SELECT count() AS n FROM pytest_results") == [{"n": 3}]
    assert kept.left() == []


def test_others_get_their_turn_at_the_embedded_engine_during_a_long_replay(kept: Replayer, tmp_path: Path) -> None:
    for number in range(3):
        kept.keep_run(1, run_id=f"run-{number}")
    engine = f"chdb://{tmp_path}/db"
    assert kept.run(f"--ch-url={engine}", "--ch-db=default", "--keep").code == 0
    code = (
        "import itertools, sys\n"
        "from pytest_test_observer._cli import main\n"
        "from pytest_test_observer._clock import Clock\n"
        "from pytest_test_observer._destinations.clickhouse import ClickHouseDestination\n"
        "Clock.monotonic = itertools.count(0, 3).__next__\n"
        "close = ClickHouseDestination.close\n"
        "ClickHouseDestination.close = lambda self: (print('closed'), close(self))\n"
        "main()\n"
    )
    command = [sys.executable, "-c", code, "replay", f"--ch-url={engine}", "--ch-db=default"]
    done = subprocess.run(command, env={**os.environ, **kept.env}, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines().count("closed") > 2


def test_a_dry_run_lists_what_there_is_and_touches_nothing(kept: Replayer) -> None:
    kept.keep_run(3, run_id="ended", events=1)
    kept.keep_run(2, run_id="dead", ended=False)
    (kept.buffers / "older.jsonl").write_text('{"run_id": "r", "nodeid": "n", "status": "passed"}')
    before = digests(kept.buffers)
    size = {name: (kept.buffers / name).stat().st_size for name in os.listdir(kept.buffers)}
    done = kept.replay("--dry-run", env={"PYTEST_OBSERVER_CH_URL": "http://127.0.0.1:1"})
    assert done.code == 0
    ended = size["ended.jsonl"] + size["ended_events.jsonl"]
    total = ended + size["dead.jsonl"] + size["older.jsonl"]
    assert done.lines == [
        f"{kept.buffers}/dead.jsonl: 2 rows, {size['dead.jsonl']:,} bytes, dead run",
        f"{kept.buffers}/ended.jsonl: 6 rows, {ended:,} bytes, run that ended",
        (
            f"{kept.buffers}/older.jsonl: 1 row, {size['older.jsonl']:,} bytes, "
            "without a sidecar, as version 0.2.0 wrote it"
        ),
        f"3 to replay: 9 rows, {total:,} bytes.",
    ]
    assert digests(kept.buffers) == before


def test_a_dry_run_counts_only_what_a_replay_would_send(kept: Replayer) -> None:
    """A helper that was killed has not cut out of the files what has arrived."""
    files = kept.keep_run(5, events=1)
    first, *rest = lines_of(files.results)
    with open(files.meta, "ab") as meta:
        digest = hashlib.blake2b(first, digest_size=16).hexdigest()
        meta.write(encode_line(Sealed(1, "results", len(first), 1, digest)) + encode_line(Taken(1)))
    (kept.buffers / "app.jsonl").write_text('{"level": "info"}\n')
    live = open_journal(kept.env, "live")
    done = kept.replay("--dry-run")
    waits = sum(map(len, rest)) + os.path.getsize(files.events)
    assert done.lines == [
        f"{kept.buffers}/app.jsonl: 1 row, 18 bytes, not ours",
        f"{kept.buffers}/live.jsonl: 0 rows, 0 bytes, live: a run is writing to it",
        f"{files.results}: 9 rows, {waits:,} bytes, run that ended",
        f"1 to replay: 9 rows, {waits:,} bytes.",
    ]
    live.close()


@pytest.mark.parametrize("flag", ["--keep", "--dry-run"])
def test_what_is_no_file_is_refused_and_not_waited_for(kept: Replayer, tmp_path: Path, flag: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    done = kept.replay(flag, tmp_path / "fifo")
    assert done.code == 2
    assert done.output == (
        f"Error: {tmp_path}/fifo is neither a file nor a directory: put what comes through it into a file, and give "
        "that.\n"
    )


@pytest.mark.parametrize("name", ["", "run.jsonl", "artifact"])
def test_what_cannot_be_read_is_told_and_the_others_are_sent(
    kept: Replayer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Of a run as root, say, with the cache of another user. Root itself may read all, so the denial is made here."""
    kept.keep_run(3)
    (kept.buffers / "run.meta.jsonl").unlink()
    (kept.buffers / "artifact").mkdir()
    denied = str(kept.buffers / name).rstrip("/")
    other = kept.temporary / "pytest-test-observer-0"
    shutil.copytree(kept.buffers, other)
    really_open, really_scan = builtins.open, os.scandir

    def refuse(really: Callable[..., Any]) -> Callable[..., Any]:
        def refusing(path: Any, *arguments: Any, **options: Any) -> Any:
            if path == denied:
                raise PermissionError(errno.EACCES, "Permission denied", path)
            return really(path, *arguments, **options)

        return refusing

    monkeypatch.setattr(builtins, "open", refuse(really_open))
    monkeypatch.setattr(os, "scandir", refuse(really_scan))
    monkeypatch.setattr(tempfile, "tempdir", str(kept.temporary))
    looked = kept.replay("--dry-run")
    assert f"{denied}: 0 rows, 0 bytes, cannot be read: Permission denied" in looked.lines
    done = kept.replay()
    assert done.code == 1
    assert f"{denied}: not sent: Permission denied ({denied})" in done.lines
    assert kept.counts() == (3, 0, 0)


def test_without_a_temporary_directory_there_is_none_to_look_in(
    kept: Replayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    kept.keep_run(3)
    monkeypatch.setattr(tempfile, "gettempdir", none)
    assert kept.replay().code == 0
    assert kept.counts() == (3, 0, 1)


# ---------------------------------------------------------------------- once


def test_with_keep_the_files_stay_as_they_are_and_twice_is_once(kept: Replayer) -> None:
    kept.keep_run(3, events=2)
    kept.keep_run(2, run_id="dead", ended=False, running="test_it_died_in")
    before = digests(kept.buffers)
    first, second = kept.replay("--keep"), kept.replay("--keep")
    assert (first.code, second.code) == (0, 0)
    assert kept.counts() == (6, 6, 2)
    assert digests(kept.buffers) == before
    assert os.listdir(kept.temporary) == []
    assert "(10 rows were there already)" in second.lines[1]


def test_only_the_rows_that_are_absent_are_sent(kept: Replayer) -> None:
    kept.keep_run(9, events=1)
    kept.replay("--keep")
    kept.server.execute(
        "ALTER TABLE pytest_results DELETE WHERE nodeid > 'test_a.py::test_000005' SETTINGS mutations_sync=2",
        database=kept.database,
    )
    assert kept.counts() == (6, 9, 1)
    done = kept.replay()
    assert "9 results, 9 events sent (16 rows were there already)" in done.lines[0]
    assert kept.counts() == (9, 9, 1)


def test_a_batch_goes_under_the_token_it_was_sealed_with(kept: Replayer, controllable_clickhouse: ClickHouse) -> None:
    files = kept.keep_run(3)
    controllable_clickhouse.fail(503, 3, keyword="INSERT")
    assert kept.replay().code == 1
    sealed = [json.loads(line) for line in lines_of(files.meta) if b'"kind":"sealed"' in line]
    assert kept.replay().code == 0
    session = ("run" * 32).encode().hex()[:32]
    expected = [f"{session}-{batch['number']}-{batch['digest']}" for batch in sealed]
    inserts = [request for request in controllable_clickhouse.requests() if "INSERT" in request["statement"]]
    tokens = [request["params"]["insert_deduplication_token"] for request in inserts]
    assert tokens == [expected[0]] * 4 + [expected[1]]
    assert kept.counts() == (3, 0, 1)


def test_a_batch_whose_answer_was_lost_is_not_sent_again(kept: Replayer, controllable_clickhouse: ClickHouse) -> None:
    kept.keep_run(3)
    controllable_clickhouse.fail(503, 1, keyword="INSERT", after=True)
    done = kept.replay()
    assert "3 results sent (3 rows were there already)" in done.lines[0]
    assert kept.counts() == (3, 0, 1)


def test_without_the_right_to_select_all_is_sent_and_that_is_said_once(
    kept: Replayer, controllable_clickhouse: ClickHouse
) -> None:
    kept.keep_run(1, run_id="first")
    kept.replay()
    kept.keep_run(3, events=1)
    kept.keep_run(3, run_id="other", events=1)
    done = kept.replay(env={"PYTEST_OBSERVER_CH_USER": "writer_only"})
    assert done.code == 0
    assert kept.counts() == (7, 6, 3)
    assert done.output.count("right to SELECT") == 1
    assert "recognised only among the server's most recent inserts" in done.output


def test_nothing_is_sent_while_the_table_cannot_be_asked(kept: Replayer, controllable_clickhouse: ClickHouse) -> None:
    kept.keep_run(3)
    kept.replay("--keep")
    controllable_clickhouse.fail(503, 100, keyword="SELECT")
    before = len([True for request in controllable_clickhouse.requests() if "INSERT" in request["statement"]])
    done = kept.replay()
    after = len([True for request in controllable_clickhouse.requests() if "INSERT" in request["statement"]])
    assert (done.code, after - before) == (1, 0)
    controllable_clickhouse.reset()
    assert kept.replay().code == 0
    assert kept.counts() == (3, 0, 1)


# ---------------------------------------------------------------------- what is not sent stays


def test_a_server_that_is_down_leaves_the_files_as_they_are(kept: Replayer) -> None:
    kept.keep_run(3)
    before = digests(kept.buffers)
    with faulty("refusing") as server:
        done = kept.replay(f"--ch-url={server.url}")
    assert done.code == 1
    assert done.lines[0].startswith(f"Nothing sent to {server.url}: cannot connect")
    assert digests(kept.buffers) == before


def test_a_wrong_password_is_one_line_without_the_password(kept: Replayer, controllable_clickhouse: ClickHouse) -> None:
    kept.keep_run(3)
    done = kept.replay(env={"PYTEST_OBSERVER_CH_PASSWORD": "not-the-secret"})
    assert done.code == 1
    assert len(done.lines) == 1
    assert "check --ch-user and --ch-password" in done.output
    assert "not-the-secret" not in done.output


def test_after_a_partial_success_only_what_is_left_is_kept(kept: Replayer, controllable_clickhouse: ClickHouse) -> None:
    files = kept.keep_run(3, events=1)
    kept.replay("--keep")
    kept.server.execute("TRUNCATE TABLE pytest_results", database=kept.database)
    kept.server.execute("TRUNCATE TABLE pytest_results_runs", database=kept.database)
    controllable_clickhouse.fail(503, 3, keyword="INSERT")
    done = kept.replay()
    assert done.code == 1
    assert "0 results" not in done.output
    assert "3 events sent (3 rows were there already); the rest not sent: " in done.lines[0]
    assert os.path.getsize(files.events) == 0
    assert len(lines_of(files.results)) == 3
    assert kept.replay().code == 0
    assert kept.counts() == (3, 3, 1)
    assert kept.left() == []


def test_after_three_files_that_could_not_be_sent_the_others_need_not_wait(
    kept: Replayer, controllable_clickhouse: ClickHouse
) -> None:
    for number in range(5):
        kept.keep_run(1, run_id=f"run-{number}")
    controllable_clickhouse.fail(503, 100, keyword="INSERT")
    done = kept.replay()
    assert done.code == 1
    assert [line.partition(": ")[2][:19] for line in done.lines[:5]] == ["not sent: the servic"[:19]] * 3 + [
        "not sent: not tried"
    ] * 2
    assert done.lines[-1] == f"Nothing sent to {kept.server.url}; 5 of 5 files not sent completely."
    inserts = [True for request in controllable_clickhouse.requests() if "INSERT" in request["statement"]]
    assert len(inserts) == 5  # three tries for the first, one for each of the next two
    controllable_clickhouse.reset()
    assert kept.replay().code == 0
    assert kept.counts() == (5, 0, 5)


# ---------------------------------------------------------------------- who else is at the files


def test_a_run_that_is_still_writing_is_left_alone_and_said(kept: Replayer) -> None:
    journal = open_journal(kept.env)
    kept.keep_run(3, run_id="over")
    seen = kept.run("--dry-run")
    done = kept.run()
    journal.close()
    assert (done.code, seen.code) == (1, 0)
    assert "run.jsonl: not sent: a run is writing to it" in done.lines[1]
    assert "live: a run is writing to it" in seen.lines[1]
    assert kept.counts() == (3, 0, 1)


def test_a_run_whose_lock_the_suite_has_closed_is_left_alone_while_its_pytest_lives(kept: Replayer) -> None:
    journal = open_journal(kept.env)
    journal.close()
    assert "a run is writing to it" in kept.run().lines[0]


def test_a_run_that_ended_may_be_sent_although_its_process_lives(kept: Replayer) -> None:
    from pytest_test_observer._process import this_process

    kept.keep_run(3, process=this_process())
    assert kept.replay().code == 0
    assert kept.counts() == (3, 0, 1)


def test_files_that_somebody_else_sends_are_left_alone(kept: Replayer) -> None:
    from pytest_test_observer._journal.locks import SENDER, FileLock

    files = kept.keep_run(3)
    lock = FileLock(files.lock, SENDER)
    assert lock.acquire()
    done = kept.run()
    lock.release()
    assert done.code == 1
    assert "not sent: another process is sending it" in done.lines[0]
    assert len(lines_of(files.results)) == 3


# ---------------------------------------------------------------------- runs that died


def test_a_dead_run_gets_the_row_of_its_running_test_and_its_own(kept: Replayer) -> None:
    files = kept.keep_run(2, ended=False, running="test_killer")
    for path in (files.results, files.meta):
        os.utime(path, ns=(1_795_455_830_000_000_000,) * 2)
    assert kept.replay().code == 0
    crashed = kept.rows("status, outcome, when_phase, finished_at", order="nodeid DESC")[0]
    assert crashed == {
        "status": "broken",
        "outcome": "crashed",
        "when_phase": "setup",
        "finished_at": 1_795_455_830_000,
    }
    (run,) = kept.rows("status, collected, not_run, passed, broken", "pytest_results_runs", "run_id")
    assert run == {"status": "aborted", "collected": 3, "not_run": 0, "passed": 2, "broken": 1}
    assert kept.left() == []


def test_a_run_that_died_before_its_first_test_leaves_only_its_row(kept: Replayer) -> None:
    kept.keep_run(0, ended=False)
    assert kept.replay().code == 0
    assert kept.counts() == (0, 0, 1)
    assert kept.left() == []


def test_files_of_a_run_that_died_before_its_first_line_are_removed(kept: Replayer) -> None:
    kept.buffers.mkdir(parents=True)
    (kept.buffers / "run.meta.jsonl").touch()
    (kept.buffers / "run.jsonl").touch()
    assert kept.replay().code == 0
    assert kept.left() == []


# ---------------------------------------------------------------------- lines that nobody takes


def test_a_torn_last_line_is_set_aside_byte_for_byte(kept: Replayer) -> None:
    files = kept.keep_run(3, ended=False)
    torn = lines_of(files.results)[-1][:200]
    with open(files.results, "ab") as file:
        file.write(torn)
    done = kept.replay()
    assert done.code == 3
    assert kept.counts() == (3, 0, 1)
    assert kept.left() == []
    (reason,) = kept.reasons()
    data = kept.quarantined("run.jsonl")
    assert data[reason["offset"] : reason["offset"] + reason["size"]] == torn
    assert reason["reason"] == "its end is missing"
    assert reason["source"] == files.results
    assert done.lines[0] == (
        f"{files.results}: 3 results sent; 1 line set aside in {kept.buffers}/quarantine (its end is missing)"
    )
    assert done.lines[-1] == f"3 results sent to {kept.server.url}; 1 line set aside."


def test_a_last_line_that_lacks_only_its_line_feed_is_sent(kept: Replayer) -> None:
    files = kept.keep_run(3)
    os.truncate(files.results, os.path.getsize(files.results) - 1)
    assert kept.replay().code == 0
    assert kept.counts() == (3, 0, 1)


DAMAGES = {
    "bytes that are no UTF-8": (b"test_000004", b"test_\xff\xfe04"),
    "no valid JSON": (b'"status":', b'"status'),
    "no row of this plugin: it has no span_id": (b'"span_id":', b'"spam_id":'),
    "ClickHouse cannot read a row": (b'"attempt":1', b'"attempt":"x"'),
    "Unsigned type must not contain '-'": (b'"line":0', b'"line":-5'),
}


@pytest.mark.parametrize("reason", DAMAGES)
def test_a_line_that_nobody_takes_is_set_aside_and_the_others_are_sent(kept: Replayer, reason: str) -> None:
    files = kept.keep_run(9)
    damaged = change_line(files.results, 4, *DAMAGES[reason])
    done = kept.replay()
    assert done.code == 3, done.output
    assert kept.counts() == (8, 0, 1)
    assert kept.quarantined("run.jsonl") == damaged
    assert reason in kept.reasons()[0]["reason"]
    assert kept.left() == []


def test_refused_events_and_runs_are_set_aside_in_files_of_their_own(kept: Replayer) -> None:
    files = kept.keep_run(3, events=1)
    event = change_line(files.events, 1, b'"seq":0', b'"seq":"first"')
    change_line(files.meta, -1, b'"exit_status":0', b'"exit_status":"good"')
    assert kept.replay().code == 3
    assert kept.counts() == (3, 2, 0)
    assert kept.quarantined("run_events.jsonl") == event
    assert b'"exit_status":"good"' in kept.quarantined("run_runs.jsonl")


def test_the_quarantine_is_private(kept: Replayer) -> None:
    files = kept.keep_run(3)
    change_line(files.results, 1, b'"attempt":1', b'"attempt":"x"')
    kept.replay()
    quarantine = kept.buffers / "quarantine"
    assert stat.S_IMODE(quarantine.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in quarantine.iterdir()} == {0o600}


def test_few_refused_lines_among_many_are_found_with_few_requests(
    kept: Replayer, controllable_clickhouse: ClickHouse
) -> None:
    files = kept.keep_run(2000)
    for index in (7, 1500):
        change_line(files.results, index, b'"attempt":1', b'"attempt":"x"')
    assert kept.replay().code == 3
    assert kept.counts() == (1998, 0, 1)
    inserts = [True for request in controllable_clickhouse.requests() if "INSERT" in request["statement"]]
    assert len(inserts) < 50


def test_a_server_that_refuses_every_line_gets_the_blame(kept: Replayer) -> None:
    files = kept.keep_run(20)
    data = Path(files.results).read_bytes().replace(b'"attempt":1', b'"attempt":"x"')
    Path(files.results).write_bytes(data)
    done = kept.replay()
    assert done.code == 1
    assert "every line is refused, so nothing was set aside" in done.output
    assert Path(files.results).read_bytes() == data
    assert not (kept.buffers / "quarantine").exists()


def test_set_aside_lines_that_were_mended_can_be_replayed_from_the_quarantine(kept: Replayer) -> None:
    files = kept.keep_run(9)
    change_line(files.results, 4, b'"attempt":1', b'"attempt":"x"')
    change_line(files.results, 5, b'"attempt":1', b'"attempt":"y"')
    kept.replay()
    quarantined = kept.buffers / "quarantine" / "run.jsonl"
    change_line(str(quarantined), 0, b'"attempt":"x"', b'"attempt":1')
    done = kept.replay(quarantined)
    assert done.code == 3
    assert kept.counts() == (8, 0, 1)
    assert quarantined.exists()
    change_line(str(quarantined), 1, b'"attempt":"y"', b'"attempt":1')
    assert kept.replay(quarantined).code == 0
    assert kept.counts() == (9, 0, 1)
    assert not quarantined.exists()


def test_with_keep_a_refused_line_is_set_aside_once(kept: Replayer) -> None:
    files = kept.keep_run(9)
    damaged = change_line(files.results, 4, b'"attempt":1', b'"attempt":"x"')
    assert (kept.replay("--keep").code, kept.replay("--keep").code) == (3, 3)
    assert kept.quarantined("run.jsonl") == damaged
    assert kept.counts() == (8, 0, 1)


def test_lines_that_were_damaged_after_they_were_sealed_do_not_hold_up_the_rest(
    kept: Replayer, controllable_clickhouse: ClickHouse
) -> None:
    files = kept.keep_run(9)
    controllable_clickhouse.fail(503, 3, keyword="INSERT")
    kept.replay()
    damaged = change_line(files.results, 4, b'"status":', b'"status')
    assert kept.replay().code == 3
    assert kept.counts() == (8, 0, 1)
    assert kept.quarantined("run.jsonl") == damaged
