"""What tests of the ClickHouse destination are made with: rows, batches, and a database that one test uses."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import msgspec

from pytest_test_observer._columns import RESULTS
from pytest_test_observer._destinations import Batch
from pytest_test_observer._destinations.clickhouse import ClickHouseDestination
from pytest_test_observer._destinations.settings import ClickHouseSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.servers.client import ClickHouse

    Query = Callable[[str], list[tuple[Any, ...]]]

# The tables of 0.2.0, as its source has them.
OLD_RESULTS = [f"{column.name} {column.type}" for column in RESULTS.columns[:19]]
OLD_EVENTS = [
    "run_id String",
    "nodeid String",
    "timestamp DateTime64(3)",
    "seq UInt32",
    "event_name LowCardinality(String)",
    "payload Map(String, String)",
]


def row(number: int = 0, **values: object) -> dict[str, object]:
    return {
        "run_id": "r1",
        "nodeid": f"tests/test_a.py::test_it['{number}\\n]",
        "timestamp": f"2025-01-31T23:59:59.{number % 1000:03d}+00:00",
        "status": "passed",
        "span_id": f"{number:016x}",
        "duration": 0.1,
        "allure_links": [["issue", "http://x", "X-1"]],
        "attributes": {"k": "v"},
        **values,
    }


def batch(rows: Sequence[Mapping[str, object]], token: str = "token", table: str = "results") -> Batch:
    return Batch(table, b"".join(msgspec.json.encode(each) + b"\n" for each in rows), len(rows), token)


class Place:
    """A database that only one test uses, on the server of the tests."""

    def __init__(self, server: ClickHouse, database: str, query: Query) -> None:
        self.server = server
        self.database = database
        self.query = query
        self._opened = contextlib.ExitStack()

    def settings(self, **changes: Any) -> ClickHouseSettings:
        server = self.server
        settings = ClickHouseSettings(
            host=server.host,
            port=server.port,
            user=server.user,
            password=server.password,
            database=self.database,
            read_timeout_s=5,
        )
        return msgspec.structs.replace(settings, **changes)

    def destination(self, **changes: Any) -> ClickHouseDestination:
        destination = ClickHouseDestination(self.settings(**changes))
        self._opened.callback(destination.close)
        return destination

    def make(self, columns: list[str], name: str = "pytest_results", engine: str = "MergeTree") -> None:
        """Make a table with its key, as 0.2.0 did."""
        key = " ORDER BY (nodeid, timestamp) PARTITION BY toYYYYMM(timestamp)" if "MergeTree" in engine else ""
        self.run(f"CREATE TABLE {name} ({', '.join(columns)}) ENGINE = {engine}{key}")

    def run(self, sql: str) -> None:
        self.server.execute(sql, database=self.database)

    def statements(self) -> list[str]:
        """What the server was asked to do, by its first word."""
        return [request["statement"].split()[0] for request in self.server.requests()]

    def count(self, table: str = "pytest_results") -> int:
        return int(self.query(f"SELECT count() FROM {table}")[0][0])

    def close(self) -> None:
        self._opened.close()
