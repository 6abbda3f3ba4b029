"""An OTLP receiver over gRPC and HTTP, in threads of the test's process, that can be told to misbehave.

``with receiving() as receiver:`` gives one whose ``spans`` are what it took. Faults: `Receiver.reject`,
`Receiver.answer`, `Receiver.delay`. Those that need no receiver at all are in ``faulty``.
"""

from __future__ import annotations

import contextlib
import gzip
import ssl
import threading
import zlib
from concurrent import futures
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from ._loopback import LoopbackServer, WholeBodyHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CERTIFICATE = Path(__file__).parent / "tls" / "localhost.crt.pem"
KEY = CERTIFICATE.with_name("localhost.key.pem")
# That of Collectors, unless they are told otherwise.
MESSAGE_LIMIT = 4 * 1024 * 1024
_DECODE: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "deflate": zlib.decompress}


class Span(NamedTuple):
    """A span as it arrived, in plain data; ids in hexadecimal digits, events as (name, time_ns, attributes)."""

    name: str
    trace_id: str
    span_id: str
    parent_span_id: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    events: list[tuple[str, int, dict[str, Any]]]
    links: list[tuple[str, str]]
    status: int
    description: str
    resource: dict[str, Any]
    scope: str
    schema_url: str


class Request(NamedTuple):
    """A request as it arrived: its size and bytes before compression, and its headers or metadata."""

    protocol: str
    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """What a receiver got, and what it is told to do."""

    def __init__(self) -> None:
        self.scheme = "http"
        self.grpc_port = 0
        self.http_port = 0
        self.requests: list[Request] = []
        self.spans: list[Span] = []
        self._lock = threading.Lock()
        self._partial: list[tuple[int, str]] = []
        self._codes: list[tuple[grpc.StatusCode, str] | None] = []
        self._answers: list[tuple[int, bytes, dict[str, str]] | None] = []
        self._delay = 0.0
        self._ended = threading.Event()

    def endpoint(self, protocol: str) -> str:
        """Return the endpoint for a protocol."""
        return f"{self.scheme}://127.0.0.1:{self.grpc_port if protocol == 'grpc' else self.http_port}"

    def reject(self, spans: int, message: str = "", *, requests: int = 1) -> None:
        """Answer the next requests with a partial success that rejects so many spans."""
        self._partial += [(spans, message)] * requests

    def fail(self, code: grpc.StatusCode, details: str = "", *, requests: int = 1) -> None:
        """Answer the next requests over gRPC with ``code`` and take nothing of them."""
        self._codes += [(code, details)] * requests

    def answer(
        self, status: int, body: bytes = b"", headers: dict[str, str] | None = None, *, requests: int = 1
    ) -> None:
        """Answer the next requests over HTTP with just this and take nothing of them."""
        self._answers += [(status, body, headers or {})] * requests

    def delay(self, seconds: float) -> None:
        """Take so long for each request from now on, at most until the receiver ends."""
        self._delay = seconds

    def break_at(self, number: int) -> None:
        """Fail the request of that number, counted from 1, so that nobody knows whether it was taken."""
        ready = [None] * (number - 1)
        self._codes += [*ready, (grpc.StatusCode.UNAVAILABLE, "Socket closed")]
        self._answers += [*ready, (500, b"", {})]

    def reset(self) -> None:
        """Forget what arrived and all that was planned."""
        for planned in (self.requests, self.spans, self._partial, self._codes, self._answers):
            planned.clear()
        self._delay = 0.0

    def by_name(self) -> dict[str, Span]:
        """Return the spans by name; for tests where each has its own."""
        assert len({span.name for span in self.spans}) == len(self.spans)
        return {span.name: span for span in self.spans}

    def _next(self, planned: list[Any]) -> Any:
        with self._lock:
            return planned.pop(0) if planned else None

    def _wait(self) -> None:
        if self._delay:
            self._ended.wait(self._delay)

    def _take(self, request: Request) -> ExportTraceServiceResponse:
        message = ExportTraceServiceRequest.FromString(request.body)
        answer = ExportTraceServiceResponse()
        rejected, said = self._next(self._partial) or (0, "")
        spans = list(plain_spans(message))
        with self._lock:
            self.spans += spans[rejected:]
        if rejected or said:
            answer.partial_success.rejected_spans = rejected
            answer.partial_success.error_message = said
        return answer


