"""Looking at the tables a server has, and making them fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pytest_test_observer._columns import TABLES
from pytest_test_observer._destinations import Answer, Reply
from pytest_test_observer._destinations._answers import ACCESS_DENIED, READONLY_USER, error_code, reply_to
from pytest_test_observer._destinations._stored import literals
from pytest_test_observer._destinations.schema import Found, FoundColumn, one_line, plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from clickhouse_connect.driver.client import Client

    from pytest_test_observer._destinations.schema import Place

__all__ = ["fit_tables", "is_readonly", "read_tables"]


def fit_tables(client: Client, place: Place, *, auto_migrate: bool, note: Callable[[str], None]) -> Reply:
    """Make the three tables as documented, TAKEN when they are; without DDL when they were so before.

    ``note`` is told what the user should know although rows can be stored. Library errors pass through.
    """
    if is_readonly(client):
        return Reply(Answer.UNAVAILABLE, READONLY_USER, fatal=True)
    todo = plan(read_tables(client, place), place)
    if todo.statements and not todo.conflicts:
        obstacle = _migrate(client, todo.statements) if auto_migrate else "ch_auto_migrate is off"
        if obstacle:
            return _missing(obstacle, todo.statements)
        # another process may have made them first, and differently
        todo = plan(read_tables(client, place), place)
    if todo.conflicts:
        return Reply(Answer.UNAVAILABLE, " ".join(todo.conflicts), fatal=True)
    if todo.statements:
        return _missing("adding them had no effect", todo.statements)
    for guard in todo.guards:
        _guard(client, guard, auto_migrate=auto_migrate, note=note)
    for sentence in todo.notes:
        note(sentence)
    return Reply(Answer.TAKEN)


def read_tables(client: Client, place: Place) -> dict[str, Found]:
    """Read what exists of the three tables, by key of ``TABLES``, in one query."""
    keys = {table.name(place.table): key for key, table in TABLES.items()}
    where = f"database = {literals([place.database])} AND"
    names = literals(keys)
    answer = client.raw_query(
        "SELECT 'table', name, engine, engine_full, '' FROM system.tables "  # noqa: S608 (literals are quoted)
        f"WHERE {where} name IN ({names}) UNION ALL "
        "SELECT 'column', table, name, type, default_kind FROM system.columns "
        f"WHERE {where} table IN ({names})",
        fmt="JSONCompactEachRow",
    )
    rows = [msgspec.json.decode(line, type=tuple[str, str, str, str, str]) for line in answer.splitlines()]
    columns: dict[str, dict[str, FoundColumn]] = {name: {} for name in keys}
    for kind, table, name, type_, default_kind in rows:
        if kind == "column":
            columns[table][name] = FoundColumn(type_, default_kind)
    return {
        keys[table]: Found(engine, engine_full, columns[table])
        for kind, table, engine, engine_full, _ in rows
        if kind == "table"
    }


def is_readonly(client: Client) -> bool:
    """Whether the user may change nothing: the profile's setting ``readonly``."""
    readonly = client.server_settings.get("readonly")
    return readonly is not None and readonly.value != "0"


def _migrate(client: Client, statements: list[str]) -> str:
    """Run the statements; return why the user must not, if so."""
    try:
        for statement in statements:
            client.command(statement)
    except Exception as error:
        if error_code(error) != ACCESS_DENIED:
            raise
        return "the user of --ch-user may not add them"
    return ""


def _missing(obstacle: str, statements: list[str]) -> Reply:
    sql = "; ".join(map(one_line, statements))
    cause = f"tables or columns are missing and {obstacle}; nothing was written"
    return Reply(Answer.UNAVAILABLE, f"{cause}. To be run by an administrator: {sql}", fatal=True)


def _guard(client: Client, statement: str, *, auto_migrate: bool, note: Callable[[str], None]) -> None:
    """Try a statement that rows do not depend on; say what is missing without it."""
    reason = "ch_auto_migrate is off"
    if auto_migrate:
        try:
            client.command(statement)
        except Exception as error:  # noqa: BLE001 (rows can be written without it)
            reason = reply_to(error).message
        else:
            return
    note(
        "a batch that is sent again after a broken connection may be stored twice, because the table keeps "
        f"no record of inserts ({reason}). This ends it: {one_line(statement)}"
    )
