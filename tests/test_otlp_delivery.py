"""How a journal is delivered to a destination whose results carry their events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_test_observer._destinations import Answer, Batch, Reply
from pytest_test_observer._destinations.fallback import FallbackDestination
from pytest_test_observer._shipper.ship import Shipper
from tests.journals import begun, reader_of, record, run_line

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_test_observer._journal.reader import JournalReader


class Spans:
    """A destination that carries events with results, and answers as planned for each table, else TAKEN."""

    label = "spans"
    carries_events = True

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.arrived: list[Batch] = []

    def warm_up(self) -> None: ...

    def prepare(self) -> Reply:
        return Reply(Answer.TAKEN)

    def send(self, batch: Batch) -> Reply:
        reply = Reply(self.answers.get(batch.table, Answer.TAKEN), "so it is")
        if reply.answer is Answer.TAKEN:
            self.arrived.append(batch)
        return reply

    def absent(self, batch: Batch) -> list[bytes] | None: ...

    def notes(self) -> list[str]:
        return []

    def release(self) -> None: ...

    def close(self) -> None: ...

    @property
    def tables(self) -> list[str]:
        """The tables of what arrived, in order."""
        return [batch.table for batch in self.arrived]


def journal_of(directory: Path, *, ended: bool) -> JournalReader:
    """Return a journal of a test with events, sealed, of a run that has ended or has not."""
    writer = begun(directory, spans=True)
    writer.append(record("a", events=2))
    if ended:
        writer.note(run_line())
    reader = reader_of(writer.files)
    reader.seal()
    writer.close()
    return reader


def pending(reader: JournalReader) -> list[str]:
    """Return the tables of batches that have not arrived."""
    return [sealed.table for sealed in reader.pending()]


def test_events_have_arrived_when_all_results_have(tmp_path: Path) -> None:
    reader, spans = journal_of(tmp_path, ended=True), Spans()
    assert Shipper(reader, spans).ship()
    assert spans.tables == ["results", "runs", "events"]


def test_events_wait_as_long_as_results_can_come(tmp_path: Path) -> None:
    reader, spans = journal_of(tmp_path, ended=False), Spans()
    shipper = Shipper(reader, spans)
    assert not shipper.ship()
    assert not shipper.ship()
    assert (spans.tables, pending(reader)) == (["results"], ["events"])


@pytest.mark.parametrize("answer", [Answer.REFUSED, Answer.PARTLY, Answer.IN_DOUBT, Answer.UNAVAILABLE])
def test_events_stay_on_disk_beside_results_that_do(tmp_path: Path, answer: Answer) -> None:
    reader, spans = journal_of(tmp_path, ended=True), Spans()
    spans.answers["results"] = answer
    assert not Shipper(reader, spans).ship()
    assert {"results", "events"} <= set(pending(reader))


@pytest.mark.parametrize("answer", [Answer.REFUSED, Answer.PARTLY])
def test_a_batch_that_is_not_to_be_sent_again_holds_up_no_other_and_nobody_waits(
    tmp_path: Path, answer: Answer
) -> None:
    reader, spans = journal_of(tmp_path, ended=True), Spans()
    spans.answers["results"] = answer
    shipper = Shipper(reader, spans)
    shipper.ship()
    assert spans.tables == ["runs"]
    assert shipper.is_hopeless
    assert (shipper.failures, shipper.account().message) == (0, "so it is")


def test_batches_know_what_their_journal_begins_with(tmp_path: Path) -> None:
    reader, spans = journal_of(tmp_path, ended=True), Spans()
    Shipper(reader, spans).ship()
    assert {batch.begin.session_id for batch in spans.arrived if batch.begin} == {"5e" * 16}


def test_a_batch_that_another_process_may_have_sent_stays_with_the_first_destination(tmp_path: Path) -> None:
    dead = journal_of(tmp_path, ended=True)
    reader, first, second = reader_of(dead.files), Spans(), Spans()
    first.answers = dict.fromkeys(("results", "runs", "events"), Answer.UNAVAILABLE)
    assert not Shipper(reader, FallbackDestination(first, second)).ship()
    assert second.arrived == []
    fresh = journal_of(tmp_path / "other", ended=True)
    assert Shipper(fresh, FallbackDestination(first, second)).ship()
    assert [batch.resumed for batch in second.arrived] == [False] * len(second.arrived)
