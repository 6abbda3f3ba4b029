"""Spans as docs/schema.md describes them, made without the product's code for it, and records to make them of."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import random
from decimal import Decimal
from typing import Any

import grpc  # type: ignore[import-untyped] # without a package of stubs
import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from pytest_test_observer._record import AllureMeta, Context, Counts, Event, RunRecord, TestRecord
from pytest_test_observer._text import storable_deep

Value = str | bool | int | float | list[str]
EVENTS_PER_SPAN = 1_000
TROUBLED = ("failed", "broken")

_CONTEXT = {
    "pytest.run.id": "run_id",
    "pytest.ci.provider": "ci_provider",
    "cicd.pipeline.run.id": "ci_run_id",
    "vcs.ref.head.revision": "git_commit",
    "vcs.ref.head.name": "git_branch",
    "service.name": "service",
    "vcs.repository.url.full": "repository",
    "pytest.variant": "variant",
    "cicd.pipeline.task.name": "ci_job",
    "pytest.ci.attempt": "ci_attempt",
    "cicd.pipeline.run.url.full": "ci_url",
    "vcs.change.id": "change_id",
}


def storable(record: Any) -> Any:
    """Return a record with its lone surrogates written out, as it reaches every destination."""
    return msgspec.convert(storable_deep(msgspec.to_builtins(record)), type(record))


def attributes(values: dict[str, Value]) -> list[KeyValue]:
    """Return attributes of OTLP."""
    return [KeyValue(key=key, value=_any_value(value)) for key, value in values.items()]


def _said(values: dict[str, Value]) -> dict[str, Value]:
    """Leave out texts that say nothing; in a map they are entries, and stay."""
    return {key: value for key, value in values.items() if value != ""}


def _any_value(value: Value) -> AnyValue:
    if isinstance(value, list):
        return AnyValue(array_value=ArrayValue(values=[AnyValue(string_value=item) for item in value]))
    kinds = {bool: "bool_value", int: "int_value", float: "double_value", str: "string_value"}
    chosen: dict[str, Any] = {kinds[type(value)]: value}
    return AnyValue(**chosen)


def spans_of_test(record: TestRecord) -> list[Span]:
    """Return the span of an attempt, and those that its further events continue in."""
    record = storable(record)
    portions = [record.events[i : i + EVENTS_PER_SPAN] for i in range(0, len(record.events), EVENTS_PER_SPAN)]
    span = _span(record, record.nodeid, record.span_id, record.parent_span_id)
    span.attributes.extend(attributes(_test_attributes(record)))
    span.events.extend(_exceptions(record))
    span.events.extend(map(_event, portions[0] if portions else []))
    if record.status in TROUBLED:
        span.status.code = Status.STATUS_CODE_ERROR
    further = [_continuation(record, number, portion) for number, portion in enumerate(portions[1:], 1)]
    return [span, *further]


def _span(record: Any, name: str, span_id: str, parent: str) -> Span:
    return Span(
        trace_id=bytes.fromhex(record.trace_id),
        span_id=bytes.fromhex(span_id),
        parent_span_id=bytes.fromhex(parent),
        name=name,
        kind=Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=record.start_ns,
        end_time_unix_nano=record.end_ns,
    )


def _continuation(record: TestRecord, number: int, events: list[Event]) -> Span:
    span_id = f"{(int(record.span_id, 16) + number) % 2**64:016x}"
    span = _span(record, f"{record.nodeid} events", span_id, record.span_id)
    span.attributes.extend(attributes({"pytest.nodeid": record.nodeid, "pytest.attempt": record.attempt}))
    span.events.extend(map(_event, events))
    return span


def _test_attributes(record: TestRecord) -> dict[str, Value]:
    links = list(zip(*record.allure.links, strict=True)) or [(), (), ()]
    known: dict[str, Value] = {
        "test.case.name": record.nodeid,
        "pytest.nodeid": record.nodeid,
        "pytest.status": record.status,
        "pytest.outcome": record.outcome,
        "pytest.phase": record.when_phase,
        "pytest.duration": record.duration,
        "pytest.setup.duration": record.setup_duration,
        "pytest.call.duration": record.call_duration,
        "pytest.teardown.duration": record.teardown_duration,
        "pytest.markers": record.markers,
        "pytest.worker.id": record.worker_id,
        "pytest.attempt": record.attempt,
        "pytest.flaky": record.flaky,
        "code.file.path": record.file,
        "code.line.number": record.line,
        "code.function.name": record.function,
        "error.type": record.error_type,
        "pytest.reason": "" if record.status in TROUBLED else record.error_message,
        "allure.id": record.allure.id,
        "allure.title": record.allure.title,
        "allure.severity": record.allure.severity,
    }
    return {
        **_said(known),
        **{f"allure.label.{name}": values for name, values in record.allure.labels.items()},
        **{f"allure.link.{part}": list(links[i]) for i, part in enumerate(("type", "url", "name"))},
        **{f"pytest.property.{name}": value for name, value in record.attributes.items()},
    }


def _exceptions(record: TestRecord) -> list[Span.Event]:
    if record.status not in TROUBLED:
        return []
    values: dict[str, Value] = {
        "exception.type": record.error_type,
        "exception.message": record.error_message,
        "exception.stacktrace": record.error_stacktrace,
    }
    return [Span.Event(name="exception", time_unix_nano=record.end_ns, attributes=attributes(_said(values)))]


def _event(event: Event) -> Span.Event:
    marked = {
        f"pytest.event.key:{key}" if not key or key.startswith("pytest.event.") else key: value
        for key, value in event.payload.items()
    }
    found = [KeyValue(key="pytest.event.seq", value=AnyValue(int_value=event.seq))]
    found += [KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in marked.items()]
    return Span.Event(name=event.name, time_unix_nano=event.time_ns, attributes=found)


def span_of_run(record: RunRecord, parent: str = "") -> Span:
    """Return the span of a session."""
    record = storable(record)
    span = _span(record, "pytest", record.span_id, parent)
    counts = {f"pytest.count.{name}": value for name, value in msgspec.to_builtins(record.tests).items()}
    span.attributes.extend(
        attributes(
            {
                "test.suite.run.status": record.status,
                "pytest.exit_status": record.exit_status,
                "pytest.duration": record.duration,
                "pytest.collected": record.collected,
                "pytest.deselected": record.deselected,
                "pytest.not_run": record.not_run,
                "pytest.partial": record.partial,
                "pytest.workers": record.workers,
                **counts,
                **{f"pytest.run.attributes.{name}": value for name, value in record.attributes.items()},
            }
        )
    )
    return span


def foreign_span() -> Span:
    """Return a span that no test made, with an id of its own."""
    return Span(
        trace_id=os.urandom(16), span_id=os.urandom(8), name="GET /", start_time_unix_nano=1, end_time_unix_nano=2
    )


def request(context: Context, spans: list[Span]) -> ExportTraceServiceRequest:
    """Return a request of OTLP with one resource."""
    context = storable(context)
    known = {name: getattr(context, field) for name, field in _CONTEXT.items()}
    resource = Resource(attributes=attributes({**context.resource, **_said(known)}))
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(resource=resource, scope_spans=[ScopeSpans(spans=spans)])]
    )


class NotTaken(Exception):  # noqa: N818 - what became of a request
    """The receiver did not say that it has the spans."""


def send_grpc(port: int, message: ExportTraceServiceRequest, timeout: float = 30) -> None:
    """Send once over gRPC; raises `NotTaken`."""
    options = [("grpc.max_send_message_length", -1), ("grpc.enable_retries", 0)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        try:
            answer = TraceServiceStub(channel).Export(message, timeout=timeout)  # type: ignore[no-untyped-call]
        except grpc.RpcError as error:
            raise NotTaken(str(error)) from None
    _check(answer)


def send_http(port: int, message: ExportTraceServiceRequest, timeout: float = 30) -> None:
    """Send once over HTTP; raises `NotTaken`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    with contextlib.closing(connection):
        try:
            headers = {"Content-Type": "application/x-protobuf"}
            connection.request("POST", "/v1/traces", message.SerializeToString(), headers)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise NotTaken(str(error)) from None
    if response.status != 200:
        raise NotTaken(f"{response.status}: {body!r}")
    _check(ExportTraceServiceResponse.FromString(body))


