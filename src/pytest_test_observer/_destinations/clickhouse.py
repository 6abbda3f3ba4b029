"""ClickHouse as a destination: servers over HTTP(S) and the embedded engine, through one client."""

from __future__ import annotations

import base64
import contextlib
import gzip
from typing import TYPE_CHECKING

import msgspec

from pytest_test_observer._columns import TABLES
from pytest_test_observer._destinations import Answer, Batch, Reply, Unanswered
from pytest_test_observer._destinations._answers import (
    ACCESS_DENIED,
    error_code,
    reply_to,
    shorten,
    without_secrets,
)
from pytest_test_observer._destinations._stored import absent_lines, literals
from pytest_test_observer._destinations.embedded import EmbeddedError, opened
from pytest_test_observer._destinations.schema import Found, FoundColumn, Place, one_line, plan, quoted

if TYPE_CHECKING:
    from collections.abc import Callable

    from clickhouse_connect.driver.client import Client

__all__ = ["ClickHouseDestination", "ClickHouseSettings", "read_tables"]

_READY = Reply(Answer.TAKEN)

# Sent with each insert where the server's own value differs; a setting the server does not know is left out.
_INSERT_SETTINGS = {
    # an asynchronous insert is acknowledged before it is stored, and does not recognise repeats
    "async_insert": "0",
    "insert_deduplicate": "1",
    "deduplicate_insert": "enable",
    "deduplicate_blocks_in_dependent_materialized_views": "1",
    # one batch must stay one block, or a repeat is recognised in parts: no parallel parsing, no small blocks
    "input_format_parallel_parsing": "0",
    "input_format_max_block_size_bytes": "0",
    "max_insert_block_size": "1048449",
    "max_insert_block_size_bytes": "0",
    "min_insert_block_size_rows": "1048449",
    "min_insert_block_size_bytes": "268402944",
    # a replay may hold runs of many years
    "max_partitions_per_insert_block": "0",
    # times are text with an offset
    "date_time_input_format": "best_effort",
    # older servers read doubles a little wrong
    "precise_float_parsing": "1",
    "input_format_skip_unknown_fields": "1",
    "input_format_null_as_default": "1",
    # links are arrays, also for a column whose tuple has names
    "input_format_json_named_tuples_as_objects": "0",
    # a Distributed table acknowledges what the nodes have stored, not what is queued for them
    "distributed_foreground_insert": "1",
    "insert_distributed_sync": "1",
}

# The tables are not as prepare() left them: look again before the next batch.
_STALE_CODES = frozenset({16, 47, 60, 81})


class ClickHouseSettings(msgspec.Struct, frozen=True):
    """Where and as whom to store.

    ``embedded`` uses the engine in-process on the directory ``path`` (``"memory"``: no directory); else the
    server at ``host``, ``port`` with ``tls`` and a ``url_path`` prefix. ``label`` is how messages name it.
    """

    embedded: bool = False
    path: str = ""
    host: str = "localhost"
    port: int = 8123
    tls: bool = False
    url_path: str = ""
    user: str = "default"
    password: str = ""
    database: str = "default"
    table: str = "pytest_results"
    auto_migrate: bool = True
    cluster: str = ""
    label: str = "ClickHouse"

    def __repr__(self) -> str:
        where = self.path if self.embedded else f"{self.host}:{self.port}{self.url_path}"
        return f"ClickHouseSettings({where!r}, user={self.user!r}, {self.database}.{self.table})"

    @property
    def place(self) -> Place:
        """Database, table and cluster."""
        return Place(self.database, self.table, self.cluster)


