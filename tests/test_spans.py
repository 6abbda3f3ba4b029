"""Spans made from lines of a journal: what contract §9 says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pytest_test_observer._ids import Ids, SpanContext
from pytest_test_observer._record import AllureMeta, FixtureTimes, ModuleTimes, PhaseTimes
from pytest_test_observer._spans.batches import ns_of_iso
from tests import otlp_kit as kit
from tests.otlp_kit import SECOND, SESSION_SPAN_ID, START_NS, TRACE_ID, record, spans_of

if TYPE_CHECKING:
    from tests.servers.otlp import Span

UNSET, ERROR = 0, 2


def span_of(*, began: Any = None, **fields: Any) -> Span:
    """Return the span of one attempt."""
    (span,) = spans_of(kit.results(record(**fields), began=began))
    return span


def test_the_span_of_a_test_has_the_name_times_and_ids_of_its_record() -> None:
    test = record(7)
    (span,) = spans_of(kit.results(test))
    assert (span.name, span.trace_id, span.span_id) == (test.nodeid, test.trace_id, test.span_id)
    assert (span.parent_span_id, span.start_ns, span.end_ns) == (SESSION_SPAN_ID, test.start_ns, test.end_ns)
    assert (span.kind, span.scope, span.schema_url) == (
        1,
        "pytest-test-observer",
        "https://opentelemetry.io/schemas/1.44.0",
    )


def test_attributes_of_a_test_have_the_names_and_types_of_the_contract() -> None:
    test = record(
        markers=["db", "slow"],
        worker_id="gw1",
        attempt=2,
        flaky=True,
        attributes={"ticket": "X-1"},
        allure=AllureMeta(
            id="12",
            title="Buys",
            severity="critical",
            labels={"feature": ["cart"], "tag": ["a", "b"]},
            links=[("issue", "https://t.example/1", "one"), ("link", "https://t.example/2", "")],
        ),
    )
    (span,) = spans_of(kit.results(test))
    assert span.attributes == {
        "test.case.name": test.nodeid,
        "test.case.result.status": "pass",
        "test.suite.name": "shop",
        "code.file.path": "tests/test_a.py",
        "code.line.number": 3,
        "code.function.name": "test_0",
        "pytest.nodeid": test.nodeid,
        "pytest.status": "passed",
        "pytest.outcome": "passed",
        "pytest.phase": "call",
        "pytest.duration": 0.1,
        "pytest.setup.duration": 0.05,
        "pytest.call.duration": 0.1,
        "pytest.teardown.duration": 1e-7,
        "pytest.markers": ["db", "slow"],
        "pytest.worker.id": "gw1",
        "pytest.attempt": 2,
        "pytest.flaky": True,
        "pytest.property.ticket": "X-1",
        "allure.id": "12",
        "allure.title": "Buys",
        "allure.severity": "critical",
        "allure.label.feature": ["cart"],
        "allure.label.tag": ["a", "b"],
        "allure.link.type": ["issue", "link"],
        "allure.link.url": ["https://t.example/1", "https://t.example/2"],
        "allure.link.name": ["one", ""],
    }


def test_the_resource_says_where_the_run_happened() -> None:
    resource = span_of(began=kit.begin()).resource
    assert resource.pop("telemetry.sdk.version")
    assert resource == {
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "opentelemetry",
        "service.name": "shop",
        "pytest.run.id": "run-1",
        "pytest.variant": "linux-x86_64-py3.11",
        "pytest.ci.provider": "github",
        "pytest.ci.attempt": 2,
        "cicd.pipeline.run.id": "77",
        "cicd.pipeline.run.url.full": "https://ci.example/77",
        "cicd.pipeline.task.name": "unit",
        "vcs.ref.head.revision": "abc123",
        "vcs.ref.head.name": "main",
        "vcs.change.id": "5",
        "vcs.repository.url.full": "https://git.example/team/shop",
        "vcs.repository.name": "shop",
        "deployment.environment.name": "ci",
    }


@pytest.mark.parametrize(
    ("status", "outcome", "result", "code"),
    [
        ("passed", "passed", "pass", UNSET),
        ("passed", "xpassed", "pass", UNSET),
        ("failed", "failed", "fail", ERROR),
        ("failed", "rerun", "fail", ERROR),
        ("broken", "crashed", "fail", ERROR),
        ("skipped", "skipped", None, UNSET),
        ("skipped", "xfailed", None, UNSET),
    ],
)
def test_status_follows_the_verdict(status: str, outcome: str, result: str | None, code: int) -> None:
    span = span_of(status=status, outcome=outcome, error_type="E" if code == ERROR else "")
    assert span.status == code
    assert span.attributes.get("test.case.result.status") == result
    assert span.attributes.get("error.type") == ("E" if code == ERROR else None)


def test_a_failure_is_an_exception_event_at_the_end_and_a_first_line_in_the_status() -> None:
    span = span_of(status="failed", error_type="ValueError", error_message="no\nreally", error_stacktrace="Traceback")
    assert span.events == [
        (
            "exception",
            span.end_ns,
            {
                "exception.type": "ValueError",
                "exception.message": "no\nreally",
                "exception.stacktrace": "Traceback",
            },
        )
    ]
    assert span.description == "no …"


def test_why_a_test_was_skipped_is_an_attribute_and_no_exception() -> None:
    span = span_of(status="skipped", outcome="skipped", error_message="needs a database")
    assert span.attributes["pytest.reason"] == "needs a database"
    assert span.events == []


def test_custom_events_keep_order_time_payload_and_number() -> None:
    span = span_of(events=kit.events(2))
    assert span.events == [
        ("event 0", START_NS, {"pytest.event.seq": 0, "n": "0"}),
        ("event 1", START_NS + 1_000_000, {"pytest.event.seq": 1, "n": "1"}),
    ]


def test_payload_keys_that_attributes_cannot_have_are_marked() -> None:
    payload = {"": "empty", "pytest.event.seq": "theirs", "pytest.event.key:a": "b", "plain": ""}
    span = span_of(events=kit.events(1, payload))
    assert span.events[0][2] == {
        "pytest.event.seq": 0,
        "pytest.event.key:": "empty",
        "pytest.event.key:pytest.event.seq": "theirs",
        "pytest.event.key:pytest.event.key:a": "b",
        "plain": "",
    }


def test_many_events_continue_on_spans_that_make_no_rows_of_results() -> None:
    test = record(events=kit.events(2_500))
    first, second, third = spans_of(kit.results(test))
    assert [len(span.events) for span in (first, second, third)] == [1_000, 1_000, 500]
    seqs = [event[2]["pytest.event.seq"] for span in (first, second, third) for event in span.events]
    assert seqs == list(range(2_500))
    for span in (second, third):
        assert span.attributes == {"pytest.nodeid": test.nodeid, "pytest.attempt": 1}
        assert span.parent_span_id == test.span_id
    assert len({span.span_id for span in (first, second, third)}) == 3


def test_large_events_continue_too_so_that_no_request_is_too_large() -> None:
    spans = spans_of(kit.results(record(events=kit.events(6, {"body": "x" * 400_000}))))
    assert [len(span.events) for span in spans] == [2, 2, 2]


def test_events_are_weighed_in_bytes_so_that_no_alphabet_makes_a_request_too_large() -> None:
    spans = spans_of(kit.results(record(events=kit.events(4, {"picture": "\U0001f600" * 200_000}))))
    assert [len(span.events) for span in spans] == [1, 1, 1, 1]


def test_no_limit_of_the_sdk_cuts_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EVENT_COUNT", "ATTRIBUTE_COUNT", "ATTRIBUTE_VALUE_LENGTH"):
        monkeypatch.setenv(f"OTEL_SPAN_{name}_LIMIT", "1")
        monkeypatch.setenv(f"OTEL_{name}_LIMIT", "1")
    properties = {f"p{number:03}": "value" for number in range(300)}
    span = span_of(began=kit.begin(), events=kit.events(300), attributes=properties)
    assert len(span.events) == 300
    assert sum(name.startswith("pytest.property.") for name in span.attributes) == 300
    assert span.attributes["pytest.property.p299"] == "value"


def test_a_test_that_is_the_root_of_its_trace_links_to_the_session() -> None:
    session = Ids("5e" * 16).session
    span = span_of(began=kit.begin(trace_scope="test"), parent_span_id="")
    assert span.links == [tuple(session)]
    assert span_of(began=kit.begin()).links == []


def test_under_a_parent_the_session_is_linked_to_in_the_trace_of_that_parent() -> None:
    session = Ids("5e" * 16, parent=SpanContext(TRACE_ID, "a" * 16)).session
    span = span_of(began=kit.begin(parent=(TRACE_ID, "a" * 16)), parent_span_id="")
    assert span.links == [(TRACE_ID, session.span_id)]


def test_phases_and_fixtures_stand_below_the_test_at_their_measured_times() -> None:
    phases = [
        PhaseTimes("setup", START_NS, START_NS + 100, "passed"),
        PhaseTimes("call", START_NS + 100, START_NS + 200, "failed"),
    ]
    fixtures = [FixtureTimes("db", "function", "setup", START_NS + 10, START_NS + 20)]
    line = kit.result_line(record(), phases=phases, fixtures=fixtures)
    test, setup, call, db = spans_of(kit.batch_of("results", [line]))
    assert [span.name for span in (setup, call, db)] == ["setup", "call", "db"]
    assert setup.parent_span_id == call.parent_span_id == test.span_id
    assert db.parent_span_id == setup.span_id
    assert (db.start_ns, db.end_ns) == (START_NS + 10, START_NS + 20)
    assert (setup.status, call.status) == (UNSET, ERROR)
    assert "pytest.phase" not in setup.attributes
    assert len({span.span_id for span in (test, setup, call, db)}) == 4


def test_a_fixture_that_a_test_asks_for_while_it_runs_stands_below_its_call() -> None:
    phases = [
        PhaseTimes("setup", START_NS, START_NS + 100, "passed"),
        PhaseTimes("call", START_NS + 100, START_NS + 200, "passed"),
        PhaseTimes("teardown", START_NS + 200, START_NS + 300, "passed"),
    ]
    fixtures = [
        FixtureTimes("lazy", "function", "setup", START_NS + 110, START_NS + 120),
        FixtureTimes("lazy", "function", "teardown", START_NS + 210, START_NS + 220),
        FixtureTimes("measured by another clock", "function", "setup", START_NS - 10, START_NS + 20),
    ]
    line = kit.result_line(record(), phases=phases, fixtures=fixtures)
    _, setup, call, teardown, *found = spans_of(kit.batch_of("results", [line]))
    assert [span.parent_span_id for span in found] == [call.span_id, teardown.span_id, setup.span_id]


def test_the_session_span_has_what_the_row_of_the_run_has() -> None:
    run = kit.run_record(status="failure", exit_status=1)
    (span,) = spans_of(kit.batch_of("runs", [kit.run_line(run)], kit.begin()))
    assert (span.name, span.trace_id, span.span_id) == ("pytest session", TRACE_ID, SESSION_SPAN_ID)
    assert span.parent_span_id == ""
    wanted = {"test.suite.name": "shop", "test.suite.run.status": "failure", "pytest.exit_status": 1}
    counts = {"pytest.collected": 3, "pytest.count.passed": 0, "pytest.partial": False, "pytest.workers": 0}
    assert span.attributes.items() >= {**wanted, **counts}.items()


def test_the_session_span_stands_below_the_parent_of_the_environment() -> None:
    began = kit.begin(parent=(TRACE_ID, "a" * 16))
    (span,) = spans_of(kit.batch_of("runs", [kit.run_line(kit.run_record())], began))
    assert span.parent_span_id == "a" * 16


def test_modules_are_roots_linked_to_the_session_and_own_their_fixtures() -> None:
    module = ModuleTimes("tests/test_a.py", START_NS, START_NS + 50, "c" * 32, "d" * 16)
    fixtures = [
        FixtureTimes("browser", "session", "setup", START_NS, START_NS + 5),
        FixtureTimes("db", "module", "setup", START_NS + 5, START_NS + 9, "tests/test_a.py"),
    ]
    line = kit.run_line(kit.run_record(), modules=[module], fixtures=fixtures)
    session, own, browser, db = spans_of(kit.batch_of("runs", [line]))
    assert (own.name, own.trace_id, own.span_id, own.parent_span_id) == (
        "tests/test_a.py",
        "c" * 32,
        "d" * 16,
        "",
    )
    assert own.links == [(session.trace_id, session.span_id)]
    assert (browser.trace_id, browser.parent_span_id) == (session.trace_id, session.span_id)
    assert (db.trace_id, db.parent_span_id) == (own.trace_id, own.span_id)


@pytest.mark.parametrize("name", ["", "tests/test_a.py"])
def test_fixtures_stand_in_the_trace_that_was_growing(name: str) -> None:
    parts = [
        ModuleTimes(name, START_NS + 100 * number, START_NS + 100 * number + 50, f"{number:032x}", f"{number:016x}")
        for number in (1, 2, 3)
    ]
    times = [(START_NS + 110, 1), (START_NS + 210, 2), (START_NS + 340, 3)]
    fixtures = [FixtureTimes("db", "class", "setup", start, start + 5, "tests/test_a.py") for start, _ in times]
    line = kit.run_line(kit.run_record(), modules=parts, fixtures=fixtures)
    found = [span for span in spans_of(kit.batch_of("runs", [line])) if span.name == "db"]
    assert [(span.trace_id, span.parent_span_id) for span in found] == [
        (f"{number:032x}", f"{number:016x}") for _, number in times
    ]


def test_a_line_written_for_clickhouse_alone_gives_a_span_with_milliseconds() -> None:
    test = record()
    (span,) = spans_of(kit.batch_of("results", [kit.plain_line(test)]))
    assert (span.start_ns, span.end_ns) == (test.start_ns // 10**6 * 10**6, test.end_ns // 10**6 * 10**6)


def test_events_written_for_clickhouse_alone_travel_below_the_test() -> None:
    test = record(events=kit.events(1_200))
    batch = kit.batch_of("events", [kit.event_lines(test, carried=False)], kit.begin())
    spans = spans_of(batch)
    assert [len(span.events) for span in spans] == [1_000, 200]
    assert {span.parent_span_id for span in spans} == {test.span_id}
    assert spans[0].attributes == {"pytest.nodeid": test.nodeid, "pytest.attempt": 1}
    assert spans[0].resource["service.name"] == "shop"


def test_events_that_the_line_of_their_test_carries_are_not_sent_again() -> None:
    test = record(events=kit.events(3, {'"_span":true': '"_span":true'}))
    assert spans_of(kit.batch_of("events", [kit.event_lines(test, carried=True)])) == []
    assert len(spans_of(kit.batch_of("events", [kit.event_lines(test, carried=False)]))) == 1


def test_the_same_bytes_make_the_same_spans() -> None:
    batch = kit.results(record(events=kit.events(1_500)), record(1), began=kit.begin())
    assert spans_of(batch) == spans_of(batch)


@pytest.mark.parametrize(
    "line",
    [b"\n", b"[]\n", b'{"nodeid":1}\n', b'{"nodeid":"a","span_id":"x","trace_id":"1"}\n', b'{"nodeid":"\xff"}\n'],
)
def test_a_line_that_is_no_row_is_told(line: bytes) -> None:
    with pytest.raises((msgspec.MsgspecError, ValueError)):
        spans_of(kit.batch_of("results", [line]))


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-23T16:59:13.042+00:00",
        "2026-11-23T16:59:13.042Z",
        "2026-11-23 16:59:13.042",
        "2026-11-23T17:59:13.042+01:00",
    ],
)
def test_times_of_rows_are_read_in_every_form_that_was_written(text: str) -> None:
    assert ns_of_iso(text) == 1_795_453_153_042_000_000


def test_durations_of_a_second_survive_as_they_are() -> None:
    span = span_of(end_ns=START_NS + SECOND)
    assert span.end_ns - span.start_ns == SECOND
