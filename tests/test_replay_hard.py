"""Replays under blows: killed, interrupted, two at once, with more rows than memory should hold."""

from __future__ import annotations

import os
import pty
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.beside import without_others
from tests.replay_kit import Replayer, change_line
from tests.servers.faulty import faulty

if TYPE_CHECKING:
    from tests.servers.client import ClickHouse

ROOT = Path(__file__).parent.parent
PATIENCE = 60
_RUNS = 12
# Peak memory of a replay, in MB, after its last line; ru_maxrss would be at least what this process has.
MEASURED = """
from bench.peak import peak_mib
from pytest_test_observer._cli import main
try:
    main()
finally:
    print(int(peak_mib()))
"""


@pytest.fixture
def kept(tmp_path: Path, clickhouse_server: ClickHouse, database: str) -> Replayer:
    return Replayer(tmp_path, clickhouse_server, database)


def test_killed_at_any_moment_and_repeated_each_row_is_there_once(
    kept: Replayer, controllable_clickhouse: ClickHouse
) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    for number in range(_RUNS):
        files = kept.keep_run(30, run_id=f"run-{number:02d}", events=1, ended=False, running="test_killer")
        change_line(files.results, 5, b'"attempt":1', b'"attempt":"x"')
        with open(files.results, "ab") as file:
            file.write(b'{"run_id":"run-')
    controllable_clickhouse.delay(0.02)
    killed = 0
    for _ in range(8):
        process = kept.start()
        try:
            process.communicate(timeout=chance.uniform(0.25, 0.8))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            killed += 1
    controllable_clickhouse.reset()
    done = kept.run()
    assert done.code in (0, 3), done.output
    assert killed > 0
    assert kept.counts() == (_RUNS * 30, _RUNS * 30, _RUNS)  # 29 good ones and the crashed one of each run
    assert kept.left() == []
    for number in range(_RUNS):
        reasons = kept.reasons(f"run-{number:02d}")
        assert [entry["id"] for entry in reasons] == list({entry["id"]: 0 for entry in reasons})
        data = kept.quarantined(f"run-{number:02d}.jsonl")
        pieces = [data[entry["offset"] :][: entry["size"]] for entry in reasons]
        assert len([piece for piece in pieces if b'"attempt":"x"' in piece]) == 1
        assert len([piece for piece in pieces if piece.rstrip() == b'{"run_id":"run-']) == 1


def test_of_two_replays_at_once_the_second_leaves_the_files_to_the_first(
    kept: Replayer, controllable_clickhouse: ClickHouse
) -> None:
    kept.keep_run(3)
    controllable_clickhouse.delay(30)
    first = kept.start()
    controllable_clickhouse.wait_for(lambda request: "INSERT" in request["statement"])
    second = kept.run()
    controllable_clickhouse.reset()
    output, _ = first.communicate(timeout=PATIENCE)
    assert second.code == 1
    assert "not sent: another process is sending it" in second.lines[0] or "a run is writing" in second.lines[0]
    assert first.returncode == 0, output
    assert kept.counts() == (3, 0, 1)


def test_ctrl_c_exits_with_130_and_leaves_what_was_not_confirmed(
    kept: Replayer, controllable_clickhouse: ClickHouse
) -> None:
    files = kept.keep_run(3)
    before = Path(files.results).read_bytes()
    controllable_clickhouse.delay(30)
    process = kept.start()
    controllable_clickhouse.wait_for(lambda request: "INSERT" in request["statement"])
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert output == "Interrupted: what was not confirmed is still on disk.\n"
    assert Path(files.results).read_bytes() == before
    controllable_clickhouse.reset()
    assert kept.run().code == 0
    assert kept.counts() == (3, 0, 1)


def test_memory_does_not_grow_with_the_file(kept: Replayer) -> None:
    peaks = []
    for tests in (20_000, 60_000):  # either is more than is on its way at a time
        kept.keep_run(tests, run_id=f"of-{tests}", ended=False, running="test_killer")
        command = [sys.executable, "-c", MEASURED, "replay"]
        done = subprocess.run(
            command,
            env={**os.environ, **kept.env, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        peaks.append(int(done.stdout.splitlines()[-1]))
    assert kept.counts() == (80_002, 0, 2)
    assert peaks[1] - peaks[0] < 15, peaks


def test_on_a_terminal_a_bar_shows_the_progress(kept: Replayer) -> None:
    kept.keep_run(3)
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest_test_observer.replay"],
        env={**os.environ, **kept.env, "TERM": "xterm", "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(slave)
    shown = b""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            data = os.read(master, 65_536)
        except OSError:  # the other end is closed
            break
        if not data:
            break
        shown += data
    os.close(master)
    _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (0, "")
    assert f"3 results sent to {kept.server.url}.".encode() in shown
    assert "━".encode() in shown


def test_what_a_killed_run_left_is_replayed_with_the_test_it_was_at(kept: Replayer, tmp_path: Path) -> None:
    suite = tmp_path / "suite"
    suite.mkdir()
    (suite / "pytest.ini").write_text("[pytest]\n")
    (suite / "test_a.py").write_text(
        "import os, signal\n"
        "def test_first(record_event):\n    record_event('step', {'n': '1'})\n"
        "def test_killer():\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "def test_never():\n    pass\n"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "CI", "GITHUB_"))}
    with faulty("401") as server:  # a helper does not ask this one for long
        flags = ["-p", "no:cacheprovider", "--custom-events=true", f"--ch-url={server.url}"]
        run = subprocess.run(
            [sys.executable, "-m", "pytest", *flags, *without_others(flags, suite)],
            cwd=suite,
            env={**env, "XDG_CACHE_HOME": str(kept.cache)},
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        assert run.returncode == -signal.SIGKILL
        deadline = time.monotonic() + PATIENCE
        while (done := kept.run("--keep")).code == 1 and time.monotonic() < deadline:
            assert "another process is sending it" in done.output  # the helper has not given up yet
    assert done.code == 0
    assert kept.run().code == 0
    rows = kept.rows("nodeid, outcome", order="started_at")
    assert rows == [
        {"nodeid": "test_a.py::test_first", "outcome": "passed"},
        {"nodeid": "test_a.py::test_killer", "outcome": "crashed"},
    ]
    (run_row,) = kept.rows("status, collected, not_run", "pytest_results_runs", "run_id")
    assert run_row == {"status": "aborted", "collected": 3, "not_run": 1}
    assert kept.counts() == (2, 1, 1)
    assert kept.left() == []


def test_what_cannot_be_set_aside_stays_in_its_file(kept: Replayer) -> None:
    files = kept.keep_run(3)
    damaged = change_line(files.results, 1, b'"attempt":1', b'"attempt":"x"')
    (kept.buffers / "quarantine").touch()
    done = kept.run()
    assert done.code == 1
    assert "File exists" in done.lines[0]
    assert damaged in Path(files.results).read_bytes()
    (kept.buffers / "quarantine").unlink()
    assert kept.run().code == 3
    assert kept.counts() == (2, 0, 1)
    assert kept.quarantined("run.jsonl") == damaged
