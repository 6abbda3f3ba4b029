"""What a receiver gets of runs: protocol, reach of a trace, detail, serial and parallel, each pair of them once."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import pytest

from tests.kit import Run, Workbench
from tests.servers.otlp import Span, receiving

CONFTEST = """
import pytest

@pytest.fixture(scope="session")
def shared():
    yield

@pytest.fixture(scope="module")
def house(shared):
    yield

@pytest.fixture
def own(house):
    yield

@pytest.fixture
def bad():
    raise OSError("no such house")
"""
ONE = """
import pytest

def test_passed(own): pass
def test_failed(own): assert 1 == 2, "not equal"
def test_skipped(): pytest.skip("not today")
def test_broken(bad): pass
def test_events(record_event):
    for number in range(1_500):
        record_event("step", {"n": str(number)})
"""
TWO = """
def test_first(own): pass
def test_second(): pass
"""
STATUSES = {
    "test_passed": "passed",
    "test_failed": "failed",
    "test_skipped": "skipped",
    "test_broken": "broken",
    "test_events": "passed",
    "test_first": "passed",
    "test_second": "passed",
}
# A test that fails in its setup has no call.
PHASES = len(STATUSES) * 3 - 1
ERROR, UNSET = 2, 0
COMBINED = [
    ("grpc", "session", "test", 0),
    ("http/protobuf", "auto", "phase", 2),
    ("grpc", "session", "fixture", 2),
    ("http/protobuf", "module", "test", 2),
    ("grpc", "module", "phase", 0),
    ("http/protobuf", "module", "fixture", 0),
    ("grpc", "test", "test", 0),
    ("http/protobuf", "test", "phase", 2),
    ("grpc", "test", "fixture", 0),
]


class Received(NamedTuple):
    """A run and what a receiver got of it."""

    run: Run
    spans: list[Span]
    trace: str = "auto"
    detail: str = "test"
    workers: int = 0

    @property
    def session(self) -> Span:
        (span,) = (span for span in self.spans if "pytest.exit_status" in span.attributes)
        return span

    @property
    def tests(self) -> dict[str, Span]:
        """The spans of tests by the name of their function."""
        found = {span.name.partition("::")[2]: span for span in self.spans if "pytest.phase" in span.attributes}
        assert len(found) == len([span for span in self.spans if "pytest.phase" in span.attributes])
        return found

    @property
    def modules(self) -> dict[str, Span]:
        """The spans of modules by name."""
        return {span.name: span for span in self.spans if span.attributes.keys() == {"pytest.module"}}

    @property
    def fixtures(self) -> list[Span]:
        return [span for span in self.spans if "pytest.fixture.name" in span.attributes]

    @property
    def phases(self) -> list[Span]:
        return [span for span in self.spans if "pytest.phase.outcome" in span.attributes]

    def under(self, parent: Span) -> list[Span]:
        return [span for span in self.spans if span.parent_span_id == parent.span_id]


def write(bench: Workbench) -> Workbench:
    bench.write(conftest=CONFTEST, test_one=ONE, test_two=TWO)
    return bench


@pytest.fixture(scope="module", params=COMBINED, ids=lambda given: "-".join(map(str, given)))
def received(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Received:
    """One run of the suite."""
    protocol, trace, detail, workers = request.param
    bench = write(Workbench(tmp_path_factory.mktemp("run")))
    flags = [f"--otlp-protocol={protocol}", f"--otlp-trace={trace}", f"--otlp-detail={detail}", "--custom-events=true"]
    with receiving() as receiver:
        parallel = [f"-n{workers}", "--dist=loadfile"] if workers else []
        run = bench.run(f"--otlp-endpoint={receiver.endpoint(protocol)}", *flags, *parallel)
        assert run.returncode == 1, run.stdout
        assert bench.buffered("") == [], run.summary
        assert {arrived.protocol for arrived in receiver.requests} == {protocol.partition("/")[0]}
    return Received(run, receiver.spans, trace, detail, workers)


def test_each_test_has_one_span_of_its_status(received: Received) -> None:
    found = received.tests
    assert {name: span.attributes["pytest.status"] for name, span in found.items()} == STATUSES
    troubled = {name for name, status in STATUSES.items() if status in ("failed", "broken")}
    assert {name for name, span in found.items() if span.status == ERROR} == troubled
    assert {name for name, span in found.items() if "error.type" in span.attributes} == troubled
    assert {span.status for name, span in found.items() if name not in troubled} == {UNSET}


def test_every_event_arrives_with_its_test(received: Received) -> None:
    test = received.tests["test_events"]
    carriers = [span for span in received.under(test) if span.name == test.name]
    events = [event for span in (test, *carriers) for event in span.events]
    assert [event[2]["pytest.event.seq"] for event in events] == list(range(1_500))
    assert [event[2]["n"] for event in events] == [str(number) for number in range(1_500)]


def test_there_is_no_span_that_was_not_asked_for(received: Received) -> None:
    phases = 0 if received.detail == "test" else PHASES
    assert len(received.phases) == phases
    assert len(received.modules) == (2 if received.trace == "module" else 0)
    named = [received.session, *received.tests.values(), *received.modules.values()]
    carriers = 1
    assert len(received.spans) == len(named) + carriers + phases + len(received.fixtures)


def test_fixtures_have_spans_of_setup_and_teardown(received: Received) -> None:
    found = Counter(
        (span.name, span.attributes["pytest.fixture.action"])
        for span in received.fixtures
        if span.name in ("shared", "house", "own", "bad")
    )
    counts = {"shared": max(1, received.workers), "house": 2, "own": 3, "bad": 1}
    wanted = {(name, action): count for name, count in counts.items() for action in ("setup", "teardown")}
    assert found == (wanted if received.detail == "fixture" else {})


def test_fixtures_stand_below_what_they_were_made_for(received: Received) -> None:
    phases = {span.span_id for span in received.phases}
    modules = {name: span.span_id for name, span in received.modules.items()}
    for span in received.fixtures:
        scope = span.attributes["pytest.fixture.scope"]
        if scope == "function":
            assert span.parent_span_id in phases
        else:
            module = span.attributes.get("pytest.module", "")
            assert span.parent_span_id == modules.get(module, received.session.span_id)


def test_every_parent_exists_in_the_same_trace(received: Received) -> None:
    by_id = {span.span_id: span for span in received.spans}
    assert len(by_id) == len(received.spans)
    for span in received.spans:
        if span.parent_span_id:
            assert by_id[span.parent_span_id].trace_id == span.trace_id


def test_a_trace_reaches_as_far_as_asked(received: Received) -> None:
    traces = Counter(span.trace_id for span in received.spans)
    assert len(traces) == {"module": 1 + 2, "test": 1 + len(STATUSES)}.get(received.trace, 1)


def test_each_trace_has_one_root_and_it_links_to_the_session(received: Received) -> None:
    roots = [span for span in received.spans if not span.parent_span_id]
    assert len(roots) == len({span.trace_id for span in received.spans})
    session = received.session
    assert session in roots
    for span in roots:
        assert span.links == ([] if span is session else [(session.trace_id, session.span_id)])


def test_spans_lie_within_their_parents(received: Received) -> None:
    by_id = {span.span_id: span for span in received.spans}
    for span in received.spans:
        above = by_id.get(span.parent_span_id, span)
        assert above.start_ns <= span.start_ns <= span.end_ns <= above.end_ns, (span.name, above.name)


def test_all_spans_have_one_resource(received: Received) -> None:
    resource = received.session.resource
    assert resource["service.name"] == "suite"
    assert all(span.resource == resource for span in received.spans)
    assert {span.schema_url for span in received.spans} == {received.session.schema_url}


def test_the_summary_counts_results(received: Received) -> None:
    assert f": {len(STATUSES)} results sent to http://127.0.0.1" in received.run.summary


TRACE_ID, PARENT_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ENVIRONMENT = {
    "TRACEPARENT": f"00-{TRACE_ID}-{PARENT_ID}-00",
    "TRACESTATE": "vendor=1",
    "OTEL_TRACES_SAMPLER": "always_off",
    "OTEL_SERVICE_NAME": "shop",
    "OTEL_RESOURCE_ATTRIBUTES": "service.name=other,deployment.environment.name=ci,team=a%20b",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "1",
    "OTEL_SPAN_EVENT_COUNT_LIMIT": "1",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "3",
    "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=team%20a",
}


@pytest.fixture(scope="module", params=[0, 2], ids=["serial", "xdist"])
def commissioned(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Received:
    """A run of a pipeline that has a trace already, does not sample it, and sets what the standard knows."""
    bench = write(Workbench(tmp_path_factory.mktemp("run")))
    with receiving() as receiver:
        env = {**ENVIRONMENT, "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint("grpc")}
        run = bench.run("--otlp", "--otlp-detail=phase", "--custom-events=true", f"-n{request.param}", env=env)
        assert [arrived.headers["x-tenant"] for arrived in receiver.requests] == ["team a"] * len(receiver.requests)
    return Received(run, receiver.spans)


def test_the_trace_of_whoever_started_pytest_goes_on(commissioned: Received) -> None:
    assert {span.trace_id for span in commissioned.spans} == {TRACE_ID}
    assert commissioned.session.parent_span_id == PARENT_ID
    assert [span for span in commissioned.spans if span.parent_span_id == PARENT_ID] == [commissioned.session]


def test_neither_sampler_nor_limits_of_the_sdk_take_anything_away(commissioned: Received) -> None:
    assert commissioned.tests.keys() == STATUSES.keys()
    test = commissioned.tests["test_events"]
    assert test.attributes["pytest.nodeid"] == "test_one.py::test_events"
    assert sum(len(span.events) for span in commissioned.spans if span.name == test.name) == 1_500


def test_variables_of_the_standard_name_the_service(commissioned: Received) -> None:
    for span in commissioned.spans:
        resource = span.resource
        found = [resource[name] for name in ("service.name", "deployment.environment.name", "team")]
        assert found == ["shop", "ci", "a b"]


def test_a_disabled_sdk_sends_nothing_and_keeps_nothing(bench: Workbench) -> None:
    write(bench)
    with receiving() as receiver:
        run = bench.run(f"--otlp-endpoint={receiver.endpoint('grpc')}", env={"OTEL_SDK_DISABLED": "true"})
    assert (run.returncode, run.summary) == (1, "")
    assert receiver.requests == []
    assert bench.buffered("") == []
