"""The tables of ``_columns`` as SQL, and what an existing table needs to become one of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from pytest_test_observer._columns import DEDUPLICATION_WINDOW, PARTITION_BY, TABLES, Column, Table
from pytest_test_observer._destinations._types import compatible

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Found",
    "FoundColumn",
    "Place",
    "Plan",
    "add_columns",
    "create_table",
    "forgets_inserts",
    "one_line",
    "plan",
    "quoted",
]

_WINDOW = "non_replicated_deduplication_window"
_WINDOW_SET = re.compile(rf"\b{_WINDOW}\s*=\s*[1-9]")
# Rows cannot be inserted into these.
_READ_ONLY_ENGINES = frozenset({"View", "LiveView", "WindowView", "MaterializedView", "Dictionary", "Merge"})
# These hand rows on to another table: a column added only here is refused there.
_FORWARDING_ENGINES = frozenset({"Distributed", "Buffer"})
# Beginnings of engines that remember inserts by themselves.
_REMEMBERING = ("Replicated", "Shared")
# A column of this kind has no place for a value of ours.
_COMPUTED = frozenset({"MATERIALIZED", "ALIAS", "EPHEMERAL"})


class Place(NamedTuple):
    """Where the tables are: names as given, unquoted; ``cluster`` is empty on a single server."""

    database: str
    table: str
    cluster: str = ""

    def of(self, table: Table) -> str:
        """Quoted name of ``table`` with its database, ready for SQL."""
        return f"{quoted(self.database)}.{quoted(table.name(self.table))}"

    @property
    def on_cluster(self) -> str:
        """The clause that makes DDL run on every node, with a leading space; empty without a cluster."""
        return f" ON CLUSTER {quoted(self.cluster)}" if self.cluster else ""


class FoundColumn(NamedTuple):
    """A column as ``system.columns`` has it; ``kind`` is its ``default_kind``."""

    type: str
    kind: str = ""


class Found(NamedTuple):
    """An existing table: its engine, the engine's full clause with settings, and its columns by name."""

    engine: str
    engine_full: str
    columns: Mapping[str, FoundColumn]


class Plan(NamedTuple):
    """What makes the existing tables fit.

    ``statements`` must succeed before rows are written; ``guards`` are SQL that is worth trying (without them
    rows are written, but repeats are not recognised); ``conflicts`` and ``notes`` are sentences for people.
    With a conflict nothing must be written.
    """

    statements: list[str]
    guards: list[str]
    conflicts: list[str]
    notes: list[str]


