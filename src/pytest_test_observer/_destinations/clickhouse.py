"""ClickHouse as a destination: servers over HTTP(S) and the embedded engine, through one client."""

from __future__ import annotations

import contextlib
import gzip
from typing import TYPE_CHECKING

from pytest_test_observer._columns import TABLES
from pytest_test_observer._destinations import Answer, Batch, Reply, Unanswered
from pytest_test_observer._destinations._answers import (
    ACCESS_DENIED,
    error_code,
    reply_to,
    without_secrets,
)
from pytest_test_observer._destinations._stored import absent_lines
from pytest_test_observer._destinations._tables import fit_tables
from pytest_test_observer._destinations.embedded import IN_MEMORY, EmbeddedError, load_engine, opened
from pytest_test_observer._destinations.schema import Place, quoted
from pytest_test_observer._destinations.settings import ClickHouseSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from clickhouse_connect.driver.client import Client

__all__ = ["ClickHouseDestination", "ClickHouseSettings"]

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

_TOKEN = "insert_deduplication_token"  # noqa: S105 (the name of a setting)

_UNASKED = (
    "the user of --ch-user lacks the right to SELECT, so nobody can see which rows are there already: rows "
    "that are sent again are recognised only among the server's most recent inserts."
)

# The tables are not as prepare() left them: look again before the next batch.
_STALE_CODES = frozenset({16, 47, 60, 81})


class ClickHouseDestination:
    """Stores batches in the three tables; see ``Destination``.

    ``wait_s`` is how long ``prepare`` waits for an embedded database that another process has open;
    ``on_wait`` is told about such a wait once it is longer than 2 s.
    """

    carries_events = False

    def __init__(
        self,
        settings: ClickHouseSettings,
        *,
        wait_s: float = 30.0,
        on_wait: Callable[[str], None] | None = None,
    ) -> None:
        self.label = settings.label
        self._settings = settings
        self._place = Place(settings.database, settings.table, settings.cluster)
        self._wait_s = wait_s
        self._on_wait = on_wait
        self._resources = contextlib.ExitStack()
        self._client: Client | None = None
        self._prepared = False
        self._insert_settings: dict[str, str] = {}
        self._notes: list[str] = []

    def warm_up(self) -> None:
        """Load what takes long, and prepare a server; an embedded engine stays free for others."""
        if self._settings.embedded:
            with contextlib.suppress(EmbeddedError):
                load_engine()
        else:
            self.prepare()

    def prepare(self) -> Reply:
        """Connect and make the tables fit; cheap once it has succeeded."""
        if self._prepared:
            return _READY
        try:
            reply = self._fit_tables()
        except Exception as error:  # noqa: BLE001 (whatever a library raises, a destination answers)
            reply = self._explain(error)._replace(answer=Answer.UNAVAILABLE)  # no row was on its way yet
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
            return self._explain(error)
        return _READY

    def absent(self, batch: Batch) -> list[bytes] | None:
        """Return the lines that the table does not have; None for all of them, also without the right to SELECT."""
        reply = self.prepare()
        if reply.answer is not Answer.TAKEN:
            raise Unanswered(reply)
        table = self._place.of(TABLES[batch.table])
        client = self._connected()
        try:
            return absent_lines(batch, table, lambda query: client.raw_query(query, fmt="JSONCompactEachRow"))
        except Exception as error:
            if error_code(error) == ACCESS_DENIED:
                self._note(_UNASKED)
                return None
            raise Unanswered(self._explain(error)._replace(answer=Answer.UNAVAILABLE)) from error

    def notes(self) -> list[str]:
        """Return what the user should know although everything is stored; empties the list."""
        notes, self._notes = self._notes, []
        return notes

    def release(self) -> None:
        """Close the embedded engine: one process at a time can have it open."""
        if self._settings.embedded and self._settings.path != IN_MEMORY:
            self.close()

    def close(self) -> None:
        """Disconnect, or close the embedded engine; ``prepare`` opens again."""
        self._client = None
        self._prepared = False
        self._resources.close()

    def _fit_tables(self) -> Reply:
        auto_migrate = self._settings.auto_migrate
        return fit_tables(self._connected(), self._place, auto_migrate=auto_migrate, note=self._note)

    def _connected(self) -> Client:
        if self._client is None:
            self._resources.close()  # what an earlier attempt left half open
            client = self._open()
            self._insert_settings = _accepted(client, _INSERT_SETTINGS)
            self._client = client
            if not _accepted(client, {_TOKEN: "any"}):
                self._note(f"a batch that is sent again may be stored twice: the server refuses {_TOKEN}.")
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

    def _insert(self, client: Client, batch: Batch) -> None:
        table = TABLES[batch.table]
        data, encoding = (batch.data, None) if self._settings.embedded else _compressed(batch.data)
        client.raw_insert(
            self._place.of(table),
            column_names=table.column_names,
            insert_block=data,
            fmt="JSONEachRow",
            compression=encoding,
            settings=self._insert_settings | _accepted(client, {_TOKEN: batch.token}) | {"wait_end_of_query": "1"},
        )

    def _explain(self, error: Exception) -> Reply:
        if error_code(error) in _STALE_CODES:
            self._prepared = False
        reply = reply_to(error)
        return reply._replace(message=without_secrets(reply.message, self._settings.secrets))

    def _note(self, note: str) -> None:
        if note not in self._notes:
            self._notes.append(without_secrets(note, self._settings.secrets))


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
