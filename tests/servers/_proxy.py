"""A proxy that lets a test look at each request, and the form in which servers of the tests keep requests."""

from __future__ import annotations

import contextlib
import http.client
from typing import TYPE_CHECKING, BinaryIO, NamedTuple
from urllib.parse import urlsplit

from ._loopback import LoopbackServer, WholeBodyHandler

if TYPE_CHECKING:
    from collections.abc import Callable


class Received(NamedTuple):
    """A whole request: ``line`` is its first line, names of ``headers`` are in lower case."""

    line: str
    headers: dict[str, str]
    body: bytes


def read_request(stream: BinaryIO) -> Received | None:
    """Read one HTTP request with its body; None when the client left before."""
    line = stream.readline(65_537)
    if not line.strip():
        return None
    headers = {name.lower(): value for name, value in http.client.parse_headers(stream).items()}
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return Received(line.decode("latin-1").strip(), headers, b"".join(iter(lambda: _read_chunk(stream), b"")))
    body = stream.read(int(headers.get("content-length", 0)))
    return Received(line.decode("latin-1").strip(), headers, body)


def _read_chunk(stream: BinaryIO) -> bytes:
    size = int(stream.readline(100).split(b";")[0] or b"0", 16)
    return stream.read(size + 2)[:size]


class Proxy(LoopbackServer):
    """Passes each request to the server at the URL ``target`` after ``before`` has returned."""

    def __init__(self, target: str, before: Callable[[Received], None]) -> None:
        super().__init__(0, _Handler)
        self.before = before
        self.target = urlsplit(target).netloc


class _Handler(WholeBodyHandler):
    server: Proxy

    def respond(self, body: bytes) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.before(Received(self.requestline, headers, body))
        status, answered, answer = self._forward(headers, body)
        self.send(status, answer, answered)

    def _forward(self, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        with contextlib.closing(http.client.HTTPConnection(self.server.target)) as upstream:
            kept = {name: value for name, value in headers.items() if name != "transfer-encoding"}
            upstream.request(self.command, self.path, body, {**kept, "content-length": str(len(body))})
            response = upstream.getresponse()
            answered = {name: value for name, value in response.getheaders() if name not in {"Server", "Date"}}
            return response.status, answered, response.read()
