"""OpenTelemetry's exporter over HTTP, on a session of ``requests`` that is watched: see ``_otlp_senders``."""

from __future__ import annotations

import contextlib
import gzip
import zlib
from typing import TYPE_CHECKING, Any

import requests
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from pytest_test_observer._destinations._otlp_answers import (
    Answered,
    not_understood,
    reply_to_break,
    reply_to_status,
)
from pytest_test_observer._destinations._otlp_watch import CONNECT_TIMEOUT_S, TooLarge

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.trace.export import SpanExporter

    from pytest_test_observer._destinations._otlp_watch import Watch
    from pytest_test_observer._destinations.settings import OtlpSettings

__all__ = ["http_exporter"]

_ANSWER_LIMIT = 65_536
_PROTOBUF, _JSON = "application/x-protobuf", "application/json"
_COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, compresslevel=6, mtime=0),
    "deflate": zlib.compress,
}


def http_exporter(settings: OtlpSettings, watch: Watch) -> SpanExporter:
    """Return the exporter over HTTP, watched."""
    return OTLPSpanExporter(
        endpoint=settings.endpoint,
        headers=dict(settings.headers),
        timeout=settings.timeout_s,
        compression=Compression.NoCompression,  # the session compresses what it has measured
        session=_Session(watch),
    )


class _Session(requests.Session):
    """A session that makes one attempt, follows nothing, compresses, and judges the answer."""

    def __init__(self, watch: Watch) -> None:
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
