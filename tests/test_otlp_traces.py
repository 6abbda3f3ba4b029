"""Traces of large suites: each small enough to be kept whole, with one root, and linked to the session."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from pytest_test_observer._errors import ErrorText
from pytest_test_observer._extras import Extras
from pytest_test_observer._gathered import Gathered, Location
from pytest_test_observer._ids import Ids
from pytest_test_observer._naming import Facts, Key, Naming
from pytest_test_observer._record import AllureMeta, Event, RunRecord, TestRecord
from pytest_test_observer._rows import RowEncoder
from pytest_test_observer._spans.batches import SpanMaker
from pytest_test_observer._verdict import Verdict
from tests.otlp_kit import CONTEXT, batch_of, begin
from tests.servers.otlp import receiving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.sdk.trace import ReadableSpan

    from pytest_test_observer._journal import sidecar
    from tests.kit import Workbench


# Tempo keeps 5 MB of a trace; the contract leaves a fifth of that.
LIMIT = 4_000_000
SESSION_ID = "5e" * 16
START_NS = 1_795_392_930_123_456_789
TESTS = 10_000
# Rows in a request: each has its own copy of the resource.
ROWS = 1_000
PASSED = Verdict("passed", "passed", "call")


class Sent(NamedTuple):
    """What a session sends: bytes and spans by trace."""

    sizes: Counter[str]
    spans: dict[str, list[ReadableSpan]]

    @property
    def roots(self) -> Counter[str]:
        """How many roots each trace has."""
        return Counter({trace: sum(span.parent is None for span in spans) for trace, spans in self.spans.items()})


def facts(extras: Extras | None = None, error: ErrorText | None = None) -> Facts:
    place = Location("tests/unit/test_basket.py", 12, "TestBasket.test_it_is_empty")
    return Facts(START_NS, START_NS + 3_000_000, place, error or ErrorText(), ["smoke"], extras=extras)


def session(tests: int, modules: int, made: Callable[[], tuple[Facts, Gathered]]) -> Sent:
    """Return what a session of so many tests in so many modules sends, as its journal would have it."""
    ids = Ids(SESSION_ID)
    ids.decide(tests)
    naming, encoder = Naming(ids), RowEncoder(CONTEXT, spans=True)
    lines = [encoder.result(record) for record in records(naming, tests, modules, made)]
    run = RunRecord(
        START_NS,
        START_NS + 10**10,
        "success",
        0,
        ids.session.trace_id,
        ids.session.span_id,
        modules=naming.traces.modules,
    )
    batches = [batch_of("results", lines[start : start + ROWS], began()) for start in range(0, tests, ROWS)]
    sent = Sent(Counter(), defaultdict(list))
    maker = SpanMaker()
    for batch in [*batches, batch_of("runs", [encoder.run(run)], began())]:
        by_trace = defaultdict(list)
        for piece in maker.pieces(batch):
            for span in piece.spans:
                by_trace[f"{span.context.trace_id:032x}"].append(span)
        for trace, spans in by_trace.items():
            sent.sizes[trace] += encode_spans(spans).ByteSize()
            sent.spans[trace] += spans
    return sent


def began() -> sidecar.Begin:
    return begin(session_id=SESSION_ID)


def records(
    naming: Naming, tests: int, modules: int, made: Callable[[], tuple[Facts, Gathered]]
) -> Iterator[TestRecord]:
    for number in range(tests):
        module = number * modules // tests
        nodeid = f"tests/unit/test_basket_{module}.py::TestBasket::test_it_is_empty[{number}]"
        given, gathered = made()
        verdict = Verdict("failed", "failed", "call") if given.error.message else PASSED
        yield naming.record(Key(nodeid, "gw0"), verdict, gathered, given)


def lean() -> tuple[Facts, Gathered]:
    return facts(), Gathered()


@pytest.mark.parametrize("modules", [200, 1])
def test_no_trace_of_a_large_suite_outgrows_what_is_kept_of_it(modules: int) -> None:
    sent = session(TESTS, modules, lean)
    print(f"{modules} modules: {len(sent.sizes)} traces, the largest has {max(sent.sizes.values()):,} bytes")
    assert max(sent.sizes.values()) <= LIMIT
    # the session's, one for each module, and further ones where one module is too much
    assert len(sent.sizes) <= 1 + modules + sum(sent.sizes.values()) // (LIMIT // 2)
    assert set(sent.roots.values()) == {1}


def failing() -> tuple[Facts, Gathered]:
    return facts(error=ErrorText("not equal " * 20, "line of a traceback\n" * 200)), Gathered()


def with_properties() -> tuple[Facts, Gathered]:
    gathered = Gathered()
    gathered.attributes = {"picture": "x" * 4_000}
    return facts(), gathered


def with_labels() -> tuple[Facts, Gathered]:
    allure = AllureMeta("1", "title " * 100, "critical", {"story": ["a story " * 100] * 4}, [("link", "u" * 500, "n")])
    return facts(Extras(1, 1, True, allure=allure)), Gathered()


def with_events() -> tuple[Facts, Gathered]:
    events = [Event(START_NS, seq, "a name " * 40, {"key" * 10: "value" * 5}) for seq in range(20)]
    return facts(Extras(1, 1, True, events=events)), Gathered()


def with_unicode() -> tuple[Facts, Gathered]:
    return facts(error=ErrorText("\u05d0\u05d1" * 900, "\U0001f600" * 900)), Gathered()


@pytest.mark.parametrize("made", [failing, with_properties, with_labels, with_events, with_unicode])
def test_what_tests_say_counts(made: Callable[[], tuple[Facts, Gathered]]) -> None:
    sent = session(2_000, 20, made)
    print(f"{len(sent.sizes)} traces, the largest has {max(sent.sizes.values()):,} bytes")
    assert max(sent.sizes.values()) <= LIMIT
    assert set(sent.roots.values()) == {1}


def test_a_further_trace_of_a_session_has_a_root_that_is_no_run() -> None:
    sent = session(2_000, 20, with_properties)
    session_trace = Ids(SESSION_ID).session.trace_id
    further = [span for trace, spans in sent.spans.items() if trace != session_trace for span in spans]
    roots = [span for span in further if span.parent is None]
    assert {span.name for span in roots} == {"pytest session continued"}
    assert {f"{link.context.trace_id:032x}" for span in roots for link in span.links} == {session_trace}
    assert not any(span.attributes for span in roots)


COLLECTED = 2_001


def test_auto_gives_each_module_a_trace_from_more_tests_on_than_one_trace_holds(bench: Workbench) -> None:
    bench.write(
        test_many=f"""
            import pytest
            @pytest.mark.parametrize("number", range({COLLECTED - 1}))
            def test_one(number): pass
        """,
        test_other="def test_other(): pass\n",
    )
    with receiving() as receiver:
        run = bench.run(f"--otlp-endpoint={receiver.endpoint('grpc')}")
        spans = receiver.spans
    assert (run.returncode, bench.buffered("")) == (0, []), run.stdout
    assert sorted(Counter(span.trace_id for span in spans).values()) == [1, 2, COLLECTED]
    roots = {span.name: span for span in spans if not span.parent_span_id}
    assert roots.keys() == {"pytest session", "test_many.py", "test_other.py"}
    home = roots["pytest session"]
    linked = [span.links for name, span in roots.items() if name != home.name]
    assert linked == [[(home.trace_id, home.span_id)]] * 2


def test_auto_keeps_a_smaller_suite_in_one_trace(bench: Workbench) -> None:
    bench.write(test_a="def test_a(): pass\n", test_b="def test_b(): pass\n")
    with receiving() as receiver:
        bench.run(f"--otlp-endpoint={receiver.endpoint('grpc')}")
    assert len({span.trace_id for span in receiver.spans}) == 1
