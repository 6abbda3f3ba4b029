"""The official exporters, one attempt at a time, with an eye on what the receiver really answered.

Left alone they repeat a request for up to a minute, follow redirects (older ones), and report success for redirects,
pages with status 200 and partial successes. So the layer below each of them, a session of ``requests`` and a gRPC
stub, is watched: whatever is no plain success leaves the exporter as ``Answered``.
"""

from __future__ import annotations

import contextlib
import gzip
import logging
import os
import threading
import zlib
from typing import TYPE_CHECKING, Any, Protocol

import grpc  # type: ignore[import-untyped]
import requests
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression as HttpCompression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from pytest_test_observer._destinations import Answer, Reply
from pytest_test_observer._destinations._otlp_answers import (
    NO_ANSWER,
    Answered,
    not_understood,
    partial,
    reply_to_break,
    reply_to_rpc,
    reply_to_status,
)
from pytest_test_observer._destinations.otlp_environment import HTTP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter

    from pytest_test_observer._destinations.settings import OtlpSettings

__all__ = ["CONNECT_TIMEOUT_S", "Sender", "TooLarge", "make_sender"]

# Their messages repeat what replies say; without a handler they would go to the terminal.
logging.getLogger("opentelemetry").addHandler(logging.NullHandler())

# Less than a run waits at its end, so that there is time for the other way where there is one.
CONNECT_TIMEOUT_S = 1.5
_GRACE_S = 0.5
_ANSWER_LIMIT = 65_536
_EXPORTER_VARIABLES = "OTEL_EXPORTER_OTLP_"
_PROTOBUF, _JSON = "application/x-protobuf", "application/json"

_TAKEN = Reply(Answer.TAKEN)
_NEVER_ASKED = Reply(Answer.REFUSED, "the exporter does not send these spans")
_COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, compresslevel=6, mtime=0),
    "deflate": zlib.compress,
}
_GRPC_COMPRESSION = {
    "none": grpc.Compression.NoCompression,
    "gzip": grpc.Compression.Gzip,
    "deflate": grpc.Compression.Deflate,
}


class TooLarge(Exception):  # noqa: N818 (a finding, not a failure)
    """Encoded, a request is above its limit; nothing was sent."""


class Sender(Protocol):
    """Sends spans in one request."""

    def send(self, spans: Sequence[ReadableSpan], limit: int | None) -> Reply:
        """Send ``spans``; raises TooLarge, and sends nothing, where that takes more than ``limit`` bytes."""

    def close(self) -> None:
        """Disconnect."""


def make_sender(settings: OtlpSettings) -> Sender:
    """Return the sender for a protocol; raises OSError for a certificate that cannot be read."""
    watch = _Watch(settings)
    with _without_variables():
        exporter = _http(settings, watch) if settings.protocol == HTTP else _grpc(settings, watch)
    return _ExporterSender(exporter, watch)


class _Watch:
    """What is known of the request that is being made."""

    def __init__(self, settings: OtlpSettings) -> None:
        self.settings = settings
        self.spans = 0
        self.limit: int | None = None
        self.too_large = False
        self.is_encoded = False
        self.reply = _NEVER_ASKED

    def begin(self, spans: int, limit: int | None) -> None:
        """Forget the last request; the next one has so many spans, and may have ``limit`` bytes."""
        self.spans, self.limit, self.reply = spans, limit, _NEVER_ASKED
        self.too_large = self.is_encoded = False

    def measure(self, size: int) -> None:
        """Look at the size of an encoded request, before it is sent."""
        self.is_encoded = True
        self.too_large = self.limit is not None and size > self.limit
        if self.too_large:
            raise TooLarge

    def judge(self, answer: ExportTraceServiceResponse) -> None:
        """Look at the answer to a request that succeeded."""
        said = answer.partial_success
        rejected = said.rejected_spans
        self.reply = partial(rejected, self.spans, said.error_message) if rejected else _TAKEN

    def answered(self, reply: Reply) -> Answered:
        """Return what leaves the exporter with ``reply``."""
        self.reply = reply
        return Answered(reply)


class _ExporterSender:
    """Sends through an exporter whose requests ``watch`` sees.

    In a thread that is given up when its time is over: an answer that drips, a header a second, is never a time-out
    of the socket. Whoever gets "no answer in time" makes another sender.
    """

    def __init__(self, exporter: SpanExporter, watch: _Watch) -> None:
        self._exporter = exporter
        self._watch = watch
        self._seconds = watch.settings.timeout_s + CONNECT_TIMEOUT_S + _GRACE_S

    def send(self, spans: Sequence[ReadableSpan], limit: int | None) -> Reply:
        """Send ``spans``; see ``Sender``."""
        watch = self._watch
        watch.begin(len(spans), limit)
        thread = threading.Thread(target=self._export, args=(spans,), daemon=True)
        thread.start()
        thread.join(self._seconds)
        if thread.is_alive():
            return NO_ANSWER
        if watch.too_large:  # some exporters let the exception through, others make a failure of it
            raise TooLarge
        return watch.reply

    def close(self) -> None:
        """Disconnect."""
        self._exporter.shutdown()

    def _export(self, spans: Sequence[ReadableSpan]) -> None:
        try:
            self._exporter.export(spans)
        except (Answered, TooLarge):
            pass
        except Exception as error:  # noqa: BLE001 (whatever a library raises is an answer)
            if self._watch.is_encoded:  # else the spans are why: a time or an id that OTLP has no room for
                self._watch.reply = reply_to_break(error)


