"""The last line of a run, as it is put together."""

from __future__ import annotations

import pytest

from pytest_test_observer._messages import Outcome, replay_command, summary
from pytest_test_observer._settings import resolve_layers

SENT = Outcome(2, 0, 0, 0, "http://ch:8123")


@pytest.mark.parametrize(
    ("sent", "not_run", "said"),
    [
        (1, 0, "1 result sent to http://ch:8123."),
        (0, 1, "0 results sent to http://ch:8123, 1 collected test not run."),
        (2, 2, "2 results sent to http://ch:8123, 2 collected tests not run."),
    ],
)
def test_numbers_and_their_nouns_agree(sent: int, not_run: int, said: str) -> None:
    assert summary(SENT._replace(sent=sent, not_run=not_run)) == f"test-observer: {said}"


@pytest.mark.parametrize(
    ("note", "said"),
    [
        ("older runs that wait", "Older runs that wait."),
        ("A batch was late.", "A batch was late."),
        ("`db`.`t` is a view", "`db`.`t` is a view."),
        ("OTEL_X has no value", "OTEL_X has no value."),
    ],
)
def test_a_note_is_a_sentence_of_its_own(note: str, said: str) -> None:
    assert summary(SENT._replace(notes=(note,))) == f"test-observer: 2 results sent to http://ch:8123. {said}"


@pytest.mark.parametrize(
    ("given", "flags"),
    [
        # what is not to change tables is not to change them from that command either
        ({"ch_url": "h:1", "ch_auto_migrate": "off"}, ["--ch-url=http://h:1", "--ch-auto-migrate=false"]),
        ({"ch_url": "h:1", "ch_user": "me", "ch_db": "d"}, ["--ch-url=http://h:1", "--ch-user=me", "--ch-db=d"]),
        # no setting of ClickHouse where nothing goes there
        ({"otlp_endpoint": "http://h:4317", "ch_user": "me"}, ["--otlp-endpoint=http://h:4317"]),
    ],
)
def test_the_command_that_replays_has_the_settings_that_it_needs(given: dict[str, str], flags: list[str]) -> None:
    settings = resolve_layers({}, {}, given)
    assert replay_command(settings, "run.jsonl") == " ".join(["pytest-observer", "replay", *flags, "run.jsonl"])
