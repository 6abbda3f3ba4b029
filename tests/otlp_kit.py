"""Lines of a journal as the recorder writes them when spans are wanted, and batches of them."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from pytest_test_observer._destinations import Batch
from pytest_test_observer._journal.sidecar import Begin, Process
from pytest_test_observer._lines import lines_of
from pytest_test_observer._record import Context, Event, RunRecord, TestRecord
from pytest_test_observer._rows import SPAN_KEY, RowEncoder, encode
from pytest_test_observer._spans.batches import SpanMaker
from pytest_test_observer._spans.lines import EventOf, SpanPart
from tests.servers.otlp import Span, plain_spans

if TYPE_CHECKING:
    from collections.abc import Iterable

START_NS = 1_790_000_000_123_456_789
SECOND = 1_000_000_000
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SESSION_SPAN_ID = "b7ad6b7169203331"

CONTEXT = Context(
    run_id="run-1",
    ci_provider="github",
    ci_run_id="77",
    ci_job="unit",
    ci_attempt=2,
    ci_url="https://ci.example/77",
    git_commit="abc123",
    git_branch="main",
    change_id="5",
    repository="https://git.example/team/shop",
    service="shop",
    variant="linux-x86_64-py3.11",
    resource={"deployment.environment.name": "ci", "vcs.repository.name": "shop"},
)


def record(number: int = 0, **fields: Any) -> TestRecord:
    """Return the record of a passed test; ``fields`` are those that differ."""
    start_ns = START_NS + number * SECOND
    nodeid = f"tests/test_a.py::test_{number}"
    facts: dict[str, Any] = {
        "nodeid": nodeid,
        "attempt": 1,
        "worker_id": "master",
        "start_ns": start_ns,
        "end_ns": start_ns + 250_000_001,
        "status": "passed",
        "outcome": "passed",
        "when_phase": "call",
        "duration": 0.1,
        "trace_id": TRACE_ID,
        "span_id": blake2b(str(number).encode(), digest_size=8).hexdigest(),
        "parent_span_id": SESSION_SPAN_ID,
        "setup_duration": 0.05,
        "call_duration": 0.1,
        "teardown_duration": 1e-7,
        "file": "tests/test_a.py",
        "line": 3,
        "function": f"test_{number}",
    }
    return TestRecord(**{**facts, **fields})


def run_record(**fields: Any) -> RunRecord:
    """Return the record of a run that succeeded."""
    facts: dict[str, Any] = {
        "start_ns": START_NS - SECOND,
        "end_ns": START_NS + 5 * SECOND,
        "status": "success",
        "exit_status": 0,
        "trace_id": TRACE_ID,
        "span_id": SESSION_SPAN_ID,
        "collected": 3,
        "workers": 0,
        "attributes": CONTEXT.resource,
    }
    return RunRecord(**{**facts, **fields})


def events(count: int, payload: dict[str, str] | None = None) -> list[Event]:
    """Return custom events, a millisecond apart."""
    return [
        Event(START_NS + seq * 1_000_000, seq, f"event {seq}", {"n": str(seq)} if payload is None else payload)
        for seq in range(count)
    ]


def begin(**fields: Any) -> Begin:
    """Return the first line of a sidecar."""
    facts: dict[str, Any] = {
        "version": "1",
        "session_id": "5e" * 16,
        "context": CONTEXT,
        "started_ns": START_NS - SECOND,
        "process": Process(1, "1", "host"),
    }
    return Begin(**{**facts, **fields})


def with_span(line: bytes, part: SpanPart) -> bytes:
    """Return a line with what it says besides its columns, as the recorder writes it."""
    return line[:-2] + b',"_span":' + encode(_sparse(part)) + b"}\n"


def result_line(test: TestRecord, *, context: Context = CONTEXT, **part: Any) -> bytes:
    """Return the line of an attempt, with its ``_span``; ``part`` are phases and fixtures."""
    carried = [EventOf(event.time_ns, event.name, event.payload) for event in test.events]
    span = SpanPart(test.start_ns, test.end_ns, carried, **part)
    return with_span(RowEncoder(context).result(test), span)


def plain_line(test: TestRecord, *, context: Context = CONTEXT) -> bytes:
    """Return the line of an attempt as it is written for ClickHouse alone."""
    return RowEncoder(context).result(test)


def event_lines(test: TestRecord, *, carried: bool, context: Context = CONTEXT) -> bytes:
    """Return the lines of a test's events; ``carried`` ones say that their test's line has them too."""
    lines = RowEncoder(context).events(test)
    return lines.replace(b"}\n", b',"_span":true}\n') if carried else lines


def run_line(run: RunRecord, *, context: Context = CONTEXT, **part: Any) -> bytes:
    """Return the line of a run, with its ``_span``; ``part`` are modules and fixtures."""
    return with_span(RowEncoder(context).run(run), SpanPart(run.start_ns, run.end_ns, **part))


def batch_of(table: str, lines: Iterable[bytes], began: Begin | None = None) -> Batch:
    """Return lines as a batch."""
    data = b"".join(lines)
    token = f"token-{blake2b(data, digest_size=8).hexdigest()}"
    return Batch(table, data, data.count(b"\n"), token, began)


def results(*tests: TestRecord, began: Begin | None = None) -> Batch:
    """Return a batch of results."""
    return batch_of("results", [result_line(test) for test in tests], began)


def _sparse(part: SpanPart) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(part).items() if value}


def spans_of(batch: Batch) -> list[Span]:
    """Return the spans of a batch as a receiver sees them."""
    made = [span for piece in SpanMaker().pieces(batch) for span in piece.spans]
    return list(plain_spans(encode_spans(made)))


def rows_in(batch: Batch) -> list[dict[str, Any]]:
    """Return the rows of a batch as ClickHouse reads them: without what is no column."""
    rows = [msgspec.json.decode(line) for line in lines_of(batch.data)]
    return [{name: value for name, value in row.items() if name != SPAN_KEY} for row in rows]
