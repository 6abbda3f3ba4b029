"""Results of pytest runs as rows in ClickHouse and as OpenTelemetry spans."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_test_observer._version import __version__

if TYPE_CHECKING:
    from pytest_test_observer.exporter import ClickHouseSpanExporter

__all__ = ["ClickHouseSpanExporter", "__version__"]


def __getattr__(name: str) -> object:
    # pytest imports this package in every run: the SDK is for those who ask for it.
    if name == "ClickHouseSpanExporter":
        from pytest_test_observer.exporter import ClickHouseSpanExporter  # noqa: PLC0415

        return ClickHouseSpanExporter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