class ClickHouseDestination:
    """Stores batches in the three tables; see ``Destination``.

    ``wait_s`` is how long ``prepare`` waits for an embedded database that another process has open;
    ``on_wait`` is told about such a wait once it is longer than 2 s.
    """

    def __init__(
        self,
        settings: ClickHouseSettings,
        *,
        wait_s: float = 30.0,
        on_wait: Callable[[str], None] | None = None,
    ) -> None:
        self.label = settings.label
        self._settings = settings
        self._wait_s = wait_s
        self._on_wait = on_wait
        self._resources = contextlib.ExitStack()
        self._client: Client | None = None
        self._prepared = False
        self._insert_settings: dict[str, str] = {}
        self._notes: list[str] = []

    def prepare(self) -> Reply:
        """Connect and make the tables fit; cheap once it has succeeded."""
        if self._prepared:
            return _READY
        try:
            reply = self._fit_tables(self._connected())
        except Exception as error:  # noqa: BLE001 (whatever a library raises, a destination answers)
            reply = self._explain(error)
            if reply.answer is not Answer.UNAVAILABLE:  # nothing was on its way yet
                reply = reply._replace(answer=Answer.UNAVAILABLE)
        self._prepared = reply.answer is Answer.TAKEN
        return reply

    def send(self, batch: Batch) -> Reply:
        """Store ``batch``, under its token, in one insert."""
        reply = self.prepare()
        if reply.answer is not Answer.TAKEN:
            return reply
        try:
            self._insert(self._connected(), batch)
        except Exception as error:  # noqa: BLE001 (whatever a library raises, a destination answers)
            self._prepared = error_code(error) not in _STALE_CODES
            return self._explain(error)
        return _READY

    def absent(self, batch: Batch) -> list[bytes] | None:
        """Return the lines of ``batch`` that the table does not have; None without the right to SELECT."""
        reply = self.prepare()
        if reply.answer is not Answer.TAKEN:
            raise Unanswered(reply)
        table = self._settings.place.of(TABLES[batch.table])
        client = self._connected()
        try:
            return absent_lines(batch, table, lambda query: client.raw_query(query, fmt="JSONCompactEachRow"))
        except Exception as error:
            if error_code(error) == ACCESS_DENIED:
                self._note(
                    f"{table} cannot be asked what it has already, which needs the right to SELECT from it."
                )
                return None
            raise Unanswered(self._explain(error)._replace(answer=Answer.UNAVAILABLE)) from error

    def notes(self) -> list[str]:
        """Return what the user should know although everything is stored; empties the list."""
        notes, self._notes = self._notes, []
        return notes

    def close(self) -> None:
        """Disconnect, or close the embedded engine; ``prepare`` opens again."""
        self._client = None
        self._prepared = False
        self._resources.close()

    def _connected(self) -> Client:
        if self._client is None:
            client = self._open()
            self._insert_settings = _accepted(client, _INSERT_SETTINGS)
            self._client = client
        return self._client

    def _open(self) -> Client:
        settings = self._settings
        if not settings.embedded:
            from pytest_test_observer._destinations._http import connect  # noqa: PLC0415 (loads the library)

            return self._resources.enter_context(contextlib.closing(connect(settings)))
        client = self._resources.enter_context(opened(settings.path, self._wait_s, self._on_wait))
        if settings.auto_migrate:  # nobody else could make it there
            client.command(f"CREATE DATABASE IF NOT EXISTS {quoted(settings.database)}")
        return client

    def _fit_tables(self, client: Client) -> Reply:
        place = self._settings.place
        todo = plan(read_tables(client, place), place)
        if todo.statements and not todo.conflicts:
            reply = self._migrate(client, todo.statements)
            if reply is not None:
                return reply
            # another process may have made them first, and differently
            todo = plan(read_tables(client, place), place)
        if todo.conflicts or todo.statements:
            return Reply(
                Answer.UNAVAILABLE, " ".join(todo.conflicts or map(one_line, todo.statements)), fatal=True
            )
        for guard in todo.guards:
            self._guard(client, guard)
        for note in todo.notes:
            self._note(note)
        return _READY

    def _migrate(self, client: Client, statements: list[str]) -> Reply | None:
        """Run the statements; return why not, with the SQL for somebody who may."""
        sql = "; ".join(map(one_line, statements))
        if not self._settings.auto_migrate:
            reason = "tables or columns are missing and ch_auto_migrate is off; nothing was written. Run"
            return Reply(Answer.UNAVAILABLE, f"{reason}: {sql}", fatal=True)
        try:
            for statement in statements:
                client.command(statement)
        except Exception as error:
            if error_code(error) != ACCESS_DENIED:
                raise
            reason = (
                "tables or columns are missing and the user may not add them; nothing was written. Ask for"
            )
            return Reply(Answer.UNAVAILABLE, f"{reason}: {sql}", fatal=True)
        return None

    def _guard(self, client: Client, statement: str) -> None:
        reason = "ch_auto_migrate is off"
        if self._settings.auto_migrate:
            try:
                client.command(statement)
            except Exception as error:  # noqa: BLE001 (rows can be written without it)
                reason = self._explain(error).message
            else:
                return
        self._note(
            "a batch that is sent again after a broken connection may be stored twice, because the table "
            f"keeps no record of inserts ({reason}). This ends it: {one_line(statement)}"
        )

    def _insert(self, client: Client, batch: Batch) -> None:
        table = TABLES[batch.table]
        data, encoding = (batch.data, None) if self._settings.embedded else _compressed(batch.data)
        client.raw_insert(
            self._settings.place.of(table),
            column_names=table.column_names,
            insert_block=data,
            fmt="JSONEachRow",
            compression=encoding,
            settings=self._insert_settings
            | {"insert_deduplication_token": batch.token, "wait_end_of_query": "1"},
        )

    def _explain(self, error: Exception) -> Reply:
        reply = _explained(error, embedded=self._settings.embedded)
        return reply._replace(message=without_secrets(reply.message, self._secrets()))

    def _secrets(self) -> tuple[str, ...]:
        password = self._settings.password
        if len(password) < 4:  # covering it would mangle words, and show what it is
            return ()
        return password, base64.b64encode(f"{self._settings.user}:{password}".encode()).decode()

    def _note(self, note: str) -> None:
        if note not in self._notes:
            self._notes.append(without_secrets(note, self._secrets()))


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


def _accepted(client: Client, settings: dict[str, str]) -> dict[str, str]:
    """Leave out what this server does not know, has so already, or does not let this user change."""
    known = client.server_settings
    return {
        name: value
        for name, value in settings.items()
        if name in known and known[name].value != value and not known[name].readonly
    }


def _compressed(data: bytes) -> tuple[bytes, str]:
    """Compress for HTTP; returns the bytes and their Content-Encoding."""
    try:
        import lz4.frame  # type: ignore[import-untyped]  # noqa: PLC0415 (not on every Python)
    except ImportError:
        return gzip.compress(data, compresslevel=1), "gzip"
    return lz4.frame.compress(data), "lz4"


def _explained(error: Exception, *, embedded: bool) -> Reply:
    if isinstance(error, EmbeddedError):
        return Reply(Answer.UNAVAILABLE, str(error), error.fatal)
    if not embedded:
        from pytest_test_observer._destinations._http import failure_of  # noqa: PLC0415 (loads the library)

        reply = failure_of(error)
        if reply is not None:
            return reply
    if isinstance(error, OSError):  # the temporary file through which rows enter the embedded engine
        return Reply(Answer.UNAVAILABLE, shorten(f"cannot hand rows over: {error.strerror or error}"))
    if error_code(error) is not None:
        return reply_to(error)
    return Reply(Answer.IN_DOUBT, shorten(f"the answer was not understood ({type(error).__name__}: {error})"))
