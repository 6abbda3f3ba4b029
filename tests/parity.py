"""Whether two databases have the same rows in the three documented tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_test_observer._columns import TABLES
from pytest_test_observer._destinations import Answer, Batch
from pytest_test_observer._destinations.clickhouse import ClickHouseDestination, ClickHouseSettings
from pytest_test_observer._destinations.schema import Place
from pytest_test_observer._rows import RowEncoder
from pytest_test_observer._views.layout import Layout, statements

if TYPE_CHECKING:
    from pytest_test_observer._record import Context, RunRecord, TestRecord
    from tests.servers.client import ClickHouse

TABLE = "pytest_results"
NAMES = [table.name(TABLE) for table in TABLES.values()]


def make_views(server: ClickHouse, database: str) -> None:
    """Make the whole schema in ``database``."""
    for statement in statements(Layout(Place(database, TABLE))):
        server.execute(statement)


def send_directly(server: ClickHouse, database: str, context: Context, tests: list[TestRecord], run: RunRecord) -> None:
    """Store a run as direct mode does."""
    encoder = RowEncoder(context)
    lines = {
        "results": [encoder.result(test) for test in tests],
        "events": [encoder.events(test) for test in tests],
        "runs": [encoder.run(run)],
    }
    settings = ClickHouseSettings(
        host=server.host, port=server.port, user=server.user, password=server.password, database=database
    )
    destination = ClickHouseDestination(settings)
    for key, found in lines.items():
        data = b"".join(found)
        reply = destination.send(Batch(key, data, data.count(b"\n"), f"{key} token"))
        assert reply.answer is Answer.TAKEN, reply
    destination.close()


def differences(server: ClickHouse, one: str, other: str) -> dict[str, list[str]]:
    """Return, by table, in what rows of two databases differ; empty when they have the same rows.

    Rows that only one has, or has more often, are named by the columns for which that is so too.
    """
    found = {}
    for table in TABLES.values():
        name = table.name(TABLE)
        if _differ(server, name, "*", one, other):
            columns = [c for c in table.column_names if _differ(server, name, f"span_id, {c}", one, other)]
            found[name] = columns or ["how often rows are there"]
    return found


def _differ(server: ClickHouse, table: str, columns: str, one: str, other: str) -> bool:
    both = "SELECT {columns} FROM {left}.{table} EXCEPT ALL SELECT {columns} FROM {right}.{table}"
    sql = f"SELECT * FROM ({both}) LIMIT 1"  # without brackets it would limit the second query
    return any(
        server.query(sql.format(columns=columns, table=table, left=left, right=right))
        for left, right in ((one, other), (other, one))
    )


def counts(server: ClickHouse, database: str) -> dict[str, int]:
    """Return how many rows each table has, that of the spans too."""
    return {name: server.query(f"SELECT count() FROM {database}.{name}")[0][0] for name in (*NAMES, "otel_traces")}