def _check(answer: ExportTraceServiceResponse) -> None:
    if answer.partial_success.rejected_spans:
        raise NotTaken(answer.partial_success.error_message)


def exported(message: ExportTraceServiceRequest) -> bytes:
    """Return the rows of ``otel_traces`` that the Collector's exporter makes of a request, as lines of JSON.

    Their maps are in an order in which no exporter has them: nothing may depend on it.
    """
    rows = []
    for group in message.resource_spans:
        resource = _texts(group.resource.attributes)
        for scope in group.scope_spans:
            rows += [_exported_span(span, resource) for span in scope.spans]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def _exported_span(span: Span, resource: dict[str, str]) -> dict[str, Any]:
    return {
        "Timestamp": _nanoseconds(span.start_time_unix_nano),
        "TraceId": span.trace_id.hex(),
        "SpanId": span.span_id.hex(),
        "ParentSpanId": span.parent_span_id.hex(),
        "SpanName": span.name,
        "ServiceName": resource.get("service.name", ""),
        "ResourceAttributes": resource,
        "SpanAttributes": _texts(span.attributes),
        "Duration": (span.end_time_unix_nano - span.start_time_unix_nano) % 2**64,
        "StatusCode": {Status.STATUS_CODE_ERROR: "Error"}.get(span.status.code, "Unset"),
        "Events.Timestamp": [_nanoseconds(event.time_unix_nano) for event in span.events],
        "Events.Name": [event.name for event in span.events],
        "Events.Attributes": [_texts(event.attributes) for event in span.events],
    }


