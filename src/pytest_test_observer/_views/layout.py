"""The DDL of the whole schema, for one server or for a cluster.

On a cluster every table is two: a replicated one on each shard, named ``…_local``, and above it a
``Distributed`` one with the documented name, for those who write and read. Spans of a test go to the shard of
its node id, as its row does in direct mode, so that a view only writes to its own shard.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from pytest_test_observer._columns import DEDUPLICATION_WINDOW, PARTITION_BY, TABLES, Table
from pytest_test_observer._destinations.schema import Place, quoted
from pytest_test_observer._views.selects import select
from pytest_test_observer._views.traces import (
    LOOKUP,
    LOOKUP_COLUMNS,
    LOOKUP_SELECT,
    TRACES,
    TRACES_COLUMNS,
)

__all__ = [
    "Layout",
    "Stored",
    "View",
    "change_ttl",
    "change_view",
    "change_window",
    "create_tables",
    "create_view",
    "parse_ttl",
    "statements",
    "stored_tables",
    "views",
]

_HOURS = {"HOUR": 1, "DAY": 24, "WEEK": 7 * 24, "MONTH": 30 * 24, "QUARTER": 91 * 24, "YEAR": 365 * 24}
_TTL = re.compile(rf"([1-9][0-9]{{0,6}})\s*({'|'.join(_HOURS)})S?", re.IGNORECASE)
# ClickHouse counts the end of a row's life in 32 bits of seconds, to 2106: what would end later ends at once.
_LONGEST_YEARS = 50

_ONE_SERVER = "ENGINE = MergeTree"
_REPLICATED = "ENGINE = ReplicatedMergeTree"
_WINDOWS = {
    _ONE_SERVER: f"non_replicated_deduplication_window = {DEDUPLICATION_WINDOW}",
    # a week: newer servers forget after an hour unless told
    _REPLICATED: f"replicated_deduplication_window = {DEDUPLICATION_WINDOW}, "
    "replicated_deduplication_window_seconds = 604800",
}
# Spans that are no test's spread by trace.
_SHARD_OF_SPAN = (
    "cityHash64(if(mapContains(SpanAttributes, 'pytest.nodeid'), SpanAttributes['pytest.nodeid'], TraceId))"
)


class Layout(NamedTuple):
    """Where the tables are and how long rows live: ``ttl`` is an interval as ``90 DAY``, empty for ever."""

    place: Place
    ttl: str = ""

    @property
    def replicated(self) -> bool:
        """Whether the tables are on a cluster."""
        return bool(self.place.cluster)

    def name(self, table: str) -> str:
        """Quoted name, with its database, of what clients write to and read."""
        return f"{quoted(self.place.database)}.{quoted(table)}"

    def stored(self, table: str) -> str:
        """Quoted name of the table that has the rows, which views write to and are fed by."""
        return self.name(self.stored_name(table))

    def stored_name(self, table: str) -> str:
        """Name of that table, unquoted and without its database."""
        return f"{table}_local" if self.replicated else table


class Stored(NamedTuple):
    """A table with rows: the lines of its definition, the column whose time its rows' lives count from."""

    name: str
    lines: tuple[str, ...]
    order_by: str
    partition_by: str
    time: str
    shard_by: str
    settings: str = ""


class View(NamedTuple):
    """A materialized view: its name and that of its target, unquoted, and its query."""

    name: str
    target: str
    query: str


def parse_ttl(given: str) -> str:
    """Return an interval in the form of SQL; raises ``ValueError`` with what is accepted."""
    match = _TTL.fullmatch(given.strip())
    if not match or int(match[1]) * _HOURS[match[2].upper()] > _LONGEST_YEARS * _HOURS["YEAR"]:
        raise ValueError(
            "accepted: a number and HOUR, DAY, WEEK, MONTH, QUARTER or YEAR, as in '90 DAY', "
            f"of at most {_LONGEST_YEARS} years; without, rows are kept for ever"
        )
    return f"{match[1]} {match[2].upper()}"


