"""Fixtures for tests that need a ClickHouse server; a conftest imports them by name."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.killing import wait_until

from .client import ClickHouse, ServerAnswer, at_url, embedded_query, running_clickhouse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["clickhouse_server", "controllable_clickhouse", "database", "embedded_query", "query"]

URL_VARIABLE = "CLICKHOUSE_TEST_URL"
_DATABASE_NOT_EMPTY = 219


@pytest.fixture(scope="session")
def clickhouse_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    """A ClickHouse server for the whole run: the one at ``CLICKHOUSE_TEST_URL``, else one of our own."""
    url = os.environ.get(URL_VARIABLE)
    if url:
        yield at_url(url)
        return
    with running_clickhouse(tmp_path_factory.mktemp("clickhouse")) as server:
        yield server


@pytest.fixture
def database(clickhouse_server: ClickHouse) -> Iterator[str]:
    """Name of a database that only this test uses; log, delay and failures of the server begin anew."""
    name = f"test_{uuid.uuid4().hex[:16]}"
    _reset(clickhouse_server)
    clickhouse_server.execute(f"CREATE DATABASE {name}")
    _reset(clickhouse_server)
    yield name
    _reset(clickhouse_server)
    wait_until(lambda: _is_dropped(clickhouse_server, name), "the database is dropped")


def _is_dropped(server: ClickHouse, name: str) -> bool:
    """Drop a database; the server may still be making a table there for a helper that was ended."""
    try:
        server.execute(f"DROP DATABASE IF EXISTS {name} SYNC")
    except ServerAnswer as answer:
        if answer.code != _DATABASE_NOT_EMPTY:
            raise
        return False
    return True


def _reset(server: ClickHouse) -> None:
    if server.controllable:
        server.reset()


@pytest.fixture
def query(clickhouse_server: ClickHouse, database: str) -> Callable[[str], list[tuple[Any, ...]]]:
    """Ask the test's database: ``query("SELECT count() FROM t") == [(3,)]``."""
    return lambda sql: clickhouse_server.query(sql, database=database)


@pytest.fixture
def controllable_clickhouse(clickhouse_server: ClickHouse, database: str) -> ClickHouse:
    """The server where a test can ask for rights, delays and failures; skips where it is not ours."""
    if not clickhouse_server.controllable:
        pytest.skip(f"the server at {URL_VARIABLE} has no controls")
    return clickhouse_server