def _nanoseconds(time_ns: int) -> str:
    return f"{time_ns // 10**9}.{time_ns % 10**9:09d}"


def _texts(found: Any) -> dict[str, str]:
    texts = {pair.key: _text(pair.value) for pair in found}
    return dict(sorted(texts.items(), reverse=True))


def _text(value: AnyValue) -> str:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        items = [getattr(item, item.WhichOneof("value") or "string_value") for item in value.array_value.values]
        return json.dumps(items, separators=(",", ":"), ensure_ascii=False)
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    if kind == "bool_value":
        return str(value.bool_value).lower()
    if kind == "double_value":
        return _es6(value.double_value)
    return str(getattr(value, kind or "string_value"))


def _es6(number: float) -> str:
    """Write a double as JavaScript does: the shortest digits, without an exponent from 1e-6 to 1e21."""
    if number == 0 or 1e-6 <= abs(number) < 1e21:
        text = format(Decimal(repr(number)), "f")
        return text.removesuffix(".0")
    mantissa, _, exponent = repr(number).partition("e")
    return f"{mantissa}e{int(exponent):+d}"


# Texts that break what is quoted, split, cut or encoded by hand.
HOSTILE = (
    "",
    "plain",
    "'quoted' \"twice\" `thrice`",
    "back\\slash \\n \\u0041 \\",
    "line\nfeed\r\n\ttab\u2028separator\u2029\x85",
    "nul\x00inside\x00",
    "\x01\x1b[31m\x7f",
    "\u202eright to left \u05d0\u05d1\u05d2\u202c",
    "emoji \U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467 \u0065\u0301",
    "\ud800 lone \udc80",
    "<b>&amp;</b> %41 ${HOME} {{x}} $$",
    '["not","an","array"]',
    '{"not": "an object"}',
    "true",
    "0",
    "1e3",
    "\ufeffbom \ufffd",
    " leading and trailing ",
    "a,b;c=d:e|f/g#h?i&j[k]",
)
_KEYS = ("pytest.event.seq", "pytest.event.key:", "pytest.event.", "exception.message", "pytest.nodeid")