def stored_tables(layout: Layout) -> list[Stored]:
    """Return the tables that have rows: the three documented ones, then those of the exporter."""
    documented = [_documented(table, layout.place) for table in TABLES.values()]
    order_by = "(ServiceName, SpanName, toDateTime(Timestamp))"
    drop = "ttl_only_drop_parts = 1"
    return [
        *documented,
        Stored(TRACES, TRACES_COLUMNS, order_by, "toDate(Timestamp)", "Timestamp", _SHARD_OF_SPAN, drop),
        Stored(LOOKUP, LOOKUP_COLUMNS, "(TraceId, Start)", "toDate(Start)", "Start", "cityHash64(TraceId)", drop),
    ]


def views(layout: Layout) -> list[View]:
    """Return the views that feed the other tables from the spans."""
    traces = layout.stored(TRACES)
    rows = [
        View(f"{table.name(layout.place.table)}_mv", table.name(layout.place.table), select(table, traces))
        for table in TABLES.values()
    ]
    return [*rows, View(f"{LOOKUP}_mv", LOOKUP, LOOKUP_SELECT.format(traces=traces))]


def statements(layout: Layout) -> list[str]:
    """Return the DDL of everything, in order; each statement does nothing where its object exists."""
    return [*create_tables(layout), *(create_view(view, layout) for view in views(layout))]


def create_tables(layout: Layout) -> list[str]:
    """Return the statements that make the tables, on a cluster those with rows first."""
    tables = stored_tables(layout)
    distributed = [_create_distributed(table, layout) for table in tables] if layout.replicated else []
    return [*(_create_table(table, layout) for table in tables), *distributed]


def create_view(view: View, layout: Layout) -> str:
    """Return the statement that makes a view."""
    return (
        f"CREATE MATERIALIZED VIEW IF NOT EXISTS {layout.name(view.name)}{layout.place.on_cluster}\n"
        f"TO {layout.stored(view.target)}\nAS {view.query}"
    )


def change_view(view: View, layout: Layout) -> str:
    """Return the statement that gives an existing view the query of this version."""
    return f"ALTER TABLE {layout.name(view.name)}{layout.place.on_cluster}\nMODIFY QUERY {view.query}"


def change_ttl(table: Stored, layout: Layout) -> str:
    """Return the statement that gives an existing table the time to live of ``layout``."""
    name = layout.stored(table.name)
    return f"ALTER TABLE {name}{layout.place.on_cluster} MODIFY {_ttl(table, layout)}"


def change_window(table: str, layout: Layout) -> str:
    """Return the statement that makes an existing table remember inserts."""
    return f"ALTER TABLE {layout.stored(table)}{layout.place.on_cluster} MODIFY SETTING {_WINDOWS[_ONE_SERVER]}"


def _documented(table: Table, place: Place) -> Stored:
    lines = tuple(f"{quoted(column.name)} {column.type}" for column in table.columns)
    shard_by = f"cityHash64({'run_id' if table.key == 'runs' else 'nodeid'})"
    return Stored(table.name(place.table), lines, table.order_by, PARTITION_BY, "timestamp", shard_by)


def _ttl(table: Stored, layout: Layout) -> str:
    return f"TTL toDateTime({table.time}) + INTERVAL {layout.ttl}"


def _create_table(table: Stored, layout: Layout) -> str:
    engine = _REPLICATED if layout.replicated else _ONE_SERVER
    lines = ",\n".join(f"    {line}" for line in table.lines)
    settings = ", ".join(filter(None, (_WINDOWS[engine], table.settings)))
    clauses = [
        f"CREATE TABLE IF NOT EXISTS {layout.stored(table.name)}{layout.place.on_cluster}\n(\n{lines}\n)",
        engine,
        f"ORDER BY {table.order_by}",
        f"PARTITION BY {table.partition_by}",
        *([_ttl(table, layout)] if layout.ttl else []),
        f"SETTINGS {settings}",
    ]
    return "\n".join(clauses)


def _create_distributed(table: Stored, layout: Layout) -> str:
    place = layout.place
    where = ", ".join(quoted(name) for name in (place.cluster, place.database, f"{table.name}_local"))
    return (
        f"CREATE TABLE IF NOT EXISTS {layout.name(table.name)}{place.on_cluster}\n"
        f"AS {layout.stored(table.name)}\nENGINE = Distributed({where}, {table.shard_by})"
    )
