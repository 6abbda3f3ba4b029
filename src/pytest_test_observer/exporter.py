"""An OpenTelemetry exporter that writes spans of this plugin's vocabulary to its ClickHouse tables."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from pytest_test_observer._columns import TABLES
from pytest_test_observer._destinations import Answer, Batch
from pytest_test_observer._destinations.clickhouse import ClickHouseDestination
from pytest_test_observer._destinations.settings import ClickHouseSettings
from pytest_test_observer._lines import digest
from pytest_test_observer._rows import encode
from pytest_test_observer._spans.reading import rows_of
from pytest_test_observer._target import parse_clickhouse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan

__all__ = ["ClickHouseSpanExporter"]

_logger = logging.getLogger(__name__)
# Events first: a row that is there has its events.
_ORDER = ("events", "results", "runs")


class ClickHouseSpanExporter(SpanExporter):
    """A ``SpanExporter`` for any pipeline of the OpenTelemetry SDK; no Collector and no views needed.

    Spans that this plugin names (a test's span has ``pytest.nodeid`` and ``pytest.phase``) become the same rows that
    ``--ch-url`` writes; other spans are passed over. Mind the SDK's limits: a span made by a ``Tracer`` keeps 128
    events and attributes unless ``OTEL_SPAN_EVENT_COUNT_LIMIT`` and ``OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT`` say more.

    ``url`` is a server or an embedded database as ``--ch-url`` accepts it; ``user`` and ``password`` win over those
    in it. ``table`` names the table of results, those of events and runs add to its name. ``auto_migrate`` creates
    what is missing, on ``cluster`` where that is given. Raises ``ValueError`` for a URL that is none.
    """

    def __init__(
        self,
        url: str,
        *,
        user: str = "",
        password: str = "",
        database: str = "default",
        table: str = "pytest_results",
        auto_migrate: bool = True,
        cluster: str = "",
    ) -> None:
        target = parse_clickhouse(url)
        self._lock = threading.Lock()
        self._is_shut_down = False
        settings = ClickHouseSettings.of(
            target,
            user=user or target.user or "default",
            password=password or target.password or "",
            database=database,
            table=table,
            auto_migrate=auto_migrate,
            cluster=cluster,
        )
        self._destination = ClickHouseDestination(settings)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write the rows of ``spans``; FAILURE, with a line in the log, when not all of them are stored.

        The same spans in the same order may be exported again: the server recognises what it has.
        """
        with self._lock:
            if self._is_shut_down:
                _logger.warning("%d spans came after the exporter was shut down; they are dropped", len(spans))
                return SpanExportResult.FAILURE
            try:
                return self._write(_batches(spans))
            finally:
                self._destination.release()

    def _write(self, batches: list[Batch]) -> SpanExportResult:
        for batch in batches:
            reply = self._destination.send(batch)
            if reply.answer is not Answer.TAKEN:
                _logger.error("%d rows were not written to %s: %s", batch.rows, self._destination.label, reply.message)
                return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Disconnect; spans that come later are dropped. Idempotent."""
        with self._lock:
            self._is_shut_down = True
            self._destination.close()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 (nothing is held back)
        """Return True: what was exported is stored."""
        return True


def _batches(spans: Sequence[ReadableSpan]) -> list[Batch]:
    lines: dict[str, list[bytes]] = {key: [] for key in TABLES}
    for span in spans:
        for table, row in rows_of(span):
            lines[table.key].append(encode(row) + b"\n")
    return [_batch(key, lines[key]) for key in _ORDER if lines[key]]


def _batch(table: str, lines: list[bytes]) -> Batch:
    data = b"".join(lines)
    return Batch(table, data, len(lines), f"spans-{digest(data)}")
