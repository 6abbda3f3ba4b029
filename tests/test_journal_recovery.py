"""What becomes of a journal whose processes died: the crashed rows, and a model of everything at random."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_test_observer._journal import cuts
from pytest_test_observer._journal.append import Appender
from pytest_test_observer._journal.complete import complete
from pytest_test_observer._journal.reader import JournalReader
from pytest_test_observer._journal.tidy import tidy
from tests.journals import Enter, begun, collected, listing, mark, names, reader_of, record, run_line, started

if TYPE_CHECKING:
    from pytest_test_observer._destinations import Batch
    from pytest_test_observer._journal.writer import JournalWriter

NOTICED_NS = 1_700_000_009_000_000_000


def rows(journal: JournalWriter) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(journal.files.results).read_bytes().splitlines() if line.endswith(b"}")]


def completed(journal: JournalWriter) -> JournalReader:
    reader = reader_of(journal.files)
    complete(reader, NOTICED_NS)
    return reader


def test_the_test_that_was_running_is_told_as_crashed(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    journal.append(record("a"))
    mark(journal.files, started("a"), Enter("master", "teardown"), started("b"), Enter("master", "call"))
    completed(journal)
    [_, crashed] = rows(journal)
    verdict = {"nodeid": "b", "status": "broken", "outcome": "crashed", "when_phase": "call", "attempt": 1}
    assert crashed == {**crashed, **verdict, "line": 4}
    assert (crashed["started_at"], crashed["finished_at"]) == (1_700_000_000_500, 1_700_000_009_000)


def test_the_run_is_told_as_aborted_with_what_it_never_came_to(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    journal.note(collected(5))
    journal.append(record("a"))
    mark(journal.files, started("b"))
    run = completed(journal).run
    assert run is not None
    told = json.loads(bytes(run.row))
    wanted = {"status": "aborted", "exit_status": -1, "collected": 5, "not_run": 3, "passed": 1, "broken": 1}
    assert {key: told[key] for key in wanted} == wanted


def test_a_test_whose_row_is_there_did_not_crash(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    mark(journal.files, started("a"), Enter("master", "teardown"))
    journal.append(record("a"))
    completed(journal)
    assert [row["outcome"] for row in rows(journal)] == ["passed"]


def test_a_later_attempt_crashed_although_an_earlier_one_has_its_row(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    journal.append(record("a", status="failed", outcome="rerun"))
    mark(journal.files, started("a", attempt=2))
    completed(journal)
    assert [(row["attempt"], row["outcome"]) for row in rows(journal)] == [(1, "rerun"), (2, "crashed")]


def test_each_worker_has_its_own_crashed_test(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    mark(journal.files, started("a", worker="gw0"), started("b", worker="gw1"), Enter("gw0", "call"))
    completed(journal)
    assert sorted((row["worker_id"], row["nodeid"], row["when_phase"]) for row in rows(journal)) == [
        ("gw0", "a", "call"),
        ("gw1", "b", "setup"),
    ]


def test_a_row_that_was_cut_off_counts_as_running_and_spoils_nothing(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    journal.append(record("a"))
    mark(journal.files, started("b"), Enter("master", "teardown"))
    with open(journal.files.results, "ab") as file:
        file.write(b'{"run_id":"run","nodeid":"b","sta')
    reader = completed(journal)
    reader.seal()
    results = [reader.load(sealed).data for sealed in reader.pending() if sealed.table == "results"]
    assert [names(data) if data.endswith(b"}\n") else data for data in results] == [
        ["a"],
        b'{"run_id":"run","nodeid":"b","sta\n',
        ["b"],
    ]


def test_completing_twice_changes_nothing(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    mark(journal.files, started("b"))
    completed(journal)
    before = {name: Path(f"{journal.files.directory}/{name}").read_bytes() for name in listing(journal.files)}
    completed(journal)
    assert before == {name: Path(f"{journal.files.directory}/{name}").read_bytes() for name in listing(journal.files)}


def test_a_death_between_the_crashed_row_and_that_of_the_run_is_made_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = begun(tmp_path)
    mark(journal.files, started("b"))
    with monkeypatch.context() as dying:
        dying.setattr(JournalReader, "add_run", lambda _self, _run: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            completed(journal)
    reader = completed(journal)
    assert [row["outcome"] for row in rows(journal)] == ["crashed"]
    assert reader.run is not None


def test_a_run_that_came_to_its_end_is_not_completed(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    mark(journal.files, started("b"))
    journal.note(run_line())
    completed(journal)
    assert rows(journal) == []


def test_what_is_kept_of_errors_holds_for_crashed_tests_too(tmp_path: Path) -> None:
    journal = begun(tmp_path, errors="none")
    mark(journal.files, started("b"))
    completed(journal)
    [crashed] = rows(journal)
    assert (crashed["error_message"], crashed["error_type"]) == ("", "crashed")


class Crash(BaseException):
    """A process that is killed at this point."""


class Server:
    """Stores batches as ClickHouse does: the same token twice is one insert."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._seen: dict[str, bytes] = {}
        self.lines: Counter[bytes] = Counter()
        self.is_up = True

    def takes(self, batch: Batch) -> bool:
        """Store a batch, perhaps, and say so, perhaps."""
        fate = self._chance.random() if not self.is_up else 1.0
        if fate < 0.4:
            return False
        if batch.token not in self._seen:
            self.lines.update(batch.data.splitlines())
            self._seen[batch.token] = batch.data
        assert self._seen[batch.token] == batch.data, "one token for different bytes"
        return fate >= 0.6


