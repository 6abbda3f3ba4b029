"""What every server of the tests needs: loopback, threads that end with it, keep-alive, a quiet terminal."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class LoopbackServer(socketserver.ThreadingTCPServer):
    """A threaded server on 127.0.0.1 that does not complain about clients that hang up.

    ``port`` 0 takes a free one; ``handler`` is called as `socketserver` does, with itself as ``server``.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, handler: type[socketserver.BaseRequestHandler]) -> None:
        super().__init__(("127.0.0.1", port), handler)
        self.port: int = self.server_address[1]
        self._open: set[object] = set()

    def process_request_thread(self, request: object, client_address: object) -> None:
        """Serve one connection in its own thread."""
        self._open.add(request)
        super().process_request_thread(request, client_address)  # type: ignore[arg-type]
        self._open.discard(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Report what is a fault of the server itself."""
        if not isinstance(sys.exc_info()[1], (OSError, ValueError)):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Serve for the length of a block, then close all connections."""
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.shutdown()
            thread.join()
            self._hang_up()
            self.server_close()

    def _hang_up(self) -> None:
        for connection in list(self._open):
            assert isinstance(connection, socket.socket)
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class WholeBodyHandler(BaseHTTPRequestHandler):
    """Reads the whole body of a GET or POST, then calls `respond`; answers carry their length."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        """Serve a GET."""
        self._serve()

    def do_POST(self) -> None:
        """Serve a POST."""
        self._serve()

    def log_message(self, *_: object) -> None:
        """Keep the terminal free."""

    def respond(self, body: bytes) -> None:
        """Answer a request whose body has arrived."""
        raise NotImplementedError

    def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        """Send one whole answer."""
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _serve(self) -> None:
        body = self._read_body()
        if body is None:
            self.close_connection = True
        else:
            self.respond(body)

    def _read_body(self) -> bytes | None:
        """Read the whole body; None when the client went away before its end."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return self._read_chunks()
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        return body if len(body) == length else None

    def _read_chunks(self) -> bytes | None:
        chunks: list[bytes] = []
        while line := self.rfile.readline():
            size = int(line.split(b";")[0], 16)
            chunk = self.rfile.read(size + 2)
            if len(chunk) < size + 2:
                return None
            if size == 0:
                return b"".join(chunks)
            chunks.append(chunk[:-2])
        return None
