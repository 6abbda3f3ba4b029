"""Fixtures for tests with the real Collector."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from tests.servers import collector

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.client import ClickHouse


@pytest.fixture(scope="session")
def program() -> Path:
    """The Collector's binary."""
    return collector.binary()


@pytest.fixture
def both_ways(clickhouse_server: ClickHouse) -> Iterator[tuple[str, str]]:
    """Two databases: one for rows that are sent directly, one for rows that views make."""
    names = f"test_direct_{uuid.uuid4().hex[:8]}", f"test_viewed_{uuid.uuid4().hex[:8]}"
    for name in names:
        clickhouse_server.execute(f"CREATE DATABASE {name}")
    yield names
    for name in names:
        clickhouse_server.execute(f"DROP DATABASE {name} SYNC")
