"""Users of the test server and what each may do, by the kind of statement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._statement import READS, SESSION

if TYPE_CHECKING:
    from ._statement import Statement

# READ without READ_TABLES is what ClickHouse leaves to everybody: constants and system tables.
USERS: dict[str, frozenset[str]] = {
    "default": frozenset({"READ", "READ_TABLES", "INSERT", "DDL"}),
    "inserter": frozenset({"READ", "READ_TABLES", "INSERT"}),
    "reader": frozenset({"READ", "READ_TABLES"}),
    "writer_only": frozenset({"READ", "INSERT"}),
}
_GRANTS = {"READ_TABLES": "SELECT", "INSERT": "INSERT"}


def _needed(statement: Statement) -> set[str]:
    needed = {"READ_TABLES"} if statement.reads_user_tables else set()
    if statement.keyword in READS:
        # What a table looks like is shown to whoever may do anything with it.
        return needed if statement.keyword in {"SELECT", "WITH"} else set()
    if statement.keyword in SESSION:
        return set()
    return needed | ({"INSERT"} if statement.keyword == "INSERT" else {"DDL"})


def missing_grant(user: str, statement: Statement) -> str:
    """Name the grant that ``user`` lacks for ``statement``; empty when the statement is allowed."""
    missing = sorted(_needed(statement) - USERS[user])
    return _GRANTS.get(missing[0], statement.keyword) if missing else ""
