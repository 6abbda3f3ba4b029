"""Rows out of spans: whatever a row holds comes back from its span as it was."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider

from pytest_test_observer._record import AllureMeta, Counts
from pytest_test_observer._spans.batches import SpanMaker
from pytest_test_observer._spans.reading import rows_of
from tests import otlp_kit as kit
from tests.otlp_kit import record

if TYPE_CHECKING:
    from pytest_test_observer._destinations import Batch

HOSTILE = [
    "",
    "plain",
    "quote\" and ' and \\",
    "line\nfeed\r\n\ttab",
    "nul\0inside",
    "שלום \u202eright to left",
    "\U0001f600 emoji",
    "\\udc80 made storable",
    "x" * 100_000,
    "[]",
    '["a"]',
    "pytest.event.seq",
    "*",
]

VERDICTS = [("passed", "passed"), ("failed", "failed"), ("broken", "error"), ("skipped", "skipped")]


def back(batch: Batch) -> dict[str, list[dict[str, Any]]]:
    """Return the rows that the spans of a batch make, by table."""
    found: dict[str, list[dict[str, Any]]] = {"results": [], "events": [], "runs": []}
    for piece in SpanMaker().pieces(batch):
        for span in piece.spans:
            for table, row in rows_of(span):
                found[table.key].append(row)
    return found


def hostile_record(number: int, dice: random.Random) -> Any:
    """Return a record of texts that are hard to carry."""

    def text() -> str:
        return dice.choice(HOSTILE)

    status, outcome = dice.choice(
        [("passed", "passed"), ("failed", "failed"), ("broken", "error"), ("skipped", "skipped")]
    )
    troubled = status in ("failed", "broken")
    return record(
        number,
        status=status,
        outcome=outcome,
        when_phase=dice.choice(["setup", "call", "teardown", "collect"]),
        nodeid=f"t.py::{number}[{text()}]",
        file=text(),
        line=dice.choice([0, 1, 4_000_000_000]),
        function=text(),
        duration=dice.choice([0.0, 0.1 + 0.2, 1e-7, 1e21, 1 / 3]),
        markers=sorted({text(), text()}),
        attributes={text(): text() for _ in range(3)},
        error_type=text() if troubled else "",
        error_message=text() if status != "passed" else "",
        error_stacktrace=text() if troubled else "",
        allure=AllureMeta(
            text(),
            text(),
            text(),
            {text(): [text() for _ in range(dice.randrange(3))] for _ in range(3)},
            [(text(), text(), text()) for _ in range(dice.randrange(3))],
        ),
        events=kit.events(dice.randrange(4), {text(): text() for _ in range(3)}),
    )


def test_every_column_comes_back_whatever_it_holds() -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    dice = random.Random(seed)
    tests = [hostile_record(number, dice) for number in range(150)]
    batch = kit.results(*tests, began=kit.begin())
    events = kit.batch_of("events", [kit.event_lines(test, carried=False) for test in tests])
    found = back(batch)
    assert found["results"] == kit.rows_in(batch)
    assert found["events"] == kit.rows_in(events)


def test_the_session_that_could_not_be_collected_has_no_name_and_yet_a_row() -> None:
    batch = kit.results(record(nodeid="", status="broken", outcome="error", when_phase="collect"), began=kit.begin())
    assert back(batch)["results"] == kit.rows_in(batch)


def test_the_events_of_a_long_test_come_back_under_the_span_of_the_test() -> None:
    test = record(events=kit.events(3_000))
    events = kit.batch_of("events", [kit.event_lines(test, carried=False)])
    assert back(kit.results(test, began=kit.begin()))["events"] == kit.rows_in(events)
    assert back(events._replace(begin=kit.begin()))["events"] == kit.rows_in(events)


@pytest.mark.parametrize("status", ["success", "failure", "aborted", "skipped"])
def test_the_row_of_a_run_comes_back(status: str) -> None:
    run = kit.run_record(
        status=status, exit_status=-1, partial=True, not_run=7, tests=Counts(1, 2, 3, 4, 5, 6), workers=3
    )
    batch = kit.batch_of("runs", [kit.run_line(run)], kit.begin())
    assert back(batch) == {"results": [], "events": [], "runs": kit.rows_in(batch)}


def test_an_event_that_a_test_calls_exception_is_not_taken_for_its_failure() -> None:
    events = [
        event.__class__(event.time_ns, event.seq, "exception", {"exception.message": "theirs"})
        for event in kit.events(1)
    ]
    (row,) = back(kit.results(record(events=events)))["results"]
    assert (row["error_type"], row["error_message"]) == ("", "")


def test_foreign_spans_make_no_rows() -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("theirs")
    span = tracer.start_span("GET /")
    span.end()
    assert isinstance(span, ReadableSpan)
    assert list(rows_of(span)) == []


def test_spans_that_have_no_row_make_none() -> None:
    from pytest_test_observer._record import FixtureTimes, ModuleTimes, PhaseTimes

    start = kit.START_NS
    phases, fixtures = (
        [PhaseTimes("call", start, start + 1)],
        [FixtureTimes("db", "function", "call", start, start + 1)],
    )
    line = kit.result_line(record(), phases=phases, fixtures=fixtures)
    assert len(back(kit.batch_of("results", [line]))["results"]) == 1
    modules = [ModuleTimes("a.py", start, start, "c" * 32, "d" * 16)]
    assert len(back(kit.batch_of("runs", [kit.run_line(kit.run_record(), modules=modules)]))["runs"]) == 1
