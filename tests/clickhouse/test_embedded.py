"""The ClickHouse destination on the embedded engine, which one process at a time can have open."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pytest_test_observer._destinations import Answer
from pytest_test_observer._destinations.clickhouse import ClickHouseDestination
from pytest_test_observer._destinations.embedded import EmbeddedError, opened
from pytest_test_observer._destinations.settings import ClickHouseSettings
from tests.clickhouse.kit import batch, row
from tests.servers.client import embedded_query

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


SRC = os.path.join(os.path.dirname(__file__), os.pardir, os.pardir, "src")


def embedded(path: Path, **changes: Any) -> ClickHouseSettings:
    return msgspec.structs.replace(ClickHouseSettings(embedded=True, path=str(path)), **changes)


def test_the_embedded_engine_stores_once_and_is_free_for_others_after_close(tmp_path: Path) -> None:
    path = tmp_path / "new" / "observer.db"
    destination = ClickHouseDestination(embedded(path))
    for _ in range(2):
        assert destination.send(batch([row(number) for number in range(3)])).answer is Answer.TAKEN
    assert destination.absent(batch([row(2), row(3)])) == batch([row(3)]).data.splitlines(keepends=True)
    destination.close()
    assert embedded_query(path, "SELECT count() AS n FROM pytest_results") == [{"n": 3}]
    assert destination.prepare().answer is Answer.TAKEN
    destination.close()


def test_the_embedded_engine_gets_the_database_that_was_asked_for(tmp_path: Path) -> None:
    destination = ClickHouseDestination(embedded(tmp_path / "db", database="ci"))
    assert destination.send(batch([row()])).answer is Answer.TAKEN
    destination.close()
    assert embedded_query(tmp_path / "db", "SELECT count() AS n FROM ci.pytest_results") == [{"n": 1}]


def test_the_embedded_engine_refuses_what_a_server_refuses(tmp_path: Path) -> None:
    destination = ClickHouseDestination(embedded(tmp_path / "db"))
    reply = destination.send(batch([row(duration="soon")]))
    destination.close()
    assert reply.answer is Answer.REFUSED
    assert "/tmp" not in reply.message


def test_a_view_that_fails_leaves_the_batch_in_doubt_and_is_named(tmp_path: Path) -> None:
    destination = ClickHouseDestination(embedded(tmp_path / "db"))
    assert destination.prepare().answer is Answer.TAKEN
    with opened(str(tmp_path / "db")) as client:
        client.command(
            "CREATE MATERIALIZED VIEW default.strict ENGINE = Null AS "
            "SELECT toUInt32(run_id) AS n FROM default.pytest_results"
        )
    reply = destination.send(batch([row()]))
    destination.close()
    assert (reply.answer, reply.fatal) == (Answer.IN_DOUBT, True)
    assert "the materialized view default.strict fails" in reply.message


HOLD_OURS = """
import sys
from pytest_test_observer._destinations.embedded import opened
with opened(sys.argv[1]):
    print("open", flush=True)
    sys.stdin.read()
"""
HOLD_FOREIGN = """
import sys
from chdb import _chdb
connection = _chdb.connect(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
connection.close()
"""


HOLD_LOCK_ONLY = """
import fcntl, os, sys
os.makedirs(sys.argv[1])
lock = open(sys.argv[1] + "/.pytest-test-observer.lock", "w")
fcntl.lockf(lock, fcntl.LOCK_EX)
print("open", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def held(path: Path, program: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that has the database open until its standard input closes."""
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": SRC},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        yield process


@pytest.mark.parametrize("program", [HOLD_OURS, HOLD_FOREIGN, HOLD_LOCK_ONLY], ids=["ours", "foreign", "lock"])
def test_a_database_that_another_process_has_open_is_waited_for_until_the_deadline(
    tmp_path: Path, program: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with held(tmp_path / "db", program):
        reply = ClickHouseDestination(embedded(tmp_path / "db"), wait_s=0.2).prepare()
        assert (reply.answer, reply.fatal) == (Answer.UNAVAILABLE, False)
        assert "another process has" in reply.message
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("program", [HOLD_OURS, HOLD_FOREIGN], ids=["ours", "foreign"])
def test_a_wait_is_told_after_two_seconds_and_ends_when_the_other_closes(tmp_path: Path, program: str) -> None:
    told: list[str] = []
    with held(tmp_path / "db", program) as process:

        def end_the_other(sentence: str) -> None:
            told.append(sentence)
            assert process.stdin is not None
            process.stdin.close()

        destination = ClickHouseDestination(embedded(tmp_path / "db"), on_wait=end_the_other)
        assert destination.send(batch([row()])).answer is Answer.TAKEN
        destination.close()
    assert len(told) == 1
    assert "another process" in told[0]


def test_openings_within_one_process_share_the_engine_and_its_lock(tmp_path: Path) -> None:
    with opened(str(tmp_path)) as first:
        with opened(str(tmp_path)) as second:
            assert second.command("SELECT 1") == 1
        assert first.command("SELECT 2") == 2
        other = f"import sys\n{HOLD_OURS.replace('sys.argv[1]', 'sys.argv[1], wait_s=0')}"
        environment = {**os.environ, "PYTHONPATH": SRC}
        done = subprocess.run(
            [sys.executable, "-c", other, str(tmp_path)], capture_output=True, env=environment, check=False
        )
        assert b"EmbeddedError: another process has" in done.stderr


def test_tables_in_memory_need_no_directory() -> None:
    destination = ClickHouseDestination(ClickHouseSettings(embedded=True, path="memory", database="memory_test"))
    assert destination.send(batch([row()])).answer is Answer.TAKEN
    destination.close()


def test_a_path_that_is_a_file_is_said_to_be_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("text")
    with pytest.raises(EmbeddedError, match="cannot use"), opened(str(path)):
        pass


def test_a_path_that_the_engine_would_take_for_another_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedError, match="question mark"), opened(str(tmp_path / "db?x")):
        pass
    assert os.listdir(tmp_path) == []


def test_without_the_engine_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "chdb", None)
    reply = ClickHouseDestination(embedded(tmp_path / "db")).prepare()
    assert (reply.answer, reply.fatal) == (Answer.UNAVAILABLE, True)
    assert "pip install 'pytest-test-observer[embedded]'" in reply.message


def test_a_client_that_knows_of_no_engine_is_to_be_updated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "clickhouse_connect.driver._chdbclient", None)
    reply = ClickHouseDestination(embedded(tmp_path)).prepare()
    assert (reply.answer, reply.fatal) == (Answer.UNAVAILABLE, True)
    assert "_chdbclient" in reply.message
    assert "pip install -U 'pytest-test-observer[embedded]'" in reply.message
