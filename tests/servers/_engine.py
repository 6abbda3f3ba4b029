"""ClickHouse's own engine in this process, one handle per request.

A handle costs about 0.3 ms, has its own settings and current database, and handles run side by side, so
nothing is serialised here that a server would not serialise.
"""

from __future__ import annotations

import tempfile
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import chdb

from ._http import ServerError, is_name

if TYPE_CHECKING:
    from ._statement import Statement

# Where the embedded engine's defaults differ from a server's in what a client can see.
_AS_SERVER = {"implicit_select": "0", "allow_introspection_functions": "0"}
_chdb: Any = chdb._chdb  # its own stub leaves out connect


class Answer(NamedTuple):
    """What a statement gave: bytes in the asked format, and the counts that a server puts in its summary."""

    body: bytes
    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    elapsed_ns: int = 0


def _literal(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _identifier(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


class Engine:
    """The embedded engine on one directory, which stays open until the process ends.

    ``path`` is a directory (created when missing) or ``:memory:``.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._keeper = _chdb.connect(path)
        self.version, self.timezone, self.host = (
            self._keeper.query("SELECT version(), timezone(), hostName()", "TabSeparated").bytes().decode().split()
        )

    def error(self, code: int, text: str, name: str) -> ServerError:
        """Word an error as a server of this version does."""
        return ServerError(f"Code: {code}. DB::Exception: {text}. ({name})", self.version)

    def run(self, statement: Statement, *, database: str, settings: dict[str, str], bindings: dict[str, str]) -> Answer:
        """Run one statement with settings of its own; raises `ServerError` with the engine's text."""
        handle = _chdb.connect(self._path)
        started = time.monotonic_ns()
        try:
            self._prepare(handle, database, settings)
            execute = self._query if statement.data is None else self._insert
            result = execute(handle, statement, bindings)
        except RuntimeError as error:
            raise ServerError(str(error), self.version) from None
        finally:
            handle.close()
        return Answer(
            result.bytes(),
            result.rows_read(),
            result.bytes_read(),
            result.rows_written(),
            result.bytes_written(),
            time.monotonic_ns() - started,
        )

    def _prepare(self, handle: Any, database: str, settings: dict[str, str]) -> None:
        if database:
            handle.query(f"USE {_identifier(database)}")
        unknown = [name for name in settings if not is_name(name)]
        if unknown:
            raise self.error(115, f"Unknown setting {unknown[0]!r}", "UNKNOWN_SETTING")
        pairs = (f"{name} = {_literal(value)}" for name, value in {**_AS_SERVER, **settings}.items())
        handle.query("SET " + ", ".join(pairs))

    @staticmethod
    def _insert(handle: Any, statement: Statement, bindings: dict[str, str]) -> Any:
        """Hand the rows over in a file: an insert that streams them hides the failure of a view."""
        with tempfile.NamedTemporaryFile() as file:
            file.write(statement.data or b"")
            file.flush()
            source = f"FROM INFILE {_literal(file.name)} COMPRESSION 'none' FORMAT {statement.format}"
            return handle.query(f"{statement.sql.decode()} {source}", params=bindings)

    def _query(self, handle: Any, statement: Statement, bindings: dict[str, str]) -> Any:
        try:
            sql = statement.sql.decode()
        except UnicodeDecodeError:
            raise self.error(62, "Syntax error: the query is not UTF-8", "SYNTAX_ERROR") from None
        if handle.classify_query(sql)["statement_count"] > 1:
            raise self.error(62, "Syntax error (Multi-statements are not allowed)", "SYNTAX_ERROR")
        return handle.query(sql, statement.format, params=bindings)
