"""What tests of replay are made with: buffer files as runs leave them, and replays of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from click.testing import CliRunner

from pytest_test_observer._cli import main
from pytest_test_observer._extras import Extras
from pytest_test_observer._ids import Ids
from pytest_test_observer._journal.marks import MASTER_SLOT, MarkWriter, create_marks
from pytest_test_observer._journal.sidecar import Begin, Collected, Process, Run
from pytest_test_observer._journal.writer import JournalWriter
from pytest_test_observer._process import this_process
from pytest_test_observer._record import Context, Event, RunRecord, TestRecord

if TYPE_CHECKING:
    from pytest_test_observer._journal.files import JournalFiles
    from tests.servers.client import ClickHouse

START_NS = 1_795_455_827_228_000_000
DEAD = Process(pid=1, started="0", host="somewhere else")
_RUN_VARIABLES = ("PYTEST_OBSERVER_", "XDG_CACHE_HOME")
_PATIENCE = 60


class Done(NamedTuple):
    """A replay that has ended."""

    code: int
    output: str

    @property
    def lines(self) -> list[str]:
        return self.output.splitlines()


class Replayer:
    """Runs ``pytest-observer replay``, by itself with what is in ``buffers`` and to ``database``."""

    def __init__(self, directory: Path, server: ClickHouse, database: str) -> None:
        self.cache = directory / "cache"
        self.buffers = self.cache / "pytest-test-observer"
        self.temporary = directory / "tmp"
        self.temporary.mkdir()
        self.server = server
        self.database = database

    @property
    def env(self) -> dict[str, str]:
        return {
            "XDG_CACHE_HOME": str(self.cache),
            "TMPDIR": str(self.temporary),
            "PYTEST_OBSERVER_CH_URL": self.server.url,
            "PYTEST_OBSERVER_CH_DB": self.database,
            "PYTEST_OBSERVER_CH_USER": self.server.user,
            "PYTEST_OBSERVER_CH_PASSWORD": self.server.password,
        }

    def replay(self, *arguments: str | Path, env: dict[str, str] | None = None) -> Done:
        """Replay in this process, which is fast; locks of this process do not count then."""
        ours = {name: None for name in os.environ if name.startswith(_RUN_VARIABLES)}
        result = CliRunner().invoke(main, ["replay", *map(str, arguments)], env={**ours, **self.env, **(env or {})})
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Done(result.exit_code, result.output)

    def start(self, *arguments: str | Path, env: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[str]:
        """Start a replay as a process."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_RUN_VARIABLES)}
        return subprocess.Popen(
            [sys.executable, "-m", "pytest_test_observer.replay", *map(str, arguments)],
            env={**kept, **self.env, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **options,
        )

    def run(self, *arguments: str | Path, env: dict[str, str] | None = None) -> Done:
        """Replay in a process of its own."""
        process = self.start(*arguments, env=env)
        output, _ = process.communicate(timeout=_PATIENCE)
        return Done(process.returncode, output)

    def rows(self, columns: str = "*", table: str = "pytest_results", order: str = "nodeid") -> list[dict[str, Any]]:
        """Return what the server has."""
        sql = f"SELECT {columns} FROM {table} ORDER BY {order} FORMAT JSONEachRow"
        numbers = {"output_format_json_quote_64bit_integers": "0"}
        answer = self.server.execute(sql, b"", user="", database=self.database, **numbers)
        return [json.loads(line) for line in answer.splitlines()]

    def counts(self) -> tuple[int, int, int]:
        """Return how many results, events and runs the server has, and check that no row is there twice."""
        found = []
        for suffix, identity in (("", "span_id"), ("_events", "(span_id, seq)"), ("_runs", "span_id")):
            sql = f"SELECT count(), uniqExact({identity}) FROM pytest_results{suffix}"
            ((rows, different),) = self.server.query(sql, database=self.database)
            assert rows == different, f"{rows - different} rows of pytest_results{suffix} are there twice"
            found.append(rows)
        return found[0], found[1], found[2]

    def left(self) -> list[str]:
        """Return the names of the files that are left in the buffer directory."""
        return sorted(path.name for path in self.buffers.iterdir() if path.is_file())

    def quarantined(self, name: str) -> bytes:
        return (self.buffers / "quarantine" / name).read_bytes()

    def reasons(self, stem: str = "run") -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.quarantined(f"{stem}.reasons").splitlines()]

    # ------------------------------------------------------------------ buffer files

    def keep_run(
        self,
        tests: int = 3,
        *,
        run_id: str = "run",
        events: int = 0,
        ended: bool = True,
        running: str = "",
        process: Process = DEAD,
    ) -> JournalFiles:
        """Leave the files of a run: ``running`` names a test that it was at when it died."""
        journal = open_journal(self.env, run_id, process)
        ids = Ids((run_id * 32).encode().hex()[:32], "session")
        for number in range(tests):
            journal.append(record(ids, number, events))
        if running:
            nodeid = f"test_a.py::{running}"
            create_marks(journal.files.running)
            marks = MarkWriter(journal.files.running, MASTER_SLOT, "master")
            marks.start(nodeid, ("test_a.py", 0, running), Extras(1, 1), START_NS)
        if ended:
            journal.note(Run(msgspec.Raw(journal.run_row(run_record(ids, tests)))))
        journal.close()
        os.unlink(journal.files.lock)
        return journal.files


def open_journal(environ: dict[str, str], run_id: str = "run", process: Process | None = None) -> JournalWriter:
    """Begin a journal as a run does, and hold its lock."""
    journal = JournalWriter.create(environ, run_id)
    session_id = (run_id * 32).encode().hex()[:32]
    context = Context(run_id=run_id, service="shop")
    journal.begin(Begin("0.3.0", session_id, context, START_NS, process or this_process(), "session"))
    journal.note(Collected(collected=3, deselected=0, trace_scope="session"))
    return journal


def record(ids: Ids, number: int, events: int = 0) -> TestRecord:
    """Return one attempt of a test."""
    nodeid = f"test_a.py::test_{number:06d}"
    span, parent_span_id = ids.test(nodeid, 1)
    start = START_NS + number * 1_000_000
    return TestRecord(
        nodeid=nodeid,
        attempt=1,
        worker_id="master",
        start_ns=start,
        end_ns=start + 1_000_000,
        status="passed",
        outcome="passed",
        when_phase="call",
        duration=0.001,
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_span_id=parent_span_id,
        file="test_a.py",
        events=[Event(start, seq, "step", {"n": str(seq)}) for seq in range(events)],
    )


def run_record(ids: Ids, tests: int) -> RunRecord:
    """Return the record of a run whose tests all passed."""
    return RunRecord(
        START_NS,
        START_NS + 1_000_000_000,
        "success",
        0,
        ids.session.trace_id,
        ids.session.span_id,
        collected=tests,
    )


def lines_of(path: str) -> list[bytes]:
    """Return the lines of a file, each with its end."""
    return Path(path).read_bytes().splitlines(keepends=True)


def change_line(path: str, index: int, old: bytes, new: bytes) -> bytes:
    """Replace bytes in one line of a file; returns the line as it is now."""
    lines = lines_of(path)
    assert old in lines[index]
    lines[index] = lines[index].replace(old, new, 1)
    Path(path).write_bytes(b"".join(lines))
    return lines[index]
