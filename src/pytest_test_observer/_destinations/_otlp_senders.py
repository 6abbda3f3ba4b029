"""The official exporters, one attempt at a time, with an eye on what the receiver really answered.

Left alone they repeat a request for up to a minute, follow redirects (older ones), and report success for redirects,
pages with status 200 and partial successes. So the layer below each of them, a session of ``requests`` and a gRPC
stub, is watched: whatever is no plain success leaves the exporter as ``Answered``.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from typing import TYPE_CHECKING, Protocol

from pytest_test_observer._destinations._otlp_answers import NO_ANSWER, Answered, reply_to_break
from pytest_test_observer._destinations._otlp_watch import CONNECT_TIMEOUT_S, TooLarge, Watch
from pytest_test_observer._destinations.otlp_environment import HTTP

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter

    from pytest_test_observer._destinations import Reply
    from pytest_test_observer._destinations.settings import OtlpSettings

__all__ = ["Sender", "make_sender"]

# Their messages repeat what replies say; without a handler they would go to the terminal.
logging.getLogger("opentelemetry").addHandler(logging.NullHandler())

_GRACE_S = 0.5
_EXPORTER_VARIABLES = "OTEL_EXPORTER_OTLP_"


class Sender(Protocol):
    """Sends spans in one request."""

    def send(self, spans: Sequence[ReadableSpan], limit: int | None) -> Reply:
        """Send ``spans``; raises TooLarge, and sends nothing, where that takes more than ``limit`` bytes."""

    def close(self) -> None:
        """Disconnect."""


def make_sender(settings: OtlpSettings) -> Sender:
    """Return the sender for a protocol; raises OSError for a certificate that cannot be read."""
    watch = Watch(settings)
    with _without_variables():
        return _ExporterSender(_exporter(settings, watch), watch)


def _exporter(settings: OtlpSettings, watch: Watch) -> SpanExporter:
    if settings.protocol == HTTP:
        from pytest_test_observer._destinations._otlp_http import http_exporter  # noqa: PLC0415 (heavy)

        return http_exporter(settings, watch)
    from pytest_test_observer._destinations._otlp_grpc import grpc_exporter  # noqa: PLC0415 (heavy)

    return grpc_exporter(settings, watch)


class _ExporterSender:
    """Sends through an exporter whose requests ``watch`` sees.

    In a thread that is given up when its time is over: an answer that drips, a header a second, is never a time-out
    of the socket. Whoever gets "no answer in time" makes another sender.
    """

    def __init__(self, exporter: SpanExporter, watch: Watch) -> None:
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
