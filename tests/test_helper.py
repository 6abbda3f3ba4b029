"""The helper's ends: what is said through the pipes, its log, its life and its death."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_test_observer._activation import INERT
from pytest_test_observer._destinations.config import Destinations
from pytest_test_observer._destinations.settings import ClickHouseSettings
from pytest_test_observer._journal.sidecar import Process
from pytest_test_observer._process import describe, is_alive, kill, open_pidfd, this_process
from pytest_test_observer._shipper import client, link, spawn
from pytest_test_observer._shipper.client import Helper
from pytest_test_observer._shipper.delivery import Delivery
from pytest_test_observer._shipper.link import Link
from pytest_test_observer._shipper.log import last_line
from pytest_test_observer._shipper.protocol import Done, Final, Flush, Task, encode_message
from pytest_test_observer._shipper.spawn import NoHelper
from tests.journals import begun, listing, record, run_line
from tests.killing import wait_until
from tests.servers.faulty import faulty
from tests.servers.otlp import CERTIFICATE, receiving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_test_observer._journal.writer import JournalWriter


def task_for(journal: JournalWriter, url: str = "http://127.0.0.1:1", password: str = "") -> Task:
    """Return the task to send a journal to a server."""
    host, _, port = url.removeprefix("http://").partition(":")
    settings = ClickHouseSettings(host=host, port=int(port), password=password, label=url)
    return Task(journal.files.directory, journal.files.stem, this_process(), Destinations(settings))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[JournalWriter]:
    made = begun(tmp_path)
    yield made
    made.close()


@pytest.fixture
def pipes() -> Iterator[tuple[int, int, int, int]]:
    """Two pipes: (the helper's reading end, ours to write, ours to read, the helper's writing end)."""
    task_read, task_write = os.pipe()
    answer_read, answer_write = os.pipe()
    yield task_read, task_write, answer_read, answer_write
    for fd in (task_read, task_write, answer_read, answer_write):
        with contextlib.suppress(OSError):
            os.close(fd)


def test_a_task_and_all_that_follows_may_come_in_one_read(
    journal: JournalWriter, pipes: tuple[int, int, int, int]
) -> None:
    task = task_for(journal)
    os.write(pipes[1], encode_message(task) + encode_message(Flush()) + encode_message(Done()))
    heard = Link(pipes[0], pipes[3])
    assert heard.first() == task
    assert (heard.flush, heard.done) == (True, True)


def test_a_task_may_come_in_pieces(journal: JournalWriter, pipes: tuple[int, int, int, int]) -> None:
    task = task_for(journal)
    data = encode_message(task)
    heard = Link(pipes[0], pipes[3])
    found: list[Task | None] = []
    thread = threading.Thread(target=lambda: found.append(heard.first()))
    thread.start()
    for number in range(0, len(data), 50):
        os.write(pipes[1], data[number : number + 50])
    thread.join(10)
    assert found == [task]


def test_without_a_task_there_is_nothing_to_do(pipes: tuple[int, int, int, int]) -> None:
    os.close(pipes[1])
    assert Link(pipes[0], pipes[3]).first() is None


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives until it is told otherwise."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.fixture
def alarms(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The alarms that would end this process, were it a helper."""
    found: list[int] = []
    monkeypatch.setattr(signal, "alarm", found.append)
    return found


@pytest.fixture
def heard(pipes: tuple[int, int, int, int], sleeper: subprocess.Popen[bytes], alarms: list[int]) -> Iterator[Link]:
    """The helper's end of the pipes, which watches over ``sleeper``."""
    made = Link(pipes[0], pipes[3])
    made.watch(describe(sleeper.pid))
    yield made
    sleeper.kill()
    sleeper.wait()
    wait_until(lambda: made.orphaned, "its thread ends")


def test_who_waits_is_heard_and_the_waiting_ends(pipes: tuple[int, int, int, int], heard: Link) -> None:
    told = threading.Event()
    heard.on_done = told.set
    os.write(pipes[1], encode_message(Done()))
    assert told.wait(10)
    heard.wait(10)
    assert heard.done


