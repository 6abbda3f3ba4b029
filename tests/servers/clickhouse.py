"""A small ClickHouse server for tests: the HTTP interface before the embedded engine, a process of its own.

``python -m tests.servers.clickhouse --port 0 --path DIR --password X`` prints one line of JSON with its port
when it is ready and ends on SIGTERM or when its standard input closes. Errors, their HTTP status, headers and
rights follow a real server; ``/__requests__``, ``/__reset__``, ``/__delay__`` and ``/__fail__`` serve tests.

Unlike a server: inserts are never asynchronous (``async_insert`` is accepted and has no effect), a session
keeps no state, there is no cluster, and an error never comes in the middle of an answer.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import signal
import socket
import threading
import uuid
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from . import _hello, _http, _rights, _statement
from ._control import Control
from ._engine import Answer, Engine
from ._loopback import LoopbackServer, WholeBodyHandler

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._control import Entry


class ClickHouseServer(LoopbackServer):
    """The listening server: one engine, one password for all users, what tests told it to do."""

    def __init__(self, port: int, engine: Engine, password: str) -> None:
        super().__init__(port, _Handler)
        self.engine = engine
        self.password = password
        self.control = Control()
        self.sessions: set[str] = set()
        self.sessions_lock = threading.Lock()


class _Request(NamedTuple):
    """One request with its parameters merged from URL and form."""

    path: str
    params: dict[str, str]
    text: bytes
    user: str
    password: str


class _Session:
    """Holds a session for the length of a request, as ClickHouse does: a second request on it is an error."""

    def __init__(self, server: ClickHouseServer, session_id: str) -> None:
        self._server = server
        self._id = session_id

    def __enter__(self) -> None:
        with self._server.sessions_lock:
            if self._id in self._server.sessions:
                text = f"Session {self._id} is locked by a concurrent client"
                raise self._server.engine.error(373, text, "SESSION_IS_LOCKED")
            if self._id:
                self._server.sessions.add(self._id)

    def __exit__(self, *_: object) -> None:
        with self._server.sessions_lock:
            self._server.sessions.discard(self._id)


class _Handler(WholeBodyHandler):
    server: ClickHouseServer

    def respond(self, body: bytes) -> None:
        url = urlsplit(self.path)
        params = dict(parse_qsl(url.query, keep_blank_values=True))
        if url.path.startswith("/__"):
            self._send(200, self.server.control.answer(url.path, params))
        elif url.path in {"/ping", "/replicas_status"}:
            self._send(200, b"Ok.\n")
        elif url.path not in {"/", "/query"}:
            self._send(404, f"There is no handle {url.path}\n".encode())
        else:
            self._query(url.path, params, body)

    def _query(self, path: str, params: dict[str, str], body: bytes) -> None:
        entry = self.server.control.begin(self.command, path, params, body)
        try:
            request = self._request(path, params, body)
            entry.user, entry.statement = request.user, request.text[:200].decode("utf-8", "replace")
            self._answer(request, entry)
        except _http.ServerError as error:
            self._send_error(error, entry)

    def _request(self, path: str, params: dict[str, str], body: bytes) -> _Request:
        body = _http.decompress(body, self.headers.get("Content-Encoding", ""))
        mime_type = self.headers.get("Content-Type", "")
        if mime_type.startswith(("multipart/form-data", "application/x-www-form-urlencoded")):
            params, body = {**params, **_http.form_fields(body, mime_type)}, b""
        user, password = self._credentials(params)
        query = params.get("query", "").encode("utf-8", "surrogateescape")
        return _Request(path, params, query + b"\n" + body if query else body, user, password)

    def _credentials(self, params: dict[str, str]) -> tuple[str, str]:
        header = self.headers.get("Authorization", "")
        if header.startswith("Basic "):
            user, _, password = base64.b64decode(header[len("Basic ") :]).decode().partition(":")
            return user, password
        if "X-ClickHouse-User" in self.headers:
            return self.headers["X-ClickHouse-User"], self.headers.get("X-ClickHouse-Key", "")
        return params.get("user", "default"), params.get("password", "")

    def _answer(self, request: _Request, entry: Entry) -> None:
        self._authenticate(request)
        if not request.text.strip():
            self._finish(entry, 200, b"Ok.\n", {})
            return
        statement = _statement.parse(request.text, request.params.get("default_format", "TabSeparated"))
        self._authorize(request.user, statement)
        fault = self.server.control.fault_for(statement.keyword)
        if fault and not fault.after:
            self._fail(fault.status, entry)
            return
        with _Session(self.server, request.params.get("session_id", "")):
            if statement.keyword == "INSERT":
                self.server.control.wait(entry)
            answer = self._run(request, statement)
        if fault:
            self._fail(fault.status, entry)
        else:
            self._finish(entry, 200, answer.body, self._headers(request, statement, answer))

    def _authenticate(self, request: _Request) -> None:
        if request.user not in _rights.USERS or request.password != self.server.password:
            text = "Authentication failed: password is incorrect, or there is no user with such name"
            raise self.server.engine.error(516, f"{request.user}: {text}", "AUTHENTICATION_FAILED")

    def _authorize(self, user: str, statement: _statement.Statement) -> None:
        grant = _rights.missing_grant(user, statement)
        if grant:
            text = f"Not enough privileges. To execute this query, it's necessary to have the grant {grant}"
            raise self.server.engine.error(497, f"{user}: {text}", "ACCESS_DENIED")
        if self.command == "GET" and statement.keyword not in _statement.READS | _statement.SESSION:
            text = "Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly"
            raise self.server.engine.error(164, text, "READONLY")

    def _run(self, request: _Request, statement: _statement.Statement) -> Answer:
        engine = self.server.engine
        if request.text.startswith(_hello.QUERY) and "client_protocol_version" in request.params:
            return Answer(_hello.answer(engine.host, engine.version, engine.timezone))
        return engine.run(
            statement,
            database=request.params.get("database", "") or self.headers.get("X-ClickHouse-Database", ""),
            settings=_http.settings_of(request.params),
            bindings=_http.bindings_of(request.params),
        )

    def _headers(self, request: _Request, statement: _statement.Statement, answer: Answer) -> dict[str, str]:
        headers = {
            "X-ClickHouse-Query-Id": request.params.get("query_id") or str(uuid.uuid4()),
            "X-ClickHouse-Timezone": self.server.engine.timezone,
            "X-ClickHouse-Summary": json.dumps(
                {name: str(value) for name, value in answer._asdict().items() if name != "body"}
            ),
        }
        if statement.keyword in _statement.READS:
            headers["Content-Type"] = _http.content_type(statement.format)
            headers["X-ClickHouse-Format"] = statement.format
        encoding = _http.encoding_for(self.headers.get("Accept-Encoding", ""))
        if encoding and request.params.get("enable_http_compression") == "1":
            headers["Content-Encoding"] = encoding
        return headers

    def _fail(self, status: int, entry: Entry) -> None:
        """Answer with a status of the tests' choice; 0 hangs up without an answer."""
        if status:
            self._finish(entry, status, b"failed as the test asked\n", {})
            return
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _send_error(self, error: _http.ServerError, entry: Entry) -> None:
        self._finish(entry, error.status, error.text.encode(), {"X-ClickHouse-Exception-Code": str(error.code)})

    def _finish(self, entry: Entry, status: int, body: bytes, headers: dict[str, str]) -> None:
        entry.status = status
        if "Content-Encoding" in headers:
            body = _http.compress(body, headers["Content-Encoding"])
        self._send(status, body, headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        common = {
            "X-ClickHouse-Server-Display-Name": self.server.engine.host,
            "Content-Type": "text/plain; charset=UTF-8",
        }
        self.send(status, body, {**common, **(headers or {})})


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--path", default=":memory:", help="directory of the engine")
    parser.add_argument("--password", default="", help="password of every user")
    return parser.parse_args()


def _when_stdin_closes(stop: Callable[[], None]) -> None:
    while os.read(0, 4096):
        pass
    stop()


def main() -> None:
    """Serve until SIGTERM or the end of standard input."""
    arguments = _arguments()
    server = ClickHouseServer(arguments.port, Engine(arguments.path), arguments.password)
    # A request that still runs must not keep the process: what it wrote is on disk or was never confirmed.
    stop = lambda *_: os._exit(0)  # noqa: E731 - one name for a signal handler and for a callback
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_when_stdin_closes, args=(stop,), daemon=True).start()
    print(json.dumps({"port": server.port, "version": server.engine.version}), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
