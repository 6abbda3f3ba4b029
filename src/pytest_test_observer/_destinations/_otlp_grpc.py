"""OpenTelemetry's exporter over gRPC, on a stub that is watched: see ``_otlp_senders``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

from pytest_test_observer._destinations._otlp_answers import reply_to_rpc

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

    from pytest_test_observer._destinations import Reply
    from pytest_test_observer._destinations._otlp_watch import Watch
    from pytest_test_observer._destinations.settings import OtlpSettings

__all__ = ["grpc_exporter"]

_COMPRESSION = {
    "none": grpc.Compression.NoCompression,
    "gzip": grpc.Compression.Gzip,
    "deflate": grpc.Compression.Deflate,
}


def grpc_exporter(settings: OtlpSettings, watch: Watch) -> SpanExporter:
    """Return the exporter over gRPC, watched; raises OSError for a certificate that cannot be read."""
    exporter: Any = OTLPSpanExporter(
        endpoint=settings.endpoint,
        insecure=settings.insecure,
        credentials=None if settings.insecure else _credentials(settings),
        headers=tuple(settings.headers.items()),
        timeout=settings.timeout_s,
        compression=_COMPRESSION[settings.compression],
    )
    exporter._client = _Stub(exporter._client, watch)  # noqa: SLF001 (the same name since 1.0; no other seam is)
    return exporter  # type: ignore[no-any-return]


class _Stub:
    """The stub of a gRPC exporter, watched."""

    def __init__(self, stub: Any, watch: Watch) -> None:  # noqa: ANN401 (generated code)
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


def _credentials(settings: OtlpSettings) -> grpc.ChannelCredentials | None:
    if not (settings.certificate or settings.client_certificate):
        return None
    files = (settings.certificate, settings.client_key, settings.client_certificate)
    return grpc.ssl_channel_credentials(*(_content(path) if path else None for path in files))


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
