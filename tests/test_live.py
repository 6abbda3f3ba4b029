"""Rows arrive while the tests run, and the helper goes when there is nothing more to do."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_test_observer._clock import Clock
from pytest_test_observer._destinations import Answer, Batch, Reply
from pytest_test_observer._journal.append import Appender
from pytest_test_observer._shipper.helper import Sender
from tests.journals import begun, names, record, run_line
from tests.killing import is_left_alone, wait_until

if TYPE_CHECKING:
    from tests.kit import Observed

GATED = """
import pathlib, time
def test_first(): pass
def test_gate():
    pathlib.Path("waiting").touch()
    deadline = time.monotonic() + 60
    while not pathlib.Path("go").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
"""
# The promise is two seconds after the end of the test; the rest is for a machine that does other things too.
PROMISED, LENIENCE = 2.0, 3.0


def exists(observed: Observed) -> bool:
    return observed.server.execute("EXISTS TABLE pytest_results", database=observed.database).strip() == b"1"


def test_rows_are_in_the_table_while_the_tests_run(observed: Observed) -> None:
    observed.bench.write(test_a=GATED)
    process = observed.start()
    wait_until((observed.bench.suite / "waiting").exists, "the second test runs")
    start = time.monotonic()
    wait_until(lambda: exists(observed) and observed.rows("nodeid"), "the row of the first test is there")
    delay = time.monotonic() - start
    assert process.poll() is None
    rows = observed.rows("nodeid, status")
    (observed.bench.suite / "go").touch()
    stdout, _ = process.communicate(timeout=60)
    print(f"{delay:.2f} s after its test")
    assert rows == [{"nodeid": "test_a.py::test_first", "status": "passed"}]
    assert "2 results sent" in stdout
    assert delay < PROMISED + LENIENCE
    wait_until(lambda: is_left_alone(observed.bench), "all processes end", 5)


class Clockwork:
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def time_ns(self) -> int:
        return int(self.now * 1e9)


class Shelf:
    """A destination that keeps batches with the time of their arrival; it fails while ``fault`` is set."""

    label = "a shelf"
    carries_events = False

    def __init__(self, clock: Clockwork) -> None:
        self._clock = clock
        self.fault: Reply | None = None
        self.tries: list[float] = []
        self.arrived: list[tuple[float, Batch]] = []

    def prepare(self) -> Reply:
        return Reply(Answer.TAKEN)

    def send(self, batch: Batch) -> Reply:
        self.tries.append(self._clock.now)
        if self.fault is not None:
            return self.fault
        self.arrived.append((self._clock.now, batch))
        return Reply(Answer.TAKEN)

    def notes(self) -> list[str]:
        return ["read this once"]

    def warm_up(self) -> None: ...
    def release(self) -> None: ...
    def close(self) -> None: ...
    def absent(self, batch: Batch) -> None: ...


class Script:
    """Stands in for the link: lets a program run between two looks of the sender, in its time."""

    def __init__(self, clock: Clockwork) -> None:
        self._clock = clock
        self.steps: list[tuple[float, Any]] = []
        self.flush = self.done = self.deaf = self.orphaned = False
        self.on_done: Any = None

    def at(self, seconds: float, action: Any) -> None:
        """Do something so many seconds after the start."""
        self.steps.append((1000.0 + seconds, action))

    def wait(self, seconds: float) -> None:
        self._clock.now += seconds
        while self.steps and self.steps[0][0] <= self._clock.now:
            self.steps.pop(0)[1]()

    def end(self) -> None:
        self.done = True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clockwork:
    clockwork = Clockwork()
    for name in ("monotonic", "sleep", "time_ns"):
        monkeypatch.setattr(Clock, name, getattr(clockwork, name))
    return clockwork


class Stage:
    """A journal, a sender for it, and the script of what happens while it sends."""

    def __init__(self, directory: Path, clock: Clockwork) -> None:
        self.journal = begun(directory)
        self.shelf = Shelf(clock)
        self.script = Script(clock)
        self.sender = Sender(self.journal.files, self.shelf, self.script)  # type: ignore[arg-type]

    def append(self, name: str, count: int = 1, text: str = "") -> Any:
        """Return what writes so many results."""

        def append() -> None:
            for number in range(count):
                self.journal.append(record(f"{name}_{number}", text=text))

        return append

    def arrivals(self) -> list[tuple[float, int]]:
        """Return the seconds after which batches of results arrived, and their rows."""
        return [(round(at - 1000, 1), batch.rows) for at, batch in self.shelf.arrived if batch.table == "results"]


@pytest.fixture
def stage(tmp_path: Path, clock: Clockwork) -> Stage:
    return Stage(tmp_path, clock)


def test_a_row_is_sent_within_two_seconds_of_its_test(stage: Stage) -> None:
    stage.script.at(1.0, stage.append("a"))
    stage.script.at(4.0, stage.script.end)
    stage.sender.run()
    [(after, rows)] = stage.arrivals()
    assert rows == 1
    assert 1.0 < after <= 1.0 + 1.6


def test_a_clock_below_zero_keeps_nothing_back(stage: Stage, clock: Clockwork) -> None:
    """As under libfaketime in the past: the monotonic clock is moved as well."""
    clock.now = -1e9
    stage.append("early")()
    stage.journal.note(run_line())
    stage.script.done = True
    assert stage.sender.run().complete
    assert [batch.table for _, batch in stage.shelf.arrived] == ["results", "runs"]


def test_a_thousand_rows_do_not_wait(stage: Stage) -> None:
    stage.script.at(1.0, stage.append("a", 1000, text="x" * 300))  # a row is seldom shorter
    stage.script.at(4.0, stage.script.end)
    stage.sender.run()
    [(after, rows)] = stage.arrivals()
    assert rows == 1000
    assert after < 1.6


def test_in_a_long_run_the_interval_grows_to_ten_seconds(stage: Stage) -> None:
    for second in range(0, 1300, 1):
        stage.script.at(second, stage.append(f"t{second}"))
    stage.script.at(1300, stage.script.end)
    stage.sender.run()
    times = [at for at, _ in stage.arrivals()][:-1]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert max(gaps[:10]) < 3
    assert min(gaps[-10:]) > 9
    assert max(gaps) < 12
    assert sum(rows for _, rows in stage.arrivals()) == 1300


def test_what_is_there_goes_at_once_when_the_tests_are_over(stage: Stage) -> None:
    def flush() -> None:
        stage.append("a")()
        stage.script.flush = True

    stage.script.at(5.0, flush)
    stage.script.at(9.0, stage.script.end)
    stage.sender.run()
    [(after, _)] = stage.arrivals()
    assert after < 5.4


def test_a_server_that_is_away_is_asked_less_and_less_often(stage: Stage) -> None:
    stage.shelf.fault = Reply(Answer.UNAVAILABLE, "away")
    stage.script.at(0.0, stage.append("a"))
    stage.script.at(60.0, lambda: setattr(stage.shelf, "fault", None))
    stage.script.at(80.0, stage.script.end)
    account = stage.sender.run()
    gaps = [round(later - earlier, 1) for earlier, later in pairwise(stage.shelf.tries)]
    assert gaps[:5] == pytest.approx([0.6, 1.0, 2.0, 5.0, 10.0], abs=0.3)
    assert (account.sent, account.complete, account.message) == (1, True, "")


def test_what_no_repetition_helps_is_not_repeated(stage: Stage) -> None:
    stage.shelf.fault = Reply(Answer.UNAVAILABLE, "wrong password", fatal=True)
    stage.script.at(0.0, stage.append("a"))
    stage.script.at(60.0, stage.script.end)
    account = stage.sender.run()
    assert len(stage.shelf.tries) == 1
    assert (account.sent, account.complete, account.message) == (0, False, "wrong password")


def test_a_batch_that_is_refused_holds_up_no_other(stage: Stage) -> None:
    stage.shelf.fault = Reply(Answer.REFUSED, "a row cannot be read")
    stage.script.at(0.0, stage.append("a"))
    stage.script.at(5.0, lambda: setattr(stage.shelf, "fault", None))
    stage.script.at(6.0, stage.append("b"))
    stage.script.at(10.0, stage.script.end)
    account = stage.sender.run()
    assert [names(batch.data) for _, batch in stage.shelf.arrived] == [["b_0"]]
    assert (account.sent, account.complete, account.message) == (1, False, "a row cannot be read")


def test_at_the_end_a_failing_server_costs_less_than_a_second(stage: Stage, clock: Clockwork) -> None:
    stage.shelf.fault = Reply(Answer.UNAVAILABLE, "refused")
    stage.script.at(0.0, stage.append("a"))
    stage.script.at(30.0, stage.script.end)
    stage.sender.run()
    assert clock.now - 1030 < 1.2


def test_a_note_is_told_once(stage: Stage) -> None:
    for second in (0.0, 5.0, 10.0):
        stage.script.at(second, stage.append(f"t{second}"))
    stage.script.at(20.0, stage.script.end)
    assert stage.sender.run().notes == ("read this once",)


def test_the_end_is_seen_in_the_files_where_pytest_cannot_tell_it(stage: Stage, clock: Clockwork) -> None:
    def finish() -> None:
        stage.append("a")()
        stage.journal.note(run_line())

    stage.script.at(3.0, finish)
    account = stage.sender.run()
    assert account.complete
    assert clock.now < 1005


def test_a_journal_that_pytest_gave_up_ends_a_helper_that_hears_nothing(stage: Stage) -> None:
    def abandon() -> None:
        stage.journal.discard()
        stage.script.deaf = True

    stage.script.at(3.0, abandon)
    assert stage.sender.run().sent == 0


def test_a_full_disk_delays_and_explains(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Appender.write

    def full(appender: Appender, data: bytes) -> None:
        if b'"sealed"' in data:
            raise OSError(28, "No space left on device")
        write(appender, data)

    stage.script.at(0.0, stage.append("a"))
    stage.script.at(1.0, lambda: monkeypatch.setattr(Appender, "write", full))
    stage.script.at(9.0, stage.script.end)
    account = stage.sender.run()
    assert (account.sent, account.complete) == (0, False)
    assert "No space left" in account.message
    assert len(Path(stage.journal.files.results).read_bytes().splitlines()) == 1