def quoted(name: str) -> str:
    """Quote an identifier."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def one_line(sql: str) -> str:
    """Return ``sql`` of this module without its line breaks, as messages show it."""
    return " ".join(sql.split()).replace("( ", "(").replace(" )", ")")


def create_table(table: Table, place: Place) -> str:
    """Return the statement that makes ``table``."""
    columns = ",\n".join(f"    {_definition(column)}" for column in table.columns)
    return (
        f"CREATE TABLE IF NOT EXISTS {place.of(table)}{place.on_cluster}\n(\n{columns}\n)\n"
        f"ENGINE = MergeTree\nORDER BY {table.order_by}\nPARTITION BY {PARTITION_BY}\n"
        f"SETTINGS {_WINDOW} = {DEDUPLICATION_WINDOW}"
    )


def add_columns(table: Table, missing: frozenset[str], place: Place) -> str:
    """Return the one statement that adds the columns named in ``missing``, each after the one before it."""
    positions = ("FIRST", *(f"AFTER {quoted(name)}" for name in table.column_names))
    additions = ",\n".join(
        f"    ADD COLUMN IF NOT EXISTS {_definition(column)} {position}"
        for position, column in zip(positions, table.columns, strict=False)
        if column.name in missing
    )
    return f"ALTER TABLE {place.of(table)}{place.on_cluster}\n{additions}"


def plan(found: Mapping[str, Found], place: Place) -> Plan:
    """Compare what exists (by key of ``TABLES``, absent tables left out) with what is documented."""
    result = Plan([], [], [], [])
    for key, table in TABLES.items():
        existing = found.get(key)
        if existing is None:
            result.statements.append(create_table(table, place))
        else:
            _plan_existing(table, existing, place, result)
    return result


def _plan_existing(table: Table, found: Found, place: Place, result: Plan) -> None:
    conflict = _table_conflict(table, found, place) or _column_conflict(table, found, place)
    if conflict:
        result.conflicts.append(conflict)
        return
    missing = frozenset(table.column_names) - frozenset(found.columns)
    if missing and found.engine in _FORWARDING_ENGINES:
        result.conflicts.append(
            f"{place.of(table)} is a {found.engine} table and lacks columns; nothing was written. Add them "
            f"to the table behind it, then run: {one_line(add_columns(table, missing, place))}"
        )
    elif missing:
        result.statements.append(add_columns(table, missing, place))
    _plan_guard(table, found, place, result)


def _table_conflict(table: Table, found: Found, place: Place) -> str:
    """Say why no row of ours belongs into this table at all; empty when it does."""
    if found.engine in _READ_ONLY_ENGINES:
        reason = f"is a {found.engine}, which takes no rows"
    elif not frozenset(found.columns) & frozenset(table.column_names):
        reason = "has none of the documented columns, so it is somebody else's"
    else:
        return ""
    return f"{place.of(table)} {reason}; nothing was written. Rename it or choose another --ch-table."


def _column_conflict(table: Table, found: Found, place: Place) -> str:
    """Name each column that cannot hold our values and the ways out; empty when all can."""
    causes, fixes = [], []
    for column in table.columns:
        existing = found.columns.get(column.name)
        if existing is None:
            continue
        if existing.kind in _COMPUTED:
            causes.append(f"column {quoted(column.name)} is {existing.kind}, wanted a plain {column.type}")
        elif not compatible(existing.type, column.type):
            causes.append(f"column {quoted(column.name)} is {existing.type}, wanted {column.type}")
        else:
            continue
        fixes.append(_fix(column, existing, found))
    if not causes:
        return ""
    # An ALTER that the engine refuses would be no way out.
    alter = f", or run: ALTER TABLE {place.of(table)}{place.on_cluster} {', '.join(fixes)}" if all(fixes) else "."
    return (
        f"{place.of(table)}: {', '.join(causes)}; nothing was written. Rename or drop the table or choose "
        f"another --ch-table{alter}"
    )


def _fix(column: Column, existing: FoundColumn, found: Found) -> str:
    """Return what of an ALTER makes a column ours, empty where none does: in the key of a table none may."""
    if existing.kind == "EPHEMERAL":  # it has no values, and nothing removes only that
        return f"DROP COLUMN {quoted(column.name)}, ADD COLUMN {_definition(column)}"
    if existing.kind in _COMPUTED:  # MODIFY COLUMN with a type alone leaves it computed
        return f"MODIFY COLUMN {quoted(column.name)} REMOVE {existing.kind}"
    return "" if re.search(rf"\b{column.name}\b", found.engine_full) else f"MODIFY COLUMN {_definition(column)}"


def _plan_guard(table: Table, found: Found, place: Place, result: Plan) -> None:
    """Without a window a plain MergeTree takes every repeat; replicated engines have one of their own."""
    if found.engine.startswith(_REMEMBERING) or _WINDOW_SET.search(found.engine_full):
        return
    if found.engine.endswith("MergeTree"):
        result.guards.append(
            f"ALTER TABLE {place.of(table)}{place.on_cluster} MODIFY SETTING {_WINDOW} = {DEDUPLICATION_WINDOW}"
        )
    elif found.engine not in _FORWARDING_ENGINES and found.engine != "Null":
        result.notes.append(
            f"{place.of(table)} is a {found.engine} table: a batch that is sent again after a broken "
            "connection is stored twice there; a MergeTree table would recognise it."
        )


def forgets_inserts(engine_full: str) -> bool:
    """Whether a table of these clauses takes every repeat although it could recognise one."""
    engine = re.split(r"\W", engine_full, maxsplit=1)[0]
    is_plain = engine.endswith("MergeTree") and not engine.startswith(_REMEMBERING)
    return is_plain and not _WINDOW_SET.search(engine_full)


def _definition(column: Column) -> str:
    return f"{quoted(column.name)} {column.type}"
