"""With ``--observer-nest`` spans of the tested program nest under the test that runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pytest_test_observer._ids import Ids
from pytest_test_observer._nested_ids import NestedIds, NestPlan
from pytest_test_observer._traces import TRACE_BYTES, estimated_size
from tests.kit import HEARD_OF_REPETITIONS
from tests.verdict_kit import observed_in, outlived

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit import Observed, Run, Workbench
    from tests.servers.client import ClickHouse

pytest.importorskip("anyio")

NEST = "--observer-nest=on"

# The tested program has a provider of its own; its spans are on disk as soon as they end, whatever dies then.
PROGRAM = """
    import json, os
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

    class ToDisk(SpanExporter):
        def export(self, spans):
            for span in spans:
                parent = span.parent and format(span.parent.span_id, "016x")
                line = {"name": span.name, "trace_id": format(span.context.trace_id, "032x"), "parent": parent}
                with open(os.environ["SPANS"], "a") as file:
                    file.write(json.dumps(line) + "\\n")
            return SpanExportResult.SUCCESS

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(ToDisk()))
    tracer = provider.get_tracer("program")

    def work(name):
        with tracer.start_as_current_span(name):
            pass

    def running():
        return os.environ["PYTEST_CURRENT_TEST"].partition(" ")[0].rpartition("::")[2].partition("@")[0]
"""

# Names of spans are "<test>|<attempt>|<where>".
WAYS = """
    import asyncio, contextvars, subprocess, sys, threading, unittest
    import anyio, pytest
    from program import tracer, work

    @pytest.fixture
    def around(request):
        label = f"{request.node.originalname}|{getattr(request.node, 'execution_count', 1)}"
        work(label + "|setup")
        yield label
        work(label + "|teardown")

    def test_plain(around):
        work(around + "|call")

    @pytest.mark.parametrize("value", ["a::b", "é@x", "\\udc80"])
    def test_parameters(value, request):
        work(request.node.name + "|1|call")

    @pytest.mark.flaky(reruns=2)
    def test_flaky(around, request):
        work(around + "|call")
        assert request.node.execution_count == 3

    @pytest.mark.asyncio
    async def test_asyncio(around):
        work(around + "|call")
        await asyncio.create_task(later(around + "|task"))
        await asyncio.to_thread(work, around + "|thread")

    async def later(name):
        await asyncio.sleep(0)
        work(name)

    @pytest.mark.xdist_group("one")
    def test_thread(around):
        thread = threading.Thread(target=contextvars.copy_context().run, args=(work, around + "|thread"))
        thread.start()
        thread.join()

    CHILD = '''
    import sys
    from opentelemetry import context, propagate
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
    import os
    from program import work
    carrier = {name.lower(): value for name, value in os.environ.items()}
    context.attach(TraceContextTextMapPropagator().extract(carrier))
    work(sys.argv[1])
    '''

    def test_child(around, observer_trace_environment):
        import os, textwrap
        environment = {**os.environ, **observer_trace_environment}
        command = [sys.executable, "-c", textwrap.dedent(CHILD), around + "|child"]
        assert subprocess.run(command, env=environment).returncode == 0

    class TestUnit(unittest.TestCase):
        def setUp(self):
            work("test_unit|1|setup")
        def test_unit(self):
            work("test_unit|1|call")

    class TestUnitAsync(unittest.IsolatedAsyncioTestCase):
        async def asyncSetUp(self):
            work("test_unit_async|1|setup")
        async def test_unit_async(self):
            work("test_unit_async|1|call")

    def test_it_leaves_a_context_behind():
        from opentelemetry import context
        context.attach(context.set_value("left", "here"))
        work("test_it_leaves_a_context_behind|1|call")

    def test_after_it(around):
        work(around + "|call")

    @pytest.mark.observer_nest(False)
    def test_not_nested():
        work("test_not_nested|1|call")
"""

# anyio runs all of this in one task, which the first test's setup makes.
ANYIO = """
    import anyio, pytest
    from program import running, work

    @pytest.fixture(scope="module")
    def anyio_backend():
        return "asyncio"

    @pytest.fixture(scope="module")
    async def shared():
        work(running() + "|1|shared")
        yield
        work(running() + "|1|shared")

    @pytest.mark.anyio
    async def test_first(shared):
        work("test_first|1|call")

    @pytest.mark.anyio
    async def test_second(shared):
        work("test_second|1|call")
        async with anyio.create_task_group() as group:
            group.start_soon(task, "test_second|1|task")

    async def task(name):
        await anyio.sleep(0)
        work(name)
