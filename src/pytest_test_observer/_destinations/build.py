"""From configuration to a destination. Apart from ``config``, because it imports client libraries."""

from __future__ import annotations

from pytest_test_observer._destinations import Destination
from pytest_test_observer._destinations.clickhouse import ClickHouseDestination
from pytest_test_observer._destinations.config import Destinations


def build(destinations: Destinations) -> Destination:
    """Make the destination that a run's results go to."""
    assert destinations.clickhouse is not None
    return ClickHouseDestination(destinations.clickhouse)
