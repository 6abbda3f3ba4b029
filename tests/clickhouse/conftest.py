"""Fixtures: a database that only one test uses, and the same on a server that tests control."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.clickhouse.kit import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.clickhouse.kit import Query
    from tests.servers.client import ClickHouse


@pytest.fixture
def place(clickhouse_server: ClickHouse, database: str, query: Query) -> Iterator[Place]:
    with contextlib.closing(Place(clickhouse_server, database, query)) as place:
        yield place


@pytest.fixture
def ours(place: Place, controllable_clickhouse: ClickHouse) -> Place:
    """The same, where the server is one that tests control."""
    return place