"""

# A span that a fixture of the module keeps current over tests is left as it is.
OVER_TESTS = """
    import pytest
    from opentelemetry import trace
    from program import running, tracer, work

    @pytest.fixture(scope="module")
    def over():
        with tracer.start_as_current_span(running() + "|1|over"):
            yield running()

    def test_opens(over):
        assert over != "test_opens" or trace.get_current_span().is_recording()

    def test_below(over):
        if over != "test_below":
            work("test_below|1|call")

    def test_closes(over):
        if over != "test_closes":
            work("test_closes|1|call")
"""


class Nested(NamedTuple):
    """What the program's spans and the table say after a run."""

    run: Run
    spans: list[dict[str, Any]]
    rows: list[dict[str, Any]]

    def attempts(self) -> dict[tuple[str, int], dict[str, Any]]:
        return {(_test_of(row["nodeid"]), row["attempt"]): row for row in self.rows}


def _test_of(nodeid: str) -> str:
    head, bracket, parameters = nodeid.partition("[")
    return head.rpartition("::")[2] + bracket + parameters


def _nested(observed: Observed, *arguments: str, env: dict[str, str] | None = None) -> Nested:
    spans = observed.bench.suite / "spans.jsonl"
    observed.bench.write(program=PROGRAM)
    run = observed.run("-p", "no:randomly", *arguments, env={"SPANS": str(spans), "PYTHONPATH": ".", **(env or {})})
    lines = spans.read_text().splitlines() if spans.exists() else []
    return Nested(run, [json.loads(line) for line in lines], outlived(observed, run).rows)


@pytest.fixture(
    scope="module",
    params=[[], ["-n2"], ["-n2", "--dist=loadgroup", "--otlp-trace=module"], ["-n1", "--otlp-trace=test"]],
    ids=" ".join,
)
def ways(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, clickhouse_server: ClickHouse
) -> Iterator[Nested]:
    with observed_in(tmp_path_factory.mktemp("nest"), clickhouse_server) as observed:
        observed.bench.write(test_ways=WAYS, test_anyio=ANYIO, test_over=OVER_TESTS)
        yield _nested(observed, NEST, "-W", "error", "--strict-markers", "-rA", "--log-level=DEBUG", *request.param)


def test_every_way_of_running_code_nests_under_the_attempt_that_runs(ways: Nested) -> None:
    assert ways.run.returncode == 0, ways.run.stdout
    rows = ways.attempts()
    for span in ways.spans:
        test, attempt, _ = span["name"].split("|")
        row = rows[test, int(attempt)]
        nested = (span["trace_id"], span["parent"]) == (row["trace_id"], row["span_id"])
        assert nested == (test != "test_not_nested"), (span, row)
    wheres = {(name, where) for name, _, where in (span["name"].split("|") for span in ways.spans)}
    assert {"child", "thread", "task", "shared", "over"} <= {where for _, where in wheres}
    assert len([span for span in ways.spans if span["name"].startswith("test_flaky|")]) == 9


def test_a_test_that_switches_it_off_makes_roots(ways: Nested) -> None:
    assert [span["parent"] for span in ways.spans if span["name"].startswith("test_not_nested")] == [None]


def test_nothing_is_logged_of_contexts_that_do_not_fit(ways: Nested) -> None:
    assert "detach" not in ways.run.stdout + ways.run.stderr


def test_the_outcomes_are_those_of_a_run_without_nesting(ways: Nested) -> None:
    outcomes = {key: row["outcome"] for key, row in ways.attempts().items() if row["outcome"] != "passed"}
    assert outcomes == {("test_flaky", 1): "rerun", ("test_flaky", 2): "rerun"}


# A test that dies in its first attempt, and what it did until then.
DYING = """
    import os, pathlib, time
    from program import work

    def test_dies():
        died = pathlib.Path("died")
        attempt = 2 if died.exists() else 1
        work(f"test_dies|{attempt}|call")
        if attempt == 1:
            died.touch()
            os._exit(1)
        pathlib.Path("again").touch()

    def test_other():
        # xdist can forget the repetition where the last other worker ends before it has noticed the death
        until = time.monotonic() + 30
        while not pathlib.Path("again").exists() and time.monotonic() < until:
            time.sleep(0.01)
        work("test_other|1|call")
"""


def _all_nest(nested: Nested) -> bool:
    rows = nested.attempts()
    keys = [(span, span["name"].split("|")) for span in nested.spans]
    found = [(span, rows[test, int(attempt)]) for span, (test, attempt, _) in keys]
    assert len({row["span_id"] for row in nested.rows}) == len(nested.rows)
    return all((span["trace_id"], span["parent"]) == (row["trace_id"], row["span_id"]) for span, row in found)


