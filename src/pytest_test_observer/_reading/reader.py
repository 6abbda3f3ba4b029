"""One connection for reading, and what its errors mean to who reads."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from pytest_test_observer._columns import TABLES
from pytest_test_observer._destinations._answers import error_code, reply_to, without_secrets
from pytest_test_observer._destinations.embedded import IN_MEMORY, check_installed, opened
from pytest_test_observer._destinations.schema import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from clickhouse_connect.driver.client import Client

    from pytest_test_observer._destinations.settings import ClickHouseSettings

__all__ = ["Reader", "ReadingError", "open_reader"]

_Decoded = TypeVar("_Decoded")
# A question may take longer than an insert before its first byte comes.
_READ_TIMEOUT_S = 120
_TABLE = re.compile(rf"\$({'|'.join(TABLES)})\b")
# In each directory that the embedded engine has opened; it makes that in any other, too.
_MADE_BY_THE_ENGINE = "metadata"
# Numbers as numbers, where the server does so by itself or lets this user say it.
_WANTED = {"output_format_json_quote_64bit_integers": "0"}
_IN_MEMORY = "chdb://memory holds nothing to read: it ended with the process that wrote it. Give a path."
_NO_DATABASE = "no database is there. Correct --ch-url, or run pytest with it first."
# What errors mean that reading has and writing has not, by ClickHouse's code.
_MEANINGS = {
    47: "a column is missing, so the tables are older than this version: `pytest-observer doctor` names it, and the "
    "next run of pytest with --ch-url adds it",
    60: "a table is missing there ({place}): run pytest with --ch-url, which makes it, or check --ch-db and --ch-table",
    81: "the database {place} does not exist: create it, which pytest does not, or check --ch-db",
}


class ReadingError(Exception):
    """Nothing could be read; the text says why and what to do, without secrets.

    ``code`` is ClickHouse's code of the error, 0 where it gave none; ``empty`` is true where nothing is wrong but
    that no run was recorded there yet.
    """

    def __init__(self, message: str, code: int = 0, *, empty: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.empty = empty or code == 60


class Reader:
    """Asks the tables of ``settings``; made by ``open_reader``.

    ``label`` names the place for people; ``place`` has the names of database and tables.
    """

    def __init__(self, client: Client, settings: ClickHouseSettings) -> None:
        self.label = settings.label
        self.place = Place(settings.database, settings.table, settings.cluster)
        self.settings = settings
        self.client = client
        self._tables = {key: self.place.of(table) for key, table in TABLES.items()}
        known = client.server_settings
        changeable = {name for name in _WANTED if name in known and not known[name].readonly}
        self._settings = {name: value for name, value in _WANTED.items() if name in changeable}

    def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
        """Return the rows of a SELECT as dictionaries, in order.

        ``$results``, ``$runs`` and ``$events`` stand for the tables, quoted; ``{name:Type}`` for a value of
        ``parameters``, which travels beside the SQL. Integers of any width are ``int``, times are text unless the SQL
        makes numbers of them, NaN is None. Raises ``ReadingError``.
        """
        text = _TABLE.sub(lambda found: self._tables[found[1]], sql)
        try:
            answer = self.client.raw_query(
                text,
                parameters=dict(parameters or {}),
                settings=self._settings,
                fmt="JSONCompactEachRowWithNamesAndTypes",
            )
        except Exception as error:
            raise _explained(error, self.settings) from error
        return self._understood(_rows, answer)

    def columns(self, sql: str) -> dict[str, list[Any]]:
        """Return the columns of a SELECT, name by name, empty ones too; for many rows. Otherwise as ``query``."""
        text = _TABLE.sub(lambda found: self._tables[found[1]], sql)
        try:
            answer = self.client.raw_query(text, settings=self._settings, fmt="JSONColumnsWithMetadata")
        except Exception as error:
            raise _explained(error, self.settings) from error
        return self._understood(_columns, answer)

    def _understood(self, decode: Callable[[bytes], _Decoded], answer: bytes) -> _Decoded:
        """Decode an answer; where the server failed in the middle of it, its error stands at the end."""
        try:
            return decode(answer)
        except (msgspec.DecodeError, ValueError) as error:
            said = answer[max(answer.rfind(b"Code: "), 0) :].decode("utf-8", "replace")
            broken = ValueError(said) if error_code(ValueError(said)) else ValueError("it broke off in the middle")
            raise _explained(broken, self.settings) from error


@contextlib.contextmanager
def open_reader(
    settings: ClickHouseSettings, *, wait_s: float = 30.0, on_wait: Callable[[str], None] | None = None
) -> Iterator[Reader]:
    """Connect to a server or open an embedded database, and close it at the end.

    An embedded database that another process has open is waited for, up to ``wait_s`` seconds; after 2 s ``on_wait``
    is told a sentence about it. Nothing is created. Raises ``ReadingError``.
    """
    with contextlib.ExitStack() as stack:
        try:
            client = _client(settings, stack, wait_s, on_wait)
        except Exception as error:
            if isinstance(error, ReadingError):
                raise
            raise _explained(error, settings) from error
        yield Reader(client, settings)


def _client(
    settings: ClickHouseSettings,
    stack: contextlib.ExitStack,
    wait_s: float,
    on_wait: Callable[[str], None] | None,
) -> Client:
    if settings.embedded:
        if settings.path == IN_MEMORY:
            raise ReadingError(_IN_MEMORY)
        check_installed()  # first: a run of pytest would not make the database without it
        if not os.path.exists(settings.path):
            raise ReadingError(_NO_DATABASE, empty=True)
        if not os.path.isdir(os.path.join(settings.path, _MADE_BY_THE_ENGINE)):
            raise ReadingError("what is there is no database of the embedded engine: check --ch-url")
        return stack.enter_context(opened(settings.path, wait_s, on_wait))
    from pytest_test_observer._destinations._http import connect  # noqa: PLC0415 (loads the library)

    patient = msgspec.structs.replace(settings, read_timeout_s=_READ_TIMEOUT_S)
    return stack.enter_context(contextlib.closing(connect(patient)))


class _Column(msgspec.Struct):
    name: str
    type: str


class _Columns(msgspec.Struct):
    meta: list[_Column]
    data: dict[str, list[Any]]


def _columns(answer: bytes) -> dict[str, list[Any]]:
    try:
        found = msgspec.json.decode(answer, type=_Columns)
    except (msgspec.DecodeError, UnicodeDecodeError):  # as below
        found = msgspec.json.decode(answer.decode("utf-8", "replace"), type=_Columns)
    for column in found.meta:
        # without rows there are no columns
        values = found.data.setdefault(column.name, [])
        if column.type in ("UInt64", "Int64") and values and isinstance(values[0], str):
            found.data[column.name] = [int(value) for value in values]
    return found.data


def _rows(answer: bytes) -> list[dict[str, Any]]:
    lines = answer.splitlines()
    if len(lines) < 2:
        return []
    names, types = msgspec.json.decode(lines[0]), msgspec.json.decode(lines[1])
    rows = [dict(zip(names, _decoded(line), strict=True)) for line in lines[2:]]
    for name, type_ in zip(names, types, strict=True):
        if type_.removeprefix("Nullable(").rstrip(")") in ("UInt64", "Int64"):
            for row in rows:
                row[name] = None if row[name] is None else int(row[name])
    return rows


def _decoded(line: bytes) -> list[Any]:
    try:
        return msgspec.json.decode(line, type=list[Any])
    except (msgspec.DecodeError, UnicodeDecodeError):  # rows of other programs may hold any bytes
        return msgspec.json.decode(line.decode("utf-8", "replace"), type=list[Any])


def _explained(error: Exception, settings: ClickHouseSettings) -> ReadingError:
    code = error_code(error) or 0
    sentence = _MEANINGS.get(code)
    place = settings.database if code == 81 else f"{settings.database}.{_missing(str(error)) or settings.table}"
    message = sentence.format(place=place) if sentence else reply_to(error).message
    return ReadingError(without_secrets(message, settings.secrets), code)


def _missing(error: str) -> str:
    """Return the table that an error calls unknown, empty where it names none."""
    found = re.search(r"[Uu]nknown table expression identifier '([^']+)'|Table \S+?\.(\S+) does not exist", error)
    return (found[1] or found[2]).rpartition(".")[2].strip("`'") if found else ""
