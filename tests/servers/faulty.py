"""Servers with one fault each, on loopback, in threads of the test's process.

``with faulty("503") as server:`` gives a server with a ``url``; `KINDS` lists them. They end with the
block, whatever their clients do. Those that fail before they would speak HTTP fit any protocol.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import struct
import threading
from typing import TYPE_CHECKING

from ._loopback import LoopbackServer
from ._proxy import Proxy, Received, read_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Behaviour = Callable[["Faulty", socket.socket], None]

SLOW_SECONDS = 0.4
DRIP_SECONDS = 0.2


class Faulty:
    """A faulty server while it runs; its string form is its URL.

    ``requests`` is what arrived here, ``followed`` what arrived where a redirect pointed to.
    """

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[Received] = []
        self.followed: list[Received] = []
        self.ended = threading.Event()

    @property
    def url(self) -> str:
        """Address of the server, for ``--ch-url`` and ``--otlp-endpoint``."""
        return f"http://127.0.0.1:{self.port}"

    def __str__(self) -> str:
        return self.url


def _receive(server: Faulty, connection: socket.socket) -> bool:
    """Read one request and keep it; False when the client left before."""
    with connection.makefile("rb") as stream:
        request = read_request(stream)
    if request:
        server.requests.append(request)
    return request is not None


def _drain(connection: socket.socket) -> None:
    while connection.recv(65_536):
        pass


def _answering(answer: bytes) -> Behaviour:
    def answer_and_close(server: Faulty, connection: socket.socket) -> None:
        if _receive(server, connection):
            connection.sendall(answer)

    return answer_and_close


def _message(status: str, body: str, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "Connection: close", "", body]
    return "\r\n".join(lines).encode()


def _silent(server: Faulty, connection: socket.socket) -> None:
    if _receive(server, connection):
        _drain(connection)


def _closing(server: Faulty, connection: socket.socket) -> None:
    """Leave at once; the caller closes the connection."""


def _closing_after_request(server: Faulty, connection: socket.socket) -> None:
    _receive(server, connection)


def _resetting(server: Faulty, connection: socket.socket) -> None:
    _receive(server, connection)
    # Closing with a linger time of 0 sends a reset instead of an orderly end.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _half_closed(server: Faulty, connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_WR)
    _drain(connection)


def _dripping(at_once: bytes, byte_by_byte: bytes) -> Behaviour:
    def drip(server: Faulty, connection: socket.socket) -> None:
        _receive(server, connection)
        connection.sendall(at_once)
        position = 0
        while not server.ended.wait(DRIP_SECONDS):
            connection.sendall(byte_by_byte[position : position + 1] or b"a")
            position += 1

    return drip


_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=UTF-8\r\n"
_BEHAVIOURS: dict[str, Behaviour] = {
    "503": _answering(_message("503 Service Unavailable", "Service Unavailable")),
    "401": _answering(_message("401 Unauthorized", "Unauthorized", 'WWW-Authenticate: Basic realm="proxy"')),
    "html": _answering(_message("200 OK", "<html><body>Log in</body></html>", "Content-Type: text/html")),
    "garbage": _answering(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "truncated": _answering(_HEAD + b"Content-Length: 1000\r\n\r\nonly this"),
    "silent": _silent,
    "closing": _closing,
    "closing-after-request": _closing_after_request,
    "resetting": _resetting,
    "half-closed": _half_closed,
    "dripping": _dripping(b"", _HEAD + b"X-ClickHouse-Summary: "),
    "dripping-body": _dripping(_HEAD + b"Content-Length: 1000000\r\n\r\n", b""),
}


@contextlib.contextmanager
def _serving(server: Faulty, behaviour: Behaviour) -> Iterator[None]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            behaviour(server, self.request)

    tcp = LoopbackServer(0, Handler)
    server.port = tcp.port
    with tcp.running():
        try:
            yield
        finally:
            server.ended.set()


@contextlib.contextmanager
def _refusing(server: Faulty) -> Iterator[None]:
    # Bound but not listening: connections are refused and nobody else gets the port.
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        server.port = reserved.getsockname()[1]
        yield


@contextlib.contextmanager
def _hanging(server: Faulty) -> Iterator[None]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        server.port = listener.getsockname()[1]
        yield


@contextlib.contextmanager
def _unconnectable(server: Faulty) -> Iterator[None]:
    # A full queue of connections: the kernel drops further ones, so that connecting itself hangs.
    with socket.socket() as listener, socket.socket() as first:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        server.port = listener.getsockname()[1]
        first.connect(("127.0.0.1", server.port))
        yield


@contextlib.contextmanager
def _redirecting(server: Faulty, status: str) -> Iterator[None]:
    target = Faulty()
    target.requests = server.followed
    with _serving(target, _answering(_message("200 OK", "Ok.\n"))):
        location = f"Location: {target.url}/elsewhere"
        with _serving(server, _answering(_message(status, "", location))):
            yield


@contextlib.contextmanager
def _slow(server: Faulty, target: str) -> Iterator[None]:
    def wait(request: Received) -> None:
        server.requests.append(request)
        server.ended.wait(SLOW_SECONDS)

    proxy = Proxy(target, wait)
    server.port = proxy.port
    with proxy.running():
        try:
            yield
        finally:
            server.ended.set()


_WITHOUT_BEHAVIOUR: dict[str, Callable[[Faulty], contextlib.AbstractContextManager[None]]] = {
    "refusing": _refusing,
    "hanging": _hanging,
    "unconnectable": _unconnectable,
    "redirect-302": lambda server: _redirecting(server, "302 Found"),
    "redirect-307": lambda server: _redirecting(server, "307 Temporary Redirect"),
}
KINDS = (*_WITHOUT_BEHAVIOUR, *_BEHAVIOURS)
"""Every fault that needs no server behind it; ``slow`` is the one that does."""


@contextlib.contextmanager
def faulty(kind: str, target: str = "") -> Iterator[Faulty]:
    """Run a server with the fault ``kind`` (one of `KINDS`, or ``slow``) for the length of a block.

    ``slow`` passes requests on to the server at the URL ``target``, each after `SLOW_SECONDS`.
    """
    server = Faulty()
    if kind == "slow":
        context: contextlib.AbstractContextManager[None] = _slow(server, target)
    elif kind in _WITHOUT_BEHAVIOUR:
        context = _WITHOUT_BEHAVIOUR[kind](server)
    else:
        context = _serving(server, _BEHAVIOURS[kind])
    with context:
        yield server