@pytest.mark.parametrize("how", [["-n2"], ["-n1"]], ids=" ".join)
def test_spans_of_a_dead_worker_nest_under_the_crashed_attempt_and_later_ones_under_the_next(
    observed: Observed, how: list[str]
) -> None:
    observed.bench.write(test_dying=DYING, conftest=HEARD_OF_REPETITIONS)
    nested = _nested(observed, NEST, "--reruns=1", *how)
    outcomes = {key: row["outcome"] for key, row in nested.attempts().items()}
    assert outcomes == {("test_dies", 1): "crashed", ("test_dies", 2): "passed", ("test_other", 1): "passed"}
    assert len(nested.spans) == 3
    assert _all_nest(nested)


def test_spans_of_a_worker_that_left_no_mark_nest_too(observed: Observed) -> None:
    # as on another machine, where the controller's file is not
    observed.bench.write(
        test_dying=DYING,
        conftest="""
            from pytest_test_observer._journal.marks import MarkWriter
            MarkWriter.start = lambda *_: None
        """,
    )
    nested = _nested(observed, NEST, "-n1", "--reruns=1")
    assert nested.attempts()["test_dies", 1]["outcome"] == "crashed"
    assert _all_nest(nested)


def test_spans_of_a_pytest_that_died_nest_under_the_row_that_its_helper_makes(observed: Observed) -> None:
    observed.bench.write(test_dying=DYING)
    nested = _nested(observed, NEST)
    assert [row["outcome"] for row in nested.rows] == ["crashed"]
    assert len(nested.spans) == 1
    assert _all_nest(nested)


def test_tests_nest_under_the_trace_that_their_rows_are_in_where_one_is_full(observed: Observed) -> None:
    observed.bench.write(
        test_a="""
            import pytest
            from program import work

            @pytest.mark.parametrize("number", range(24))
            def test_long(number):
                work(f"test_long[{number}]|1|call")
                raise AssertionError("x" * 400_000)
        """
    )
    nested = _nested(observed, NEST, "-n2", "--tb=native")
    assert len(nested.spans) == 24
    assert 2 <= len({row["trace_id"] for row in nested.rows}) <= 4
    assert _all_nest(nested)


@pytest.mark.parametrize("how", [[], ["-n1"]], ids=" ".join)
def test_a_marker_nests_one_test(observed: Observed, how: list[str]) -> None:
    observed.bench.write(
        test_a="""
            import pytest
            from program import work

            def test_before(): work("test_before|1|call")
            @pytest.mark.observer_nest
            def test_marked(): work("test_marked|1|call")
            def test_after(): work("test_after|1|call")
        """
    )
    nested = _nested(observed, "--strict-markers", *how)
    span_id = nested.attempts()["test_marked", 1]["span_id"]
    assert {span["name"]: span["parent"] for span in nested.spans} == {
        "test_before|1|call": None,
        "test_marked|1|call": span_id,
        "test_after|1|call": None,
    }


# What tests of instrumented programs look like: they set the global provider, and look at the parents of spans.
INSTRUMENTED = """
    import pytest
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    def test_nobody_has_set_a_provider():
        assert trace._TRACER_PROVIDER is None
        assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)

    def test_it_can_be_set():
        exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        trace.set_tracer_provider(provider)
        assert trace.get_tracer_provider() is provider
        with trace.get_tracer("program").start_as_current_span("one"):
            pass
        assert [span.name for span in exporter.get_finished_spans()] == ["one"]
"""
ROOTS = """
    def test_the_span_is_a_root(observer_trace_environment):
        assert trace.get_current_span() is trace.INVALID_SPAN
        with trace.get_tracer("program").start_as_current_span("two") as span:
            assert span.parent is None
        assert observer_trace_environment == {}

    @pytest.mark.observer_nest
    def test_that_has_the_marker(): pass
"""


def test_a_suite_that_sets_its_own_provider_passes_with_nesting(observed: Observed) -> None:
    observed.bench.write(test_a=INSTRUMENTED)
    run = observed.run(NEST, "-W", "error")
    assert run.returncode == 0, run.stdout


def test_a_suite_whose_spans_are_roots_passes_without_nesting(observed: Observed) -> None:
    observed.bench.write(test_a=INSTRUMENTED + ROOTS)
    run = observed.run("-W", "error", "--strict-markers")
    assert run.returncode == 0, run.stdout


