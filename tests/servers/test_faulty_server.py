"""Each faulty server has its fault, and ends with its block whatever its clients do."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from .client import ClickHouse, ServerAnswer
from .faulty import DRIP_SECONDS, KINDS, SLOW_SECONDS, Faulty, faulty
from .fixtures import clickhouse_server  # noqa: F401 - a fixture

# What a patient client has to wait for before it may say that nothing comes.
PATIENCE = 0.3
BODY = b'{"id":1}'


class Exchange(NamedTuple):
    status: int
    location: str
    body: bytes


def request(server: Faulty | int, timeout: float = 10) -> Exchange:
    port = server if isinstance(server, int) else server.port
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)) as connection:
        connection.request("POST", "/?query=INSERT", BODY, {"Authorization": "Basic c2VjcmV0"})
        answer = connection.getresponse()
        return Exchange(answer.status, answer.headers.get("Location", ""), answer.read())


def dial(server: Faulty, timeout: float = PATIENCE) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=timeout)


@pytest.mark.parametrize("kind", KINDS)
def test_every_fault_ends_with_its_block_although_a_client_stays(kind: str) -> None:
    before = threading.active_count()
    with faulty(kind) as server:
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", server.port))
    client.close()
    for thread in threading.enumerate()[before:]:
        thread.join(10)
    assert threading.active_count() == before
    with pytest.raises(OSError, match="refused"):
        dial(server)


@pytest.mark.parametrize(
    ("kind", "status", "body"),
    [("503", 503, b"Service Unavailable"), ("401", 401, b"Unauthorized"), ("html", 200, b"<html>")],
)
def test_an_answer_comes_whole_and_the_request_is_kept(kind: str, status: int, body: bytes) -> None:
    with faulty(kind) as server:
        answer = request(server)
        assert (answer.status, answer.body[: len(body)]) == (status, body)
    assert [(r.line, r.body) for r in server.requests] == [("POST /?query=INSERT HTTP/1.1", BODY)]


@pytest.mark.parametrize("kind", ["redirect-302", "redirect-307"])
def test_a_redirect_tells_whether_it_was_followed_with_the_credentials(kind: str) -> None:
    with faulty(kind) as server:
        answer = request(server)
        assert answer.status == int(kind[-3:])
        assert server.followed == []
        assert request(urlsplit(answer.location).port or 0).status == 200
    assert [r.headers["authorization"] for r in server.followed] == ["Basic c2VjcmV0"]
    assert len(server.requests) == 1


def test_refusing_refuses() -> None:
    with faulty("refusing") as server, pytest.raises(ConnectionRefusedError):
        dial(server)


def test_unconnectable_never_connects() -> None:
    with faulty("unconnectable") as server, pytest.raises(TimeoutError):
        dial(server)


@pytest.mark.parametrize("kind", ["hanging", "silent"])
def test_no_answer_ever_comes(kind: str) -> None:
    with faulty(kind) as server, pytest.raises(TimeoutError):
        request(server, PATIENCE)
    assert len(server.requests) == (kind == "silent")


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("closing-after-request", http.client.RemoteDisconnected),
        ("resetting", ConnectionResetError),
        ("garbage", http.client.BadStatusLine),
    ],
)
def test_the_answer_is_no_http(kind: str, error: type[Exception]) -> None:
    with faulty(kind) as server, pytest.raises(error):
        request(server)
    assert len(server.requests) == 1


def test_closing_closes_before_anything_is_said() -> None:
    with faulty("closing") as server, dial(server) as connection:
        assert connection.recv(1) == b""


def test_half_closed_ends_its_side_and_still_reads() -> None:
    with faulty("half-closed") as server, dial(server, 10) as connection:
        assert connection.recv(1) == b""
        for _ in range(20):
            connection.sendall(b"x" * 65_536)


def test_truncated_ends_before_its_body_does() -> None:
    with faulty("truncated") as server, pytest.raises(http.client.IncompleteRead):
        request(server)


@pytest.mark.parametrize(("kind", "first"), [("dripping", b"HT"), ("dripping-body", b"aa")])
def test_dripping_sends_a_byte_at_a_time(kind: str, first: bytes) -> None:
    with faulty(kind) as server, dial(server, 10) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        if kind == "dripping-body":
            assert connection.recv(65_536).endswith(b"\r\n\r\n")
        started = time.monotonic()
        assert connection.recv(65_536) + connection.recv(65_536) == first
        assert time.monotonic() - started > DRIP_SECONDS * 0.9


def test_a_slow_way_only_costs_time(clickhouse_server: ClickHouse) -> None:  # noqa: F811
    with faulty("slow", clickhouse_server.url) as server:
        through = ClickHouse(server.url, "default", clickhouse_server.password, controllable=False)
        started = time.monotonic()
        assert through.query("SELECT 'é'") == [("é",)]
        assert time.monotonic() - started > SLOW_SECONDS
        with pytest.raises(ServerAnswer, match="SYNTAX_ERROR") as caught:
            through.execute("SELEC")
        assert (caught.value.status, caught.value.code) == (400, 62)
    assert len(server.requests) == 2
