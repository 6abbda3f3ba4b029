"""docs/opentelemetry.md and what the README says of it: what is typed works, what is shown is what comes out."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pytest_test_observer import _settings_docs
from pytest_test_observer._columns import EVENT_KEY, EVENT_PREFIX, TABLES
from pytest_test_observer._destinations import otlp_environment
from pytest_test_observer._ids import TESTS_PER_TRACE
from pytest_test_observer._spans.events import BYTES_PER_SPAN, EVENTS_PER_SPAN
from pytest_test_observer._spans.resource import SCHEMA_URL
from tests.killing import wait_until
from tests.kit import Workbench
from tests.servers.faulty import faulty
from tests.servers.otlp import Receiver, Span, receiving
from tests.test_readme import BLOCKS, QUIET, README, Block, Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.kit import Observed
    from tests.servers.client import ClickHouse

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "opentelemetry.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
ERROR = 2
CHECK = "check_stock.py"
# Nobody answers; that a run waits three seconds by default is said in test_otlp_faults.py.
SHORT_WAIT = "--observer-exit-timeout=0.5"
WAITING = "def test_a(n): n < 4 or threading.Event().wait(60)\n"
NAMES = ("total", "discount", "payment", "gift_card")


class Typed(NamedTuple):
    """What came of the commands of a chapter."""

    spans: list[Span]
    headers: dict[str, str]
    summary: str


def chapter(page: str, title: str) -> str:
    """Return the text below a heading of the second level."""
    return page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def blocks(title: str, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(chapter(PAGE, title)) if kind == language]


def tables(title: str) -> Iterator[list[str]]:
    """Yield the rows of all tables of a chapter, heads left out, as cells without spaces around them."""
    lines = chapter(PAGE, title).splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("| `") and not following.startswith("|---"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Typed:
    """What arrives when a reader saves the suite of the page and types what stands in its second block."""
    bench = Workbench(tmp_path_factory.mktemp("reader"))
    for suite in blocks("A trace", "py"):
        (bench.suite / suite.splitlines()[0].removeprefix("# ")).write_text(suite, encoding="utf-8")
    commands = blocks("Send", "sh")[1].splitlines()
    environment = dict(shlex.split(line)[1].split("=", 1) for line in commands if line.startswith("export "))
    pytest_line = shlex.split(commands[-1])
    assert pytest_line[0] == "pytest"
    with receiving() as receiver:
        environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = _here(environment["OTEL_EXPORTER_OTLP_ENDPOINT"], receiver)
        run = bench.run(*QUIET, *pytest_line[1:], env=environment)
        assert bench.buffered() == []
        return Typed(receiver.spans, receiver.requests[0].headers, run.summary)


def _here(text: str, receiver: Receiver) -> str:
    addresses = {"http://localhost:4317": "grpc", "http://localhost:4318": "http/protobuf"}
    for address, protocol in addresses.items():
        text = text.replace(address, receiver.endpoint(protocol))
    return text


def test_variables_of_opentelemetry_are_enough(typed: Typed) -> None:
    assert typed.summary.startswith("test-observer: 2 results sent to http://127.0.0.1:")
    assert typed.headers["authorization"] == "Bearer my-token"
    assert {span.resource["service.name"] for span in typed.spans} == {"shop"}


def test_the_trace_is_the_one_that_is_shown(typed: Typed) -> None:
    [shown] = blocks("A trace", "text")
    assert "\n".join(_tree(typed.spans, "", "")) == shown.rstrip()


def _tree(spans: list[Span], parent: str, indent: str) -> Iterator[str]:
    for span in sorted((span for span in spans if span.parent_span_id == parent), key=lambda span: span.start_ns):
        action = span.attributes.get("pytest.fixture.action")
        parts = [f"{span.name} ({action})" if action else span.name, *(event[0] for event in span.events)]
        yield indent + " · ".join([*parts, "ERROR"] if span.status == ERROR else parts)
        yield from _tree(spans, span.span_id, f"{indent}  ")


def test_each_attribute_that_arrives_is_in_the_tables(typed: Typed) -> None:
    documented = {name for cells in tables("Attributes") for name in quoted(cells[0])}
    wildcards = tuple(name.removesuffix("*") for name in documented if name.endswith(".*"))
    arrived = {name for span in typed.spans for name in (*span.attributes, *span.resource)}
    assert {name for name in arrived - documented if not name.startswith(wildcards)} == set()
    assert {"pytest.fixture.scope", "pytest.phase.outcome", "pytest.exit_status", "telemetry.sdk.name"} <= arrived


def test_the_table_of_attributes_is_that_of_the_columns() -> None:
    documented = {tuple(cells) for cells in tables("Attributes") if quoted(cells[2]) == [cells[2].strip("`")]}
    expected = {
        (f"`{column.attribute}`", _place(key, column.scope, column.attribute), f"`{column.name}`")
        for key, table in TABLES.items()
        for column in table.columns
        if column.attribute and (key, column.scope) != ("events", "record")
    }
    assert documented == expected


def _place(key: str, scope: str, attribute: str) -> str:
    if attribute.startswith("exception."):
        return "exception"
    return "resource" if scope == "context" else {"results": "test", "events": "event", "runs": "session"}[key]


def test_the_variables_that_are_read_are_those_of_the_table() -> None:
    documented = {name for cells in tables("Send") for name in quoted(cells[0])}
    source = Path(otlp_environment.__file__).read_text(encoding="utf-8")
    read = set(re.findall(r'variables\.(?:get|path)\("(\w+)"\)', source))
    assert len(read) > len("a few")
    prefix = "OTEL_EXPORTER_OTLP_"
    assert {name.removeprefix(prefix) for name in documented if name.startswith(prefix)} == read
    others = {"OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_SDK_DISABLED", "TRACEPARENT"}
    assert {name for name in documented if not name.startswith(prefix)} == others


def test_the_scopes_of_the_page_are_those_of_the_setting() -> None:
    row = next(line for line in _settings_docs.document().splitlines() if line.startswith("| `--otlp-trace`"))
    *_, default, accepted, _, _ = row.split("|")
    named = [quoted(cells[0])[0] for cells in tables("How far a trace reaches")]
    assert named == quoted(accepted)
    assert named[:1] == quoted(default)


@pytest.mark.parametrize(
    "said",
    [
        f"up to {TESTS_PER_TRACE:,} collected tests",
        f"After {EVENTS_PER_SPAN:,}\nevents, or a megabyte",
        f"begins with `{EVENT_PREFIX}` has `{EVENT_KEY}` before it",
        f"conventions {SCHEMA_URL.rpartition('/')[2]}",
    ],
)
def test_numbers_of_the_page_are_those_of_the_code(said: str) -> None:
    assert BYTES_PER_SPAN == 1_000_000
    assert said in PAGE


def test_the_pipeline_of_the_page_writes_rows(
    clickhouse_server: ClickHouse, database: str, query: Callable[[str], list[tuple[Any, ...]]], tmp_path: Path
) -> None:
    [program] = blocks("In a pipeline of your own", "py")
    for mine, yours in {
        '"http://localhost:8123"': f'"{clickhouse_server.url}"',
        'user="ci"': f'user="{clickhouse_server.user}", database="{database}"',
    }.items():
        assert mine in program
        program = program.replace(mine, yours)
    (tmp_path / CHECK).write_text(program, encoding="utf-8")
    environment = {
        **Workbench(tmp_path).environment(),
        "PYTEST_OBSERVER_CH_PASSWORD": clickhouse_server.password,
    }
    done = subprocess.run(
        [sys.executable, CHECK], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert query("SELECT nodeid, status, outcome, when_phase FROM checks") == [
        ("stock::books", "passed", "passed", "call")
    ]
    assert query("SELECT nodeid, seq, event_name, payload FROM checks_events") == [
        ("stock::books", 0, "counted", {"books": "12"})
    ]


def test_a_reader_of_the_readme_sends_spans_and_with_both_ways_rows_instead(observed: Observed) -> None:
    reader = Reader(observed)
    reader.save(next(block for block in BLOCKS if block.text.startswith("# test_shop.py")))
    both = chapter(README, "With OpenTelemetry")
    alone, shown, with_both, shown_of_both = (Block(*found) for found in BLOCK.findall(both))
    with receiving() as receiver:
        printed = reader.type(_here(alone.text, receiver)).replace(receiver.endpoint("grpc"), "http://localhost:4317")
        results = [span.name for span in receiver.spans if "pytest.phase" in span.attributes]
        endpoint = receiver.endpoint("grpc")
    assert sorted(results) == sorted(f"test_shop.py::test_{name}" for name in NAMES)
    assert set(reader.shape(shown.text).splitlines()) <= set(reader.shape(printed).splitlines())
    reader._environment |= observed.env
    printed = reader.type(with_both.text.replace("http://localhost:4317", endpoint))
    printed = reader.shape(printed.replace(endpoint, "http://localhost:4317"))
    assert set(reader.shape(shown_of_both.text).splitlines()) <= set(printed.splitlines())
    assert len(observed.rows()) == len(NAMES)


@pytest.mark.parametrize("by_variables", [False, True])
def test_the_command_that_a_run_ends_with_sends_what_it_kept(bench: Workbench, *, by_variables: bool) -> None:
    bench.write(test_a="def test_a(): pass")
    with receiving() as receiver:
        port = receiver.http_port
    url = f"http://127.0.0.1:{port}"
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
    if by_variables:
        run = bench.run("--otlp", SHORT_WAIT, env=variables)
    else:
        run = bench.run(f"--otlp-endpoint={url}", "--otlp-protocol=http/protobuf", SHORT_WAIT)
    program, verb, *arguments = shlex.split(run.summary.partition("send with: ")[2])
    assert (program, verb) == ("pytest-observer", "replay")
    with receiving(http_port=port) as receiver:
        done = subprocess.run(
            [sys.executable, "-m", "pytest_test_observer.replay", *arguments],
            env=bench.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        assert [span.name for span in receiver.spans] == ["test_a.py::test_a", "pytest session"]
    assert bench.buffered() == []


def test_a_killed_controller_leaves_what_it_had_and_a_crash_for_each_worker(bench: Workbench) -> None:
    bench.write(test_a="import threading, pytest\n@pytest.mark.parametrize('n', range(8))\n" + WAITING)
    with receiving() as receiver:
        controller = bench.start("-n2", f"--otlp-endpoint={receiver.endpoint('grpc')}")
        wait_until(lambda: len(_arrived(receiver)) == 4, "what is over has arrived", 40)
        controller.kill()
        controller.wait()
        for pipe in (controller.stdout, controller.stderr):
            assert pipe is not None
            pipe.close()  # not read to their end: workers take seconds to notice
        wait_until(lambda: any("pytest.exit_status" in span.attributes for span in receiver.spans), "the run", 40)
        wait_until(lambda: list(bench.buffers.iterdir()) == [], "the helper is done", 40)
        [run] = [span.attributes for span in receiver.spans if "pytest.exit_status" in span.attributes]
    outcomes = Counter(span.attributes["pytest.outcome"] for span in _arrived(receiver))
    workers = {span.attributes["pytest.worker.id"] for span in _arrived(receiver) if span.status == ERROR}
    assert (outcomes, workers) == ({"passed": 4, "crashed": 2}, {"gw0", "gw1"})
    assert (run["test.suite.run.status"], run["pytest.not_run"]) == ("aborted", 2)


def _arrived(receiver: Receiver) -> list[Span]:
    return [span for span in receiver.spans if "pytest.phase" in span.attributes]


def test_a_batch_that_is_in_doubt_never_comes_to_clickhouse(observed: Observed) -> None:
    observed.bench.write(test_a="def test_a(): pass")
    with faulty("silent") as silent:
        run = observed.run(
            f"--otlp-endpoint={silent.url}", "--otlp-protocol=http/protobuf", "--observer-exit-timeout=3"
        )
    assert "0 results sent" in run.summary
    assert "1 kept on disk" in run.summary
    # whether the tables were made ahead is a matter of time
    filled = f"SELECT count() FROM system.tables WHERE database = '{observed.database}' AND total_rows > 0"
    assert observed.server.query(filled) == [(0,)]