def test_the_same_suite_passes_where_the_plugin_is_off(bench: Workbench) -> None:
    bench.write(test_a=INSTRUMENTED + ROOTS)
    run = bench.run("-W", "error", "--strict-markers")
    assert run.returncode == 0, run.stdout


def test_the_state_of_the_trace_above_goes_on_to_child_processes(observed: Observed) -> None:
    observed.bench.write(
        test_a="""
            import json, pathlib
            from opentelemetry import trace

            def test_one(observer_trace_environment):
                assert trace.get_current_span().get_span_context().trace_flags.sampled
                pathlib.Path("environment.json").write_text(json.dumps(observer_trace_environment))
        """
    )
    above = {"TRACEPARENT": f"00-{'a' * 32}-{'b' * 16}-00", "TRACESTATE": "vendor=state"}
    observed.run(NEST, env=above)
    (row,) = observed.rows()
    assert json.loads((observed.bench.suite / "environment.json").read_text()) == {
        "TRACEPARENT": f"00-{'a' * 32}-{row['span_id']}-01",
        "TRACESTATE": "vendor=state",
    }


def test_no_test_stays_current_after_the_last_one(observed: Observed) -> None:
    observed.bench.write(
        conftest="""
            import pytest
            from opentelemetry import trace

            def pytest_runtest_logfinish(nodeid, location):
                assert trace.get_current_span() is trace.INVALID_SPAN
            @pytest.fixture
            def ending():
                yield
                print("ending:", trace.get_current_span().get_span_context().is_valid)
            def pytest_unconfigure(config):
                print("current:", trace.get_current_span().get_span_context().is_valid)
        """,
        test_a="""
            import pytest
            from opentelemetry import context, trace
            def test_leaks_a_context_of_its_own():
                context.attach(trace.set_span_in_context(trace.get_current_span(), context.Context()))
            def test_exits(ending): pytest.exit("enough")
        """,
    )
    run = observed.run(NEST, "-s")
    assert run.returncode == pytest.ExitCode.INTERRUPTED, run.stdout
    assert "ending: True\n" in run.stdout
    assert "current: False\n" in run.stdout
    assert "error of the plugin's own" not in run.stdout


def _filled(plans: list[NestPlan], nodeids: list[str], texts: int) -> dict[str, int]:
    """Return how many bytes each trace gets when all processes take turns, each test with ``texts`` of error."""
    processes = [NestedIds(plan, nodeids) for plan in plans]
    filled: dict[str, int] = {}
    for number, nodeid in enumerate(nodeids):
        ids = processes[number % len(processes)]
        span = ids.test(nodeid, 1, 1)
        ids.charge(nodeid, texts)
        filled[span.trace_id] = filled.get(span.trace_id, 0) + estimated_size(nodeid, texts, 0, 0)
    return filled


def _plans(scope: str, workers: int) -> list[NestPlan]:
    named = [NestPlan("5e55", scope, always=True, worker=f"gw{n}", slot=n + 1, workers=workers) for n in range(workers)]
    # the last one replaces a worker that died
    return [*named, NestPlan("5e55", scope, always=True, worker="gw9", slot=workers + 1, workers=workers)]


@pytest.mark.parametrize("scope", ["session", "module"])
@pytest.mark.parametrize("texts", [0, 5_000, 100_000])
@pytest.mark.parametrize("workers", [1, 3])
def test_no_trace_of_nested_tests_outgrows_what_is_kept_of_it(scope: str, texts: int, workers: int) -> None:
    nodeids = [f"test_a.py::test_{number}" for number in range(6_000)]
    filled = _filled(_plans(scope, workers), nodeids, texts)
    # what one test adds is known when it has run
    assert max(filled.values()) <= TRACE_BYTES + (workers + 1) * (texts + 1_500)
    assert len(filled) <= 2 * workers + 3 + sum(filled.values()) // (TRACE_BYTES // 2)


def test_tests_that_fit_one_trace_share_it_however_they_are_spread() -> None:
    nodeids = [f"test_a.py::test_{number}" for number in range(1_900)]
    busy, *_ = _plans("auto", 8)
    assert len(_filled([busy], nodeids, 0)) == 1


def test_ids_are_the_same_in_all_processes_where_only_the_worker_differs() -> None:
    here, there = (NestedIds(plan, ["test_a.py::test_b"]) for plan in _plans("session", 1))
    first, second = here.test("test_a.py::test_b", 1, 1), there.test("test_a.py::test_b", 1, 1)
    assert first.trace_id == second.trace_id == Ids("5e55", "session").session.trace_id
    assert first.span_id != second.span_id