class Kill:
    """Ends the sender at a random one of the steps in which it changes files: before it, or after."""

    STEPS = ((Appender, "write"), (os, "replace"), (os, "unlink"))

    def __init__(self, monkeypatch: pytest.MonkeyPatch, chance: random.Random) -> None:
        self._left = -1
        self._chance = chance
        for owner, name in self.STEPS:
            monkeypatch.setattr(owner, name, self._deadly(getattr(owner, name)))

    def _deadly(self, step: Any) -> Any:
        def deadly(*arguments: Any) -> Any:
            self._left -= 1
            if self._left != 0:
                return step(*arguments)
            if self._chance.random() < 0.5:
                step(*arguments)
            raise Crash

        return deadly

    def __call__(self, action: Any, *arguments: Any) -> bool:
        """Return whether ``action`` survived."""
        self._left = self._chance.choice((-1, -1, 1, 2, 3, 5))
        try:
            action(*arguments)
        except Crash:
            return False
        finally:
            self._left = -1
        return True


def ship(reader: JournalReader, server: Server) -> None:
    reader.seal()
    for sealed in reader.pending():
        batch = reader.load(sealed)
        if not server.takes(batch):
            return
        reader.taken(sealed)


def finish(reader: JournalReader, server: Server) -> None:
    reader.refresh()
    complete(reader, NOTICED_NS)
    ship(reader, server)
    reader.close()
    tidy(reader)


def live(journal: JournalWriter, server: Server, kill: Kill, chance: random.Random) -> Counter[str]:
    """Write and send in turns, with helpers that die; returns what was written."""
    written: Counter[str] = Counter()
    reader = reader_of(journal.files)
    for number in range(chance.randrange(1, 25)):
        server.is_up = chance.random() < 0.6
        name = f"test_{number}"
        mark(journal.files, started(name))
        if chance.random() < 0.9:
            journal.append(record(name, events=chance.choice((0, 0, 1, 3))))
            written[name] += 1
        if chance.random() < 0.4 and not kill(ship, reader, server):
            reader.close()  # a dead process has no descriptors
            reader = reader_of(journal.files)
    reader.close()
    return written


@pytest.mark.parametrize("seed", range(150))
def test_whatever_dies_each_result_arrives_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    print(f"seed {seed}")
    chance = random.Random(seed)
    monkeypatch.setattr(cuts, "BATCH_ROWS", chance.choice((1, 2, 5, 10_000)))
    kill = Kill(monkeypatch, chance)
    server = Server(chance)
    journal = begun(tmp_path)
    written = live(journal, server, kill, chance)
    journal.close()
    for _ in range(100):  # senders come and die until one of them sees it through
        if not os.path.exists(journal.files.meta):
            break
        server.is_up = chance.random() < 0.5
        reader = reader_of(journal.files)
        kill(finish, reader, server)
        reader.close()
    assert listing(journal.files) == []
    results = [json.loads(line) for line in server.lines.elements() if b'"started_at"' in line and b'"nodeid"' in line]
    arrived = Counter(row["nodeid"] for row in results if row["outcome"] == "passed")
    assert arrived == written
    assert sum(row["outcome"] == "crashed" for row in results) <= 1
    assert sum(b'"exit_status"' in line for line in server.lines.elements()) == 1
