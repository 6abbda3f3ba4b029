"""Making the schema on a server, or bringing an older one up to this version."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec

from pytest_test_observer._destinations import Answer, Reply
from pytest_test_observer._destinations._answers import reply_to, without_secrets
from pytest_test_observer._destinations._stored import literals
from pytest_test_observer._destinations._tables import fit_tables
from pytest_test_observer._destinations.embedded import opened
from pytest_test_observer._destinations.schema import forgets_inserts
from pytest_test_observer._views.layout import (
    change_ttl,
    change_view,
    change_window,
    create_tables,
    create_view,
    stored_tables,
    views,
)
from pytest_test_observer._views.traces import LOOKUP, TRACES

if TYPE_CHECKING:
    from collections.abc import Callable

    from clickhouse_connect.driver.client import Client

    from pytest_test_observer._destinations.settings import ClickHouseSettings
    from pytest_test_observer._views.layout import Layout

__all__ = ["apply_schema"]

_DONE = Reply(Answer.TAKEN)


def apply_schema(settings: ClickHouseSettings, layout: Layout, say: Callable[[str], None]) -> Reply:
    """Make what is missing and change what is older; TAKEN when all is there.

    Repeating it does nothing. ``say`` is told sentences that the user should read.
    """
    try:
        with _client(settings, say) as client:
            return _apply(client, layout, say)
    except Exception as error:  # noqa: BLE001 (whatever a library raises, the command answers)
        reply = reply_to(error)
        return reply._replace(answer=Answer.UNAVAILABLE, message=without_secrets(reply.message, settings.secrets))


def _client(settings: ClickHouseSettings, say: Callable[[str], None]) -> contextlib.AbstractContextManager[Client]:
    if settings.embedded:
        return opened(settings.path, on_wait=say)
    from pytest_test_observer._destinations._http import connect  # noqa: PLC0415 (loads the library)

    return contextlib.closing(connect(settings))


def _apply(client: Client, layout: Layout, say: Callable[[str], None]) -> Reply:
    before = _existing(client, layout)
    for statement in create_tables(layout):
        client.command(statement)
    reply = fit_tables(client, layout.place, auto_migrate=True, note=say)
    if reply.answer is not Answer.TAKEN:
        return reply
    for statement in [*_windows(before, layout), *_ttl_changes(before, layout)]:
        client.command(statement)
    for view in views(layout):
        client.command(change_view(view, layout) if view.name in before else create_view(view, layout))
    return _DONE


def _existing(client: Client, layout: Layout) -> dict[str, str]:
    """Return what the database has, by name, with the clauses of its engine."""
    answer = client.raw_query(
        "SELECT name, engine_full FROM system.tables "  # noqa: S608 (literals are quoted)
        f"WHERE database = {literals([layout.place.database])}",
        fmt="JSONCompactEachRow",
    )
    return dict(msgspec.json.decode(line, type=tuple[str, str]) for line in answer.splitlines())


def _windows(before: dict[str, str], layout: Layout) -> list[str]:
    """Tables that the exporter made itself keep no record of inserts: a repeat would be twice in them and behind."""
    return [
        change_window(table, layout)
        for table in (TRACES, LOOKUP)
        if forgets_inserts(before.get(layout.stored_name(table), ""))
    ]


def _ttl_changes(before: dict[str, str], layout: Layout) -> list[str]:
    """A table that was there keeps its rows' time to live unless another one is asked for."""
    if not layout.ttl:
        return []
    number, unit = layout.ttl.split()
    wanted = f"toInterval{unit.capitalize()}({number})"
    tables = [(table, before.get(layout.stored_name(table.name))) for table in stored_tables(layout)]
    return [change_ttl(table, layout) for table, clauses in tables if clauses and wanted not in clauses]