class _Session(requests.Session):
    """A session that makes one attempt, follows nothing, compresses, and judges the answer."""

    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self._watch = watch
        # Else a .netrc file of the user would win over the headers that are configured.
        self.auth = lambda request: request

    def request(self, method: str, url: str, *_: Any, **given: Any) -> requests.Response:  # type: ignore[override]  # noqa: ANN401
        """Send one request; raises Answered for everything but a success."""
        try:
            return self._request(method, url, given.get("data") or b"", given.get("headers"))
        except (Answered, TooLarge):
            raise
        except Exception as error:  # noqa: BLE001 (whatever a library raises is an answer)
            raise self._watch.answered(reply_to_break(error)) from None

    def _request(self, method: str, url: str, data: bytes, headers: dict[str, str] | None) -> requests.Response:
        watch, settings = self._watch, self._watch.settings
        watch.measure(len(data))
        compress = _COMPRESS.get(settings.compression)
        if compress:
            data = compress(data)
            headers = {**(headers or {}), "Content-Encoding": settings.compression}
        response = super().request(
            method,
            url,
            data=data,
            headers=headers,
            timeout=(min(CONNECT_TIMEOUT_S, settings.timeout_s), settings.timeout_s),
            allow_redirects=False,
            stream=True,
            verify=settings.certificate or True,
            cert=_client_certificate(settings),
        )
        with contextlib.closing(response):
            body = _read(response)
        self._judge(response, body)
        return response

    def _judge(self, response: requests.Response, body: bytes) -> None:
        text = body[:1000].decode(errors="replace")
        if not 200 <= response.status_code < 300:
            raise self._watch.answered(reply_to_status(response.status_code, _readable(response, text)))
        answer = _parse(response.headers.get("Content-Type", ""), body)
        if answer is None:
            raise self._watch.answered(not_understood(response.status_code, text))
        self._watch.judge(answer)


class _Stub:
    """The stub of a gRPC exporter, watched."""

    def __init__(self, stub: Any, watch: _Watch) -> None:  # noqa: ANN401 (generated code)
        self._stub = stub
        self._watch = watch

    def Export(self, request: Any, metadata: Any = None, timeout: float | None = None) -> object:  # noqa: ANN401, N802
        """Make the call; raises Answered for everything but a success."""
        self._watch.measure(request.ByteSize())
        try:
            answer = self._stub.Export(request=request, metadata=metadata, timeout=timeout)
        except grpc.RpcError as error:
            raise self._watch.answered(_reply_to(error)) from None
        self._watch.judge(answer)
        return answer


def _reply_to(error: grpc.RpcError) -> Reply:
    described = getattr(error, "debug_error_string", str)()
    return reply_to_rpc(error.code(), error.details() or "", str(described))


def _http(settings: OtlpSettings, watch: _Watch) -> SpanExporter:
    return HttpExporter(
        endpoint=settings.endpoint,
        headers=dict(settings.headers),
        timeout=settings.timeout_s,
        compression=HttpCompression.NoCompression,  # the session compresses what it has measured
        session=_Session(watch),
    )


def _grpc(settings: OtlpSettings, watch: _Watch) -> SpanExporter:
    exporter: Any = GrpcExporter(
        endpoint=settings.endpoint,
        insecure=settings.insecure,
        credentials=None if settings.insecure else _credentials(settings),
        headers=tuple(settings.headers.items()),
        timeout=settings.timeout_s,
        compression=_GRPC_COMPRESSION[settings.compression],
    )
    exporter._client = _Stub(exporter._client, watch)  # noqa: SLF001 (the same name since 1.0; no other seam is)
    return exporter  # type: ignore[no-any-return]


def _credentials(settings: OtlpSettings) -> grpc.ChannelCredentials | None:
    if not (settings.certificate or settings.client_certificate):
        return None
    files = (settings.certificate, settings.client_key, settings.client_certificate)
    return grpc.ssl_channel_credentials(*(_content(path) if path else None for path in files))


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _client_certificate(settings: OtlpSettings) -> str | tuple[str, str] | None:
    if settings.client_certificate and settings.client_key:
        return settings.client_certificate, settings.client_key
    return settings.client_certificate or None


def _read(response: requests.Response) -> bytes:
    body = b""
    for chunk in response.iter_content(4096):
        body += chunk
        if len(body) > _ANSWER_LIMIT:  # no receiver has so much to say
            break
    return body


def _parse(content_type: str, body: bytes) -> ExportTraceServiceResponse | None:
    """Return what a receiver says of its success; None for what is no answer of a receiver."""
    kind = content_type.partition(";")[0].strip().lower()
    answer = ExportTraceServiceResponse()
    try:
        if kind == _PROTOBUF:
            answer.ParseFromString(body)
        elif kind == _JSON:
            from google.protobuf.json_format import Parse  # type: ignore[import-untyped]  # noqa: PLC0415 (rare)

            Parse(body, answer, ignore_unknown_fields=True)
        else:
            return None if body else answer
    except Exception:  # noqa: BLE001 (each codec has errors of its own)
        return None
    return answer


def _readable(response: requests.Response, text: str) -> str:
    """Return the words of an error: the body, unless it is a message of protobuf."""
    if response.headers.get("Content-Type", "").startswith(_PROTOBUF):
        return "".join(character for character in text if character.isprintable())
    return text


@contextlib.contextmanager
def _without_variables() -> Iterator[None]:
    """Hide the exporters' variables from them: all is resolved, and they would log a malformed one."""
    hidden = {name: value for name, value in os.environ.items() if name.startswith(_EXPORTER_VARIABLES)}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)
