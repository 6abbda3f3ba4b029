"""Sealing, sending, tidying and recovering: batches are cut once and stay what they are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_test_observer._journal import cuts
from pytest_test_observer._journal.append import Appender
from pytest_test_observer._journal.sidecar import Sealed, count_taken, encode_line
from pytest_test_observer._journal.tidy import tidy
from tests.journals import (
    SESSION,
    begun,
    collected,
    listing,
    names,
    reader_of,
    record,
    run_line,
    sidecar,
)

if TYPE_CHECKING:
    from pytest_test_observer._journal.reader import JournalReader


def batches(reader: JournalReader) -> list[tuple[str, int]]:
    return [(sealed.table, sealed.rows) for sealed in reader.pending()]


def raw(directory: Path, data: bytes) -> JournalReader:
    """Return a sealed journal whose rows are ``data``, written by whoever."""
    journal = begun(directory)
    Path(journal.files.results).write_bytes(data)
    reader = reader_of(journal.files)
    reader.seal()
    return reader


def data_of(reader: JournalReader) -> list[bytes]:
    return [reader.load(sealed).data for sealed in reader.pending()]


def test_events_go_before_the_rows_of_their_tests_and_the_run_goes_last(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    journal.append(record("first", events=2))
    journal.append(record("second"))
    journal.note(run_line())
    reader = reader_of(journal.files)
    reader.seal()
    assert batches(reader) == [("events", 2), ("results", 2), ("runs", 1)]


def test_a_batch_is_written_down_before_it_is_handed_out_and_is_what_would_be_read_again(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    Path(journal.files.results).write_bytes(b"{}\n" * 10_001)
    journal.note(run_line())
    reader = reader_of(journal.files)
    handed_out = []
    for sealed, batch in reader.cut():
        assert [line.number for line in sidecar(journal.files) if isinstance(line, Sealed)][-1] == sealed.number
        assert batch == reader.load(sealed)
        handed_out.append((batch.table, batch.rows))
    assert handed_out == batches(reader) == [("results", 10_000), ("results", 1), ("runs", 1)]


def test_what_was_not_handed_out_is_cut_by_the_next_reader(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    Path(journal.files.results).write_bytes(b"".join(b'{"n":%d}\n' % number for number in range(20_001)))
    first = reader_of(journal.files)
    sealed, _ = next(first.cut())
    first.taken(sealed)
    tidy(first)
    second = reader_of(journal.files)
    assert [(batch.table, batch.rows) for _, batch in second.cut()] == [("results", 10_000), ("results", 1)]


def test_a_batch_has_at_most_10_000_rows(tmp_path: Path) -> None:
    reader = raw(tmp_path, b"{}\n" * 20_001)
    assert batches(reader) == [("results", 10_000), ("results", 10_000), ("results", 1)]


def test_a_batch_of_exactly_10_000_rows_stays_one(tmp_path: Path) -> None:
    assert batches(raw(tmp_path, b"{}\n" * 10_000)) == [("results", 10_000)]


def test_a_batch_has_at_most_4_mb(tmp_path: Path) -> None:
    line = b"{" + b"x" * 997 + b"}\n"  # 1,000 bytes: 4,000 of them fit exactly
    assert batches(raw(tmp_path, line * 4_001)) == [("results", 4_000), ("results", 1)]


def test_one_row_that_is_larger_than_a_batch_may_be_is_a_batch_of_its_own(tmp_path: Path) -> None:
    huge = b"{" + b"x" * 9_000_000 + b"}\n"
    data = b"{}\n" + huge + b"{}\n{}\n"
    reader = raw(tmp_path, data)
    assert batches(reader) == [("results", 1), ("results", 1), ("results", 2)]
    assert b"".join(data_of(reader)) == data


def test_a_last_line_that_is_not_whole_stays_out_until_it_is(tmp_path: Path) -> None:
    reader = raw(tmp_path, b'{"a":1}\n{"b":')
    assert data_of(reader) == [b'{"a":1}\n']
    assert reader.torn("results") == b'{"b":'
    assert reader.unsealed_bytes() == 5
    with open(reader.files.results, "ab") as file:
        file.write(b"2}\n")
    reader.seal()
    assert data_of(reader) == [b'{"a":1}\n', b'{"b":2}\n']
    assert reader.unsealed_bytes() == 0


@pytest.mark.parametrize("size", [1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20])
@pytest.mark.parametrize("before", [b"", b'{"a":1}\n'])
def test_an_end_that_is_not_whole_is_found_whatever_its_size(tmp_path: Path, size: int, before: bytes) -> None:
    torn = b"x" * size
    journal = begun(tmp_path)
    Path(journal.files.results).write_bytes(before + torn)
    reader = reader_of(journal.files)
    assert reader.torn("results") == torn
    reader.seal()
    assert reader.torn("results") == torn


@pytest.mark.parametrize("broken", [b'{"b":\n', b"\n", b"\xff\xfe\n", b'{"b":1}garbage\n'])
@pytest.mark.parametrize("before", [b"", b"{}\n", b"{}\n" * 3])
@pytest.mark.parametrize("after", [b"", b"{}\n", b"{}\n{"])
def test_a_damaged_line_does_not_spoil_the_batch_of_the_others(
    tmp_path: Path, broken: bytes, before: bytes, after: bytes
) -> None:
    reader = raw(tmp_path, before + broken + after)
    whole = after.rpartition(b"\n")[0] + b"\n" if after else b""
    assert data_of(reader) == [data for data in (before, broken, whole) if data]


def test_a_batch_is_the_same_bytes_under_the_same_token_for_every_sender(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    journal.append(record("first", events=1))
    first = reader_of(journal.files)
    first.seal()
    sent = [batch[:4] for batch in map(first.load, first.pending())]
    journal.append(record("second"))
    journal.note(run_line())
    second = reader_of(journal.files)
    second.seal()
    again = [second.load(sealed) for sealed in second.pending()]
    assert [batch[:4] for batch in again[: len(sent)]] == sent
    assert [batch.resumed for batch in again] == [True] * len(sent) + [False] * (len(again) - len(sent))
    assert [names(batch.data) for batch in again if batch.table == "results"] == [["first"], ["second"]]


def test_a_token_is_made_of_session_number_and_content(tmp_path: Path) -> None:
    tokens = []
    for content in (b'{"a":1}\n', b'{"a":2}\n'):
        reader = raw(tmp_path / content.hex(), content)
        [sealed] = reader.pending()
        tokens.append(reader.load(sealed).token)
    assert tokens[0] != tokens[1]
    assert [token.rpartition("-")[0] for token in tokens] == [f"{SESSION}-1", f"{SESSION}-1"]


def test_equal_bytes_in_two_batches_have_different_tokens(tmp_path: Path) -> None:
    reader = raw(tmp_path, b"{}\n" * 20_000)
    tokens = {reader.load(sealed).token for sealed in reader.pending()}
    assert len(tokens) == 2


def test_bytes_that_changed_under_a_batch_are_not_sent(tmp_path: Path) -> None:
    reader = raw(tmp_path, b'{"a":1}\n')
    Path(reader.files.results).write_bytes(b'{"a":2}\n')
    with pytest.raises(OSError, match="has changed under batch 1"):
        reader.load(reader.pending()[0])


def test_nothing_may_be_sent_whose_borders_could_not_be_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = begun(tmp_path)
    journal.append(record("first"))
    reader = reader_of(journal.files)
    with monkeypatch.context() as full:
        full.setattr(Appender, "write", no_space)
        with pytest.raises(OSError, match="No space"):
            reader.seal()
        assert reader.pending() == []
    reader.seal()
    assert [sealed.number for sealed in reader.pending()] == [1]


def no_space(_appender: Appender, _data: bytes) -> None:
    raise OSError(28, "No space left on device")


def test_a_batch_that_arrived_counts_although_the_disk_is_too_full_to_note_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = raw(tmp_path, b"{}\n")
    monkeypatch.setattr(Appender, "write", no_space)
    reader.taken(reader.pending()[0])
    assert reader.pending() == []
    assert reader.taken_rows == 1


def three_batches(directory: Path, monkeypatch: pytest.MonkeyPatch) -> JournalReader:
    """Return a reader with the events of two tests and the rows of three, a row a batch, and the run."""
    monkeypatch.setattr(cuts, "BATCH_ROWS", 1)
    journal = begun(directory)
    for name, events in (("a", 1), ("b", 0), ("c", 1)):
        journal.append(record(name, events=events))
    journal.note(run_line())
    journal.close()
    reader = reader_of(journal.files)
    reader.seal()
    return reader


def test_a_journal_of_which_all_has_arrived_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = three_batches(tmp_path, monkeypatch)
    Path(reader.files.log).write_text("a library's warning\n")
    for sealed in reader.pending():
        reader.taken(sealed)
    reader.close()
    tidy(reader)
    assert listing(reader.files) == []


def test_what_has_arrived_is_cut_out_of_the_files_and_the_rest_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = three_batches(tmp_path, monkeypatch)
    before = {sealed.number: reader.load(sealed).token for sealed in reader.pending()}
    gone = {1, 3, 5}  # the events of a, the rows of a and c
    for sealed in reader.pending():
        if sealed.number in gone:
            reader.taken(sealed)
    reader.close()
    tidy(reader)
    assert names(Path(reader.files.results).read_bytes()) == ["b"]
    later = reader_of(reader.files)
    assert later.taken_rows == count_taken(reader.files.meta) == 2
    assert {sealed.number: later.load(sealed).token for sealed in later.pending()} == {
        number: token for number, token in before.items() if number not in gone
    }
    assert later.unsealed_bytes() == 0


def test_a_torn_last_line_keeps_a_journal_although_all_batches_arrived(tmp_path: Path) -> None:
    reader = raw(tmp_path, b'{"a":1}\n{"b":')
    reader.taken(reader.pending()[0])
    reader.close()
    tidy(reader)
    assert Path(reader.files.results).read_bytes() == b'{"b":'


@pytest.mark.parametrize("deadly", ["fsync", "replace", "second replace"])
def test_a_death_while_tidying_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deadly: str
) -> None:
    reader = three_batches(tmp_path, monkeypatch)
    before = {sealed.number: reader.load(sealed).token for sealed in reader.pending()}
    for sealed in reader.pending():
        if sealed.number in (1, 3):
            reader.taken(sealed)
    reader.close()
    calls = iter(range(10))
    name = deadly.rpartition(" ")[2]
    real = getattr(os, name)
    fatal = 1 if deadly.startswith("second") else 0

    def die(*arguments: object) -> object:
        if next(calls) == fatal:
            raise KeyboardInterrupt
        return real(*arguments)

    with monkeypatch.context() as dying:
        dying.setattr(os, name, die)
        with pytest.raises(KeyboardInterrupt):
            tidy(reader)
    later = reader_of(reader.files)
    assert {sealed.number: later.load(sealed).token for sealed in later.pending()} == {
        number: token for number, token in before.items() if number not in (1, 3)
    }
    for sealed in later.pending():
        later.taken(sealed)
    later.close()
    tidy(later)
    assert listing(reader.files) == []


def test_a_full_disk_leaves_the_files_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = three_batches(tmp_path, monkeypatch)
    reader.taken(reader.pending()[0])
    before = listing(reader.files)

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    tidy(reader)
    assert listing(reader.files) == before


def test_a_line_that_a_process_could_only_write_in_part_hides_no_other(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    torn = encode_line(collected(1))[:20]
    with open(journal.files.meta, "ab") as file:
        file.write(torn)
    journal.note(run_line())
    with open(journal.files.meta, "ab") as file:
        file.write(encode_line(Sealed(7, "results", 1, 1, "digest"))[:30])
    journal.note(collected(2))
    kinds = [type(line).__name__ for line in sidecar(journal.files)]
    assert kinds == ["Begin", "Run", "Collected"]
    assert reader_of(journal.files).run is not None


def test_lines_of_a_later_version_are_passed_over(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    with open(journal.files.meta, "ab") as file:
        file.write(b'{"kind":"from_the_future","x":1}\n\xff\xfe\n\n')
    journal.note(run_line())
    assert [type(line).__name__ for line in sidecar(journal.files)] == ["Begin", "Run"]
