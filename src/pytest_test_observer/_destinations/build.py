"""From configuration to a destination. Apart from ``config``, because it imports client libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_test_observer._destinations.clickhouse import ClickHouseDestination

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_test_observer._destinations import Destination
    from pytest_test_observer._destinations.config import Destinations


def build(destinations: Destinations, *, on_wait: Callable[[str], None] | None = None) -> Destination:
    """Make the destination of a run's results; ``on_wait`` is told when an embedded engine is busy."""
    assert destinations.clickhouse is not None
    return ClickHouseDestination(destinations.clickhouse, on_wait=on_wait)
