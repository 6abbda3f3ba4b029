"""From configuration to a destination. Apart from ``config``, because it imports client libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_test_observer._destinations import Destination
    from pytest_test_observer._destinations.config import Destinations
    from pytest_test_observer._destinations.settings import ClickHouseSettings

    Say = Callable[[str], None]


def build(destinations: Destinations, *, on_wait: Say | None = None) -> Destination:
    """Make the destination of a run's results; ``on_wait`` is told when an embedded engine is busy.

    Raises ValueError where there is none.
    """
    clickhouse = _clickhouse(destinations.clickhouse, on_wait) if destinations.clickhouse else None
    if destinations.otlp is None:
        if clickhouse is None:
            raise ValueError("neither ClickHouse nor OTLP is configured")
        return clickhouse
    from pytest_test_observer._destinations.otlp import OtlpDestination  # noqa: PLC0415 (a client of its own)

    otlp = OtlpDestination(destinations.otlp)
    if clickhouse is None:
        return otlp
    from pytest_test_observer._destinations.fallback import FallbackDestination  # noqa: PLC0415 (reads spans)

    return FallbackDestination(otlp, clickhouse)


def _clickhouse(settings: ClickHouseSettings, on_wait: Say | None) -> Destination:
    from pytest_test_observer._destinations.clickhouse import ClickHouseDestination  # noqa: PLC0415 (likewise)

    return ClickHouseDestination(settings, on_wait=on_wait)