def plain_spans(message: Any) -> Iterator[Span]:
    """Return the spans of an ``ExportTraceServiceRequest`` in plain data."""
    for resource in message.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Span(
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.kind,
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    _plain(span.attributes),
                    [(event.name, event.time_unix_nano, _plain(event.attributes)) for event in span.events],
                    [(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
                    span.status.code,
                    span.status.message,
                    _plain(resource.resource.attributes),
                    scope.scope.name,
                    resource.schema_url,
                )


def _plain(attributes: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return getattr(value, kind) if kind else None


def _export(receiver: Receiver) -> Callable[[bytes, Any], ExportTraceServiceResponse]:
    def export(request: bytes, context: Any) -> ExportTraceServiceResponse:
        headers = {name: value for name, value in context.invocation_metadata() if isinstance(value, str)}
        arrived = Request("grpc", "", headers, request)
        with receiver._lock:
            receiver.requests.append(arrived)
        receiver._wait()
        failure = receiver._next(receiver._codes)
        if failure:
            context.abort(*failure)
        return receiver._take(arrived)

    return export


@contextlib.contextmanager
def _grpc_server(receiver: Receiver, port: int, *, tls: bool) -> Iterator[None]:
    options = [("grpc.max_receive_message_length", MESSAGE_LIMIT), ("grpc.so_reuseport", 0)]
    pool = futures.ThreadPoolExecutor(max_workers=4)
    server = grpc.server(pool, options=options)
    handler = grpc.unary_unary_rpc_method_handler(
        _export(receiver),
        request_deserializer=None,
        response_serializer=ExportTraceServiceResponse.SerializeToString,
    )
    service = "opentelemetry.proto.collector.trace.v1.TraceService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": handler}),))
    address = f"127.0.0.1:{port}"
    if tls:
        pair = KEY.read_bytes(), CERTIFICATE.read_bytes()
        receiver.grpc_port = server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
    else:
        receiver.grpc_port = server.add_insecure_port(address)
    server.start()
    try:
        yield
    finally:
        server.stop(0).wait()
        pool.shutdown()


class _HttpServer(LoopbackServer):
    allow_reuse_address = True  # a receiver that was away comes back to its port


@contextlib.contextmanager
def _http_server(receiver: Receiver, port: int, *, tls: bool) -> Iterator[None]:
    class Handler(WholeBodyHandler):
        def respond(self, body: bytes) -> None:
            encoding = self.headers.get("Content-Encoding", "")
            plain = _DECODE[encoding](body) if encoding else body
            headers = {name.lower(): value for name, value in self.headers.items()}
            arrived = Request("http", self.path, headers, plain)
            with receiver._lock:
                receiver.requests.append(arrived)
            receiver._wait()
            planned: tuple[int, bytes, dict[str, str]] | None = receiver._next(receiver._answers)
            if planned:
                self.send(*planned)
            elif self.path != "/v1/traces":
                self.send(404, b"404 page not found", {"Content-Type": "text/plain"})
            else:
                answer = receiver._take(arrived).SerializeToString()
                self.send(200, answer, {"Content-Type": "application/x-protobuf"})

    server = _HttpServer(port, Handler)
    receiver.http_port = server.port
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE, KEY)
        # the handshake belongs to the connection's own thread, or one that fails would end the server
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with server.running():
        yield


@contextlib.contextmanager
def receiving(*, grpc_port: int = 0, http_port: int = 0, tls: bool = False) -> Iterator[Receiver]:
    """Run a receiver for the length of a block, on free ports unless told which; ``tls`` with `CERTIFICATE`."""
    receiver = Receiver()
    receiver.scheme = "https" if tls else "http"
    with _grpc_server(receiver, grpc_port, tls=tls), _http_server(receiver, http_port, tls=tls):
        try:
            yield receiver
        finally:
            receiver._ended.set()