class Hostile:
    """Makes records of texts that break things; the same ``seed`` makes the same."""

    def __init__(self, seed: int, start_ns: int = 1_795_392_930_123_456_789) -> None:
        self._random = random.Random(seed)
        self._start_ns = start_ns
        self.trace_id = self._hex(32)
        self.session = self._hex(16)
        self.context = Context(
            run_id=f"run-{seed}-{HOSTILE[2]}",
            ci_provider="github",
            ci_run_id=HOSTILE[3],
            ci_job=HOSTILE[8],
            ci_attempt=3,
            ci_url="https://ci.example/run?a=b&c=d#e",
            git_commit="f" * 40,
            git_branch=HOSTILE[4],
            change_id="17",
            repository="https://git.example/o/r",
            service=HOSTILE[7],
            variant="linux-x86_64-py3.11",
            resource={"deployment.environment.name": HOSTILE[10], "team": HOSTILE[9]},
        )

    def test(self, number: int, *, events: int | None = None, message: str | None = None) -> TestRecord:
        """Return the record of test ``number``."""
        pick = self._random
        start = self._start_ns + number * 1_234_567
        status = pick.choice(("passed", "failed", "broken", "skipped"))
        failed = status in TROUBLED
        many = pick.randrange(3) if events is None else events
        return TestRecord(
            nodeid=f"tests/test_{number % 20}.py::test_{number}[{self._text()}]",
            attempt=pick.randint(1, 3),
            worker_id=pick.choice(("master", "gw0", "gw1")),
            start_ns=start,
            end_ns=start + pick.randrange(10**10),
            status=status,
            outcome=status,
            when_phase=pick.choice(("setup", "call", "teardown", "collect")),
            duration=self._seconds(),
            trace_id=self.trace_id,
            span_id=self._hex(16),
            parent_span_id=pick.choice((self.session, "")),
            flaky=pick.random() < 0.5,
            setup_duration=self._seconds(),
            call_duration=self._seconds(),
            teardown_duration=self._seconds(),
            markers=self._texts(),
            file=self._text(),
            line=pick.randrange(2**32),
            function=self._text(),
            error_type=pick.choice(("AssertionError", self._text())) if failed else "",
            error_message=self._text() if message is None else message,
            error_stacktrace=self._text() if failed else "",
            allure=self._allure(),
            attributes=self._map(),
            events=[self._event(start + i, i) for i in range(many)],
        )

    def run(self, tests: list[TestRecord]) -> RunRecord:
        """Return the record of the session that ran ``tests``."""
        return RunRecord(
            start_ns=self._start_ns,
            end_ns=self._start_ns + 12_345_678_901,
            status="failure",
            exit_status=-9,
            trace_id=self.trace_id,
            span_id=self.session,
            collected=len(tests),
            deselected=2,
            not_run=1,
            partial=True,
            tests=Counts(passed=len(tests), failed=3, broken=2, skipped=1, flaky=4, reruns=5),
            workers=2,
            attributes=dict(sorted(self.context.resource.items())),
        )

    def _allure(self) -> AllureMeta:
        if self._random.random() < 0.5:
            return AllureMeta()
        labels = {name: self._texts() for name in self._map()}
        links = [(self._text(), self._text(), self._text()) for _ in range(self._random.randrange(4))]
        return AllureMeta(self._text(), self._text(), "critical", labels, links)

    def _event(self, time_ns: int, seq: int) -> Event:
        return Event(time_ns, seq, self._random.choice(("exception", self._text())), self._map())

    def _seconds(self) -> float:
        some = self._random.random() / 10 ** self._random.randrange(8)
        return self._random.choice((0.0, 1.0, 0.1 + 0.2, 1e-7, 1e20, 1e21, some, some))

    def _map(self) -> dict[str, str]:
        keys = self._random.sample((*HOSTILE, *_KEYS), self._random.randrange(5))
        return {key: self._text() for key in sorted(keys)}

    def _texts(self) -> list[str]:
        return sorted(self._random.sample(HOSTILE, self._random.randrange(5)))

    def _text(self) -> str:
        return self._random.choice(HOSTILE)

    def _hex(self, digits: int) -> str:
        return f"{self._random.randrange(1, 16**digits):0{digits}x}"
