"""The one mapping between results, the documented tables and spans.

A column is one line: its name, its ClickHouse type, where its value comes from, and the OpenTelemetry
attribute that carries the same value. The rows, the DDL, the migration, the views that read spans back and
the documentation derive from it.
"""

from __future__ import annotations

from typing import NamedTuple


class Column(NamedTuple):
    """One column of a table.

    ``source`` names a field of the ``scope``: ``context`` (the same for every row of a run), ``record`` (of
    an attempt or a run) or ``event``. A source in ``_ns`` is nanoseconds; its column has milliseconds, by
    floor division. ``attribute`` is the OpenTelemetry attribute that carries the value, empty where the span
    itself does. ``view`` is the SQL that reads it back from ``otel_traces`` where these do not tell.
    """

    name: str
    type: str
    scope: str
    source: str
    attribute: str = ""
    view: str = ""


class Table(NamedTuple):
    """One documented table; ``suffix`` is what its name adds to ``ch_table``."""

    key: str
    suffix: str
    columns: tuple[Column, ...]
    order_by: str

    def name(self, ch_table: str) -> str:
        """Name of this table for a given ``ch_table``."""
        return ch_table + self.suffix

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the columns in the order of the table."""
        return tuple(column.name for column in self.columns)


PARTITION_BY = "toYYYYMM(timestamp)"
# Remembered inserts per table. ClickHouse forgets the oldest beyond it; 10,000 covers hours of a busy server.
DEDUPLICATION_WINDOW = 10_000

# Attributes of an event are its payload, and ours, which begin with the first. A key of a payload that is empty or
# begins so too travels behind the second.
EVENT_PREFIX = "pytest.event."
EVENT_KEY = "pytest.event.key:"

_TIME = "DateTime64(3)"
_LOW = "LowCardinality(String)"


def _context(name: str, type_: str, attribute: str) -> Column:
    return Column(name, type_, "context", name, attribute)


def _event(name: str, type_: str, attribute: str = "", source: str = "", view: str = "") -> Column:
    return Column(name, type_, "event", source or name, attribute, view)


def _record(name: str, type_: str, attribute: str = "", source: str = "", view: str = "") -> Column:
    return Column(name, type_, "record", source or name, attribute, view)


_CI_PROVIDER = _context("ci_provider", _LOW, "pytest.ci.provider")
_CI_RUN_ID = _context("ci_run_id", "String", "cicd.pipeline.run.id")
_GIT_COMMIT = _context("git_commit", "String", "vcs.ref.head.revision")
_GIT_BRANCH = _context("git_branch", "String", "vcs.ref.head.name")
_RUN_ID = _context("run_id", "String", "pytest.run.id")

_TRACE_ID = _record("trace_id", "String", view="TraceId")
_SPAN_ID = _record("span_id", "String", view="SpanId")
# A span that continues the events of a test (pytest.nodeid, no pytest.phase) is a child of the test's span.
_SPAN_ID_OF_TEST = "if(mapContains(SpanAttributes, 'pytest.phase'), SpanId, ParentSpanId)"
# Failed and broken tests have an exception event; a skip's or xfail's reason is no exception of the program.
_MESSAGE = (
    "if(mapContains(exception, 'exception.message'), exception['exception.message'], SpanAttributes['pytest.reason'])"
)

_STACKTRACE = "exception['exception.stacktrace']"

_CONTEXT_OF_OURS = (
    _context("service", _LOW, "service.name"),
    _context("repository", _LOW, "vcs.repository.url.full"),
    _context("variant", _LOW, "pytest.variant"),
    _context("ci_job", _LOW, "cicd.pipeline.task.name"),
    _context("ci_attempt", "UInt16", "pytest.ci.attempt"),
    _context("ci_url", "String", "cicd.pipeline.run.url.full"),
    _context("change_id", "String", "vcs.change.id"),
)

RESULTS = Table(
    key="results",
    suffix="",
    order_by="(nodeid, timestamp)",
    columns=(
        _RUN_ID,
        _record("timestamp", _TIME, source="end_ns"),
        _record("started_at", "UInt64", source="start_ns"),
        _record("finished_at", "UInt64", source="end_ns"),
        _record("nodeid", "String", "pytest.nodeid"),
        _record("status", _LOW, "pytest.status"),
        _record("when_phase", _LOW, "pytest.phase"),
        _record("duration", "Float64", "pytest.duration"),
        _record("markers", "Array(String)", "pytest.markers"),
        _record("worker_id", _LOW, "pytest.worker.id"),
        _CI_PROVIDER,
        _CI_RUN_ID,
        _GIT_COMMIT,
        _GIT_BRANCH,
        _record("allure_id", "String", "allure.id", "allure.id"),
        _record("allure_title", "String", "allure.title", "allure.title"),
        _record("allure_severity", _LOW, "allure.severity", "allure.severity"),
        _record("allure_labels", "Map(String, Array(String))", "allure.label.*", "allure.labels"),
        _record("allure_links", "Array(Tuple(String, String, String))", "allure.link.*", "allure.links"),
        _record("outcome", _LOW, "pytest.outcome"),
        _record("attempt", "UInt16", "pytest.attempt"),
        _record("flaky", "Bool", "pytest.flaky"),
        _TRACE_ID,
        _SPAN_ID,
        _record("parent_span_id", "String", view="ParentSpanId"),
        *_CONTEXT_OF_OURS,
        _record("file", _LOW, "code.file.path"),
        _record("line", "UInt32", "code.line.number"),
        _record("function", "String", "code.function.name"),
        _record("setup_duration", "Float64", "pytest.setup.duration"),
        _record("call_duration", "Float64", "pytest.call.duration"),
        _record("teardown_duration", "Float64", "pytest.teardown.duration"),
        _record("error_type", _LOW, "error.type"),
        _record("error_message", "String", "exception.message", view=_MESSAGE),
        _record("error_stacktrace", "String", "exception.stacktrace", view=_STACKTRACE),
        _record("attributes", f"Map({_LOW}, String)", "pytest.property.*"),
    ),
)

EVENTS = Table(
    key="events",
    suffix="_events",
    order_by="(nodeid, timestamp, seq)",
    columns=(
        _RUN_ID,
        _record("nodeid", "String", "pytest.nodeid"),
        _event("timestamp", _TIME, source="time_ns"),
        _event("seq", "UInt32", "pytest.event.seq"),
        _event("event_name", _LOW, source="name", view="EventName"),
        _event("payload", "Map(String, String)", "*"),
        _record("attempt", "UInt16", "pytest.attempt"),
        _TRACE_ID,
        _record("span_id", "String", view=_SPAN_ID_OF_TEST),
    ),
)

RUNS = Table(
    key="runs",
    suffix="_runs",
    order_by="(timestamp, run_id)",
    columns=(
        _RUN_ID,
        _record("timestamp", _TIME, source="end_ns"),
        _record("started_at", "UInt64", source="start_ns"),
        _record("finished_at", "UInt64", source="end_ns"),
        _record("duration", "Float64", "pytest.duration"),
        _record("status", _LOW, "test.suite.run.status"),
        _record("exit_status", "Int16", "pytest.exit_status"),
        _record("collected", "UInt32", "pytest.collected"),
        _record("deselected", "UInt32", "pytest.deselected"),
        _record("not_run", "UInt32", "pytest.not_run"),
        _record("partial", "Bool", "pytest.partial"),
        _record("passed", "UInt32", "pytest.count.passed", "tests.passed"),
        _record("failed", "UInt32", "pytest.count.failed", "tests.failed"),
        _record("broken", "UInt32", "pytest.count.broken", "tests.broken"),
        _record("skipped", "UInt32", "pytest.count.skipped", "tests.skipped"),
        _record("flaky", "UInt32", "pytest.count.flaky", "tests.flaky"),
        _record("reruns", "UInt32", "pytest.count.reruns", "tests.reruns"),
        _record("workers", "UInt16", "pytest.workers"),
        _CI_PROVIDER,
        _CI_RUN_ID,
        _GIT_COMMIT,
        _GIT_BRANCH,
        *_CONTEXT_OF_OURS,
        _TRACE_ID,
        _SPAN_ID,
        _record("attributes", f"Map({_LOW}, String)", "pytest.run.attributes.*"),
    ),
)

TABLES: dict[str, Table] = {table.key: table for table in (RESULTS, EVENTS, RUNS)}
