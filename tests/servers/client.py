"""The test's side of a ClickHouse server: starts one, asks it, and tells it what to do wrong."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlencode, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PASSWORD = "p@ss/word"  # characters that must be quoted in a URL, so that a test notices when they are not
# How the programs beside this file are started, wherever the tests are imported from.
PACKAGE = __name__.rpartition(".")[0]
ROOT = Path(__file__).parents[PACKAGE.count(".") + 1]
# Rows as plain JSON: numbers as numbers, tuples as lists.
_ROWS = {"output_format_json_quote_64bit_integers": "0", "output_format_json_named_tuples_as_objects": "0"}


class ServerAnswer(Exception):  # noqa: N818 - it is what the server said
    """An answer that is no success: ``status`` of HTTP, ``code`` of ClickHouse (0 when there is none)."""

    def __init__(self, status: int, code: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status
        self.code = code
        self.text = text


class ClickHouse:
    """A running ClickHouse server.

    ``url`` has no credentials; ``controllable`` tells whether it is ours: then it has the users of
    `_rights`, and `requests`, `reset`, `delay` and `fail` work.
    """

    def __init__(self, url: str, user: str, password: str, *, controllable: bool) -> None:
        self.url = url
        self.user = user
        self.password = password
        self.controllable = controllable
        self._address = urlsplit(url)

    @property
    def host(self) -> str:
        """Host name of the server."""
        return self._address.hostname or ""

    @property
    def port(self) -> int:
        """Port of its HTTP interface."""
        return self._address.port or 8123

    def execute(self, sql: str, data: bytes = b"", *, user: str = "", **params: str) -> bytes:
        """Run a statement with ``data`` after it and return the answer; ``params`` are URL parameters.

        Raises `ServerAnswer` with the server's text.
        """
        headers = {"X-ClickHouse-User": user or self.user, "X-ClickHouse-Key": self.password}
        path = "/?" + urlencode({"query": sql, **params})
        return self._request("POST", path, data, headers)

    def query(self, sql: str, **params: str) -> list[tuple[Any, ...]]:
        """Return the rows of a SELECT without FORMAT; arrays and tuples are lists, maps are dicts."""
        asked = {"default_format": "JSONCompactEachRow", **_ROWS, **params}
        return [tuple(json.loads(line)) for line in _lines(self.execute(sql, b"", user="", **asked))]

    def requests(self) -> list[dict[str, Any]]:
        """Return the log: method, path, params, body_bytes, user, statement, status and delayed of each."""
        found: list[dict[str, Any]] = json.loads(self._request("GET", "/__requests__"))
        return found

    def wait_for(self, wanted: Callable[[dict[str, Any]], bool], seconds: float = 30) -> dict[str, Any]:
        """Return the first request in the log that is ``wanted``, as soon as there is one."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = next(filter(wanted, self.requests()), None)
            if found:
                return found
            time.sleep(0.01)
        raise AssertionError(f"no such request within {seconds} s; there were {self.requests()}")

    def reset(self) -> None:
        """Forget the log, the delay and failures to come."""
        self._request("POST", "/__reset__")

    def delay(self, seconds: float) -> None:
        """Let every INSERT take that long; `reset` ends it, also for those that wait already."""
        self._request("POST", f"/__delay__?seconds={seconds}")

    def fail(self, status: int = 503, count: int = 1, *, after: bool = False, keyword: str = "") -> None:
        """Answer the next ``count`` requests with ``status``; 0 closes the connection instead.

        ``after`` runs the statement first, so that it is stored and only the answer is lost; ``keyword``, in
        upper case, limits it to statements that begin with that word.
        """
        params = urlencode({"status": status, "count": count, "after": int(after), "keyword": keyword})
        self._request("POST", f"/__fail__?{params}")

    def _request(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
        with contextlib.closing(_connection(self._address)) as connection:
            connection.request(method, self._address.path.rstrip("/") + path, body, headers or {})
            response = connection.getresponse()
            answer = response.read()
        if response.status != http.client.OK:
            code = int(response.headers.get("X-ClickHouse-Exception-Code") or 0)
            raise ServerAnswer(response.status, code, answer.decode("utf-8", "replace").strip())
        return answer


def _lines(answer: bytes) -> list[str]:
    return [line.decode("utf-8", "surrogateescape") for line in answer.splitlines()]


def _connection(address: SplitResult) -> http.client.HTTPConnection:
    secure = address.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    return kind(address.hostname or "", address.port or (8443 if secure else 8123), timeout=60)


def at_url(url: str) -> ClickHouse:
    """Describe a server that runs elsewhere; user and password may stand in the URL."""
    address = urlsplit(url)
    bare = address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()
    user, password = unquote(address.username or "default"), unquote(address.password or "")
    return ClickHouse(bare, user, password, controllable=False)


@contextlib.contextmanager
def running_clickhouse(directory: Path, env: dict[str, str] | None = None) -> Iterator[ClickHouse]:
    """Run a server of our own with its data in ``directory``, in the environment ``env`` (default: ours)."""
    command = [sys.executable, "-m", f"{PACKAGE}.clickhouse", "--path", str(directory / "data")]
    log = directory / "server.log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            [*command, "--password", PASSWORD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=ROOT,
            env=env,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            ready = process.stdout.readline()
            assert ready, f"the test server did not start:\n{log.read_text()}"
            url = f"http://127.0.0.1:{json.loads(ready)['port']}"
            yield ClickHouse(url, "default", PASSWORD, controllable=True)
        finally:
            process.terminate()


def embedded_query(path: str | Path, sql: str) -> list[dict[str, Any]]:
    """Return the rows of ``sql`` from the embedded database at ``path``, read by a process of its own.

    A directory serves one process at a time: whoever wrote must have closed it.
    """
    command = [sys.executable, "-m", f"{PACKAGE}.embedded", str(path), sql]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    return [json.loads(line) for line in _lines(done.stdout)]