@pytest.fixture(params=[True, False], ids=["by its descriptor", "by looking"])
def pidfd(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.setattr(link, "open_pidfd", lambda _process: None)


@pytest.mark.usefixtures("pidfd")
@pytest.mark.parametrize("done", [False, True], ids=["on the way", "after it began to wait"])
def test_the_death_of_pytest_is_noticed_although_others_hold_the_pipe(
    pipes: tuple[int, int, int, int],
    sleeper: subprocess.Popen[bytes],
    heard: Link,
    alarms: list[int],
    done: bool,
) -> None:
    if done:
        os.write(pipes[1], encode_message(Done()))
        wait_until(lambda: heard.done, "it is heard")
    sleeper.kill()
    sleeper.wait()
    wait_until(lambda: heard.orphaned, "its death is noticed", 5)
    assert alarms == [30]


def test_a_pipe_that_a_test_closed_is_not_the_death_of_pytest(pipes: tuple[int, int, int, int], heard: Link) -> None:
    os.close(pipes[1])
    wait_until(lambda: heard.deaf, "the end of the pipe is noticed")
    assert not heard.orphaned


def test_a_process_is_known_by_its_number_its_start_and_its_machine(sleeper: subprocess.Popen[bytes]) -> None:
    process = describe(sleeper.pid)
    assert is_alive(process)
    assert not is_alive(Process(process.pid, "12345", process.host))
    assert not is_alive(Process(process.pid, process.started, "elsewhere"))
    sleeper.kill()
    wait_until(lambda: not is_alive(process), "a zombie does not live")


def test_only_the_process_that_is_meant_is_killed(sleeper: subprocess.Popen[bytes]) -> None:
    process = describe(sleeper.pid)
    kill(Process(process.pid, "12345", process.host))
    assert sleeper.poll() is None
    kill(process)
    assert sleeper.wait(10) == -signal.SIGKILL


def test_the_descriptor_of_a_dead_process_can_be_read_at_once(sleeper: subprocess.Popen[bytes]) -> None:
    process = describe(sleeper.pid)
    sleeper.kill()
    sleeper.wait()
    fd = open_pidfd(process)
    assert fd is not None
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    assert [ready for ready, _ in poll.poll(5_000)] == [fd]
    os.close(fd)


def test_a_helper_sends_and_answers_and_is_nobodys_child(journal: JournalWriter) -> None:
    journal.append(record("a"))
    with faulty("refusing") as server:
        helper = Helper.start(task_for(journal, server.url))
        helper.reap()
        assert helper._process is not None
        with pytest.raises(ChildProcessError):
            os.waitpid(helper._process.pid, os.WNOHANG)
        journal.note(run_line())
        final = helper.finish(time.monotonic() + 30, lambda: False)
        helper.end()
    assert final == Final(0, complete=False, message="cannot connect (Connection refused): check --ch-url")


def test_a_helper_that_does_not_answer_is_ended(journal: JournalWriter) -> None:
    journal.append(record("a"))
    with faulty("silent") as server:
        helper = Helper.start(task_for(journal, server.url))
        helper.reap()
        process = helper._process
        assert process is not None
        assert is_alive(process)
        assert helper.finish(time.monotonic() + 0.1, lambda: False) is None
        helper.end()
    wait_until(lambda: not is_alive(process), "it ends", 5)


def test_a_helper_can_be_started_and_ended_at_once(journal: JournalWriter) -> None:
    before = os.listdir("/proc/self/fd")
    helper = Helper.start(task_for(journal))
    helper.end()
    helper.end()
    assert os.listdir("/proc/self/fd") == before


def test_descriptors_beyond_what_select_takes_are_no_hindrance(journal: JournalWriter) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 1100
    if hard != resource.RLIM_INFINITY and hard < wanted + 100:
        pytest.skip("this user may not open that many files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted + 100), hard))
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(wanted)]
    try:
        helper = Helper.start(task_for(journal))
        helper.reap()
        assert helper._read > 1024
        assert helper.finish(time.monotonic() + 30, lambda: False) == Final(0, complete=True)
        helper.end()
    finally:
        for fd in opened:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_output_while_python_starts_is_not_taken_for_an_answer(
    journal: JournalWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawn, "_BOOT", "import os; os.write(1, b'a .pth file says hello')\n" + spawn._BOOT)
    helper = Helper.start(task_for(journal))
    helper.reap()
    assert helper._process is not None
    helper.end()


@pytest.mark.parametrize(("name", "value"), [("executable", ""), ("executable", None), ("frozen", True)])
def test_no_helper_is_tried_where_starting_python_would_start_something_else(
    journal: JournalWriter, monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    monkeypatch.setattr(sys, name, value, raising=False)
    with pytest.raises(NoHelper):
        Helper.start(task_for(journal))


def test_a_task_that_would_block_a_pipe_is_not_started(journal: JournalWriter) -> None:
    with pytest.raises(NoHelper, match="does not fit"):
        Helper.start(task_for(journal, password="x" * 100_000))


def test_the_environment_of_a_helper_configures_and_measures_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTEST_OBSERVER_CH_PASSWORD", "PYTEST_ADDOPTS", "COV_CORE_SOURCE", "COVERAGE_PROCESS_START"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("BUILD_TAG", "of Jenkins, to find what is left over")
    environment = spawn._environment()
    assert not [name for name in environment if name.startswith(("PYTEST_OBSERVER", "PYTEST_ADDOPTS", "COV"))]
    assert environment["BUILD_TAG"] == "of Jenkins, to find what is left over"
    assert environment[INERT] == "1"


SECRET = "p@ss/'word"
_TALK = """
import os, sys, traceback
from pytest_test_observer._shipper.log import Log
Log(sys.argv[1], [sys.argv[2]]).take_over_output()
print("said", sys.argv[2])
try:
    raise ValueError(f"http://user:{sys.argv[3]}@host refused {sys.argv[2]!r}")
except ValueError:
    traceback.print_exc(file=sys.stderr)
os.write(1, b"a library in C\\n")
os.system("echo a child process")
for _ in range(40_000):
    print("something goes wrong again and again")
"""


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    path = tmp_path_factory.mktemp("log") / "run.log"
    command = [sys.executable, "-c", _TALK, str(path), SECRET, "p%40ss%2F%27word"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done, path


def test_nothing_that_is_printed_reaches_the_terminal(
    talk: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    done, path = talk
    assert (done.stdout, done.stderr) == ("", "")
    text = path.read_text()
    assert "a library in C" in text
    assert "a child process" in text
    assert "Traceback" in text


def test_a_log_is_for_its_user_only_and_has_a_largest_size(
    talk: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    status = talk[1].stat()
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert 250_000 < status.st_size < 300_000


def test_no_spelling_of_a_secret_stands_in_a_log(talk: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    text = talk[1].read_text()
    assert not [spelling for spelling in (SECRET, "p%40ss%2F%27word", "p%40ss/%27word") if spelling in text]
    assert "said ***" in text


def test_the_last_line_of_a_log_is_quoted_in_short(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_line(str(log)) == ""
    log.write_text("first\n" + "x" * 1000 + "\n\n")
    assert last_line(str(log)) == "x" * 300


def test_a_session_that_never_came_to_its_tests_leaves_nothing(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    delivery = Delivery(journal.files, task_for(journal).destinations, spawn.spawn(journal.files))
    delivery.start()
    delivery.abandon()
    journal.discard()
    assert listing(journal.files) == []


def test_authorities_to_trust_are_found_from_the_directory_that_pytest_was_started_in(
    journal: JournalWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(CERTIFICATE.parent)
    monkeypatch.setenv("SSL_CERT_FILE", CERTIFICATE.name)
    journal.append(record("a"))
    with receiving(tls=True) as server:
        settings = ClickHouseSettings(host="127.0.0.1", port=server.http_port, tls=True)
        task = task_for(journal)
        helper = Helper.start(Task(task.directory, task.stem, task.process, Destinations(settings)))
        final = helper.finish(time.monotonic() + 30, lambda: False)
        helper.end()
    assert final
    assert "not ClickHouse's HTTP interface" in final.message  # it got as far as to ask


def test_two_senders_never_send_one_journal(journal: JournalWriter) -> None:
    journal.append(record("a"))
    with faulty("silent") as server:
        first = Helper.start(task_for(journal, server.url))
        wait_until(lambda: server.requests, "the first one sends")
        second = Helper.start(task_for(journal, server.url))
        assert second.finish(time.monotonic() + 30, lambda: False) is None
        second.end()
        first.end()
    assert "another process is sending" in Path(journal.files.log).read_text()


_ORPHAN = """
import os, sys
from pytest_test_observer._shipper import link
from pytest_test_observer._shipper.helper import main
link._ORPHAN_SECONDS = 1
main()
"""


_DEAF = """
import signal
signal.signal(signal.SIGALRM, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
"""


@pytest.mark.parametrize(
    ("kind", "before"), [("dripping", ""), ("silent", _DEAF), ("hanging", "")], ids=["dripping", "silent", "hanging"]
)
def test_an_orphan_ends_whatever_the_server_does(
    journal: JournalWriter, sleeper: subprocess.Popen[bytes], kind: str, before: str
) -> None:
    """Also where whatever started pytest ignored and blocked the signal that ends the helper."""
    journal.append(record("a"))
    command = [sys.executable, "-c", before + _ORPHAN]
    with (
        faulty(kind) as server,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process,
    ):
        assert process.stdin
        task = task_for(journal, server.url)
        process.stdin.write(encode_message(Task(task.directory, task.stem, describe(sleeper.pid), task.destinations)))
        process.stdin.flush()
        wait_until(lambda: "not answered" in last_line(journal.files.log), "it sends")
        sleeper.kill()
        sleeper.wait()
        assert process.wait(20) == -signal.SIGALRM


def _until_nobody_speaks(listen: int, answer: int) -> None:
    while os.read(listen, 65_536):
        pass
    os.write(answer, encode_message(Final(7, complete=True)))


def test_a_fork_that_sends_hears_that_pytest_is_gone(journal: JournalWriter) -> None:
    helper = Helper.fork(task_for(journal), _until_nobody_speaks)
    os.close(helper._write)
    assert helper._await(time.monotonic() + 5, lambda: False) == Final(7, complete=True)
    helper.end()


@pytest.mark.parametrize("seconds", [2_147_484, 1e9, 1e300])
def test_any_number_of_seconds_can_be_waited(pipes: tuple[int, int, int, int], seconds: float) -> None:
    os.write(pipes[3], b"an answer")
    assert client._is_readable(pipes[2], seconds)
