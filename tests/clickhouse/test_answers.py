"""The ClickHouse destination and what it is answered: by a server, by others, or not at all."""

from __future__ import annotations

import base64
import ssl
from importlib.metadata import version

import msgspec
import pytest
from urllib3.exceptions import SSLError

from pytest_test_observer._destinations import Answer
from pytest_test_observer._destinations._answers import reply_to, shorten, without_secrets
from pytest_test_observer._destinations._http import _broken
from pytest_test_observer._destinations.clickhouse import ClickHouseDestination
from pytest_test_observer._destinations.settings import ClickHouseSettings
from tests.clickhouse.kit import Place, batch, row
from tests.servers._proxy import Proxy, Received
from tests.servers.faulty import faulty
from tests.servers.otlp import CERTIFICATE, receiving

CLIENT = tuple(map(int, version("clickhouse-connect").split(".")[:2]))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"password": "wrong-password"}, "--ch-password"),
        ({"user": "nobody-here"}, "--ch-user"),
        ({"database": "no_such_db"}, "--ch-db"),
        ({"url_path": "/elsewhere"}, "--ch-url"),
    ],
)
def test_what_somebody_must_change_is_named_and_no_secret_shown(
    ours: Place, changes: dict[str, str], named: str
) -> None:
    reply = ours.destination(**changes).prepare()
    assert (reply.answer, reply.fatal) == (Answer.UNAVAILABLE, True)
    assert named in reply.message
    assert changes.get("password", ours.server.password) not in reply.message


def test_a_missing_grant_is_named(ours: Place) -> None:
    ours.destination().prepare()
    reply = ours.destination(user="reader").send(batch([row()]))
    assert (reply.answer, reply.fatal) == (Answer.UNAVAILABLE, True)
    assert "GRANT INSERT" in reply.message


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (0, Answer.IN_DOUBT),
        (429, Answer.UNAVAILABLE),
        (500, Answer.IN_DOUBT),
        (502, Answer.IN_DOUBT),
        (503, Answer.UNAVAILABLE),
        (504, Answer.IN_DOUBT),
        (413, Answer.REFUSED),
        (404, Answer.UNAVAILABLE),
    ],
)
def test_an_insert_is_tried_once_and_its_failure_says_whether_it_may_be_stored(
    ours: Place, status: int, answer: Answer
) -> None:
    destination = ours.destination()
    destination.prepare()
    ours.server.reset()
    ours.server.fail(status, keyword="INSERT")
    assert destination.send(batch([row()])).answer is answer
    assert len(ours.server.requests()) == 1
    assert destination.send(batch([row()])).answer is Answer.TAKEN


def test_a_batch_whose_answer_was_lost_is_stored_once_when_it_is_sent_again(ours: Place) -> None:
    destination = ours.destination()
    destination.prepare()
    ours.server.fail(0, after=True, keyword="INSERT")
    assert destination.send(batch([row()])).answer is Answer.IN_DOUBT
    assert destination.send(batch([row()])).answer is Answer.TAKEN
    assert ours.count() == 1


def test_a_server_that_takes_too_long_leaves_the_batch_in_doubt(ours: Place) -> None:
    destination = ours.destination(read_timeout_s=1)
    destination.prepare()
    ours.server.delay(30)
    reply = destination.send(batch([row()]))
    assert (reply.answer, reply.message) == (Answer.IN_DOUBT, "no answer within 1 s")


@pytest.mark.parametrize(
    ("kind", "fatal", "part"),
    [
        ("refusing", False, "cannot connect (Connection refused)"),
        ("unconnectable", False, "nothing answered within 1 s"),
        ("silent", False, "no answer within 1 s"),
        ("redirect-302", True, "give the final address in --ch-url"),
        ("redirect-307", True, "give the final address in --ch-url"),
        ("503", False, "HTTP 503"),
        ("401", True, "--ch-password"),
        ("html", True, "not ClickHouse"),
        ("garbage", False, "connection broke"),
        ("truncated", False, "connection broke"),
        ("closing", False, "connection broke"),
        ("resetting", False, "Connection reset by peer"),
    ],
)
def test_whatever_answers_instead_of_clickhouse_is_asked_once_and_told_apart(kind: str, fatal: bool, part: str) -> None:
    with faulty(kind) as server:
        settings = ClickHouseSettings(
            host="127.0.0.1", port=server.port, password="geheimnis", connect_timeout_s=1, read_timeout_s=1
        )
        reply = ClickHouseDestination(settings).prepare()
        assert (reply.answer, reply.fatal) == (Answer.UNAVAILABLE, fatal)
        assert part in reply.message
        assert len(server.requests) <= 1
        assert server.followed == []


def test_https_to_a_server_without_it_says_so(ours: Place) -> None:
    reply = ours.destination(tls=True).prepare()
    assert reply.answer is Answer.UNAVAILABLE
    assert "https" in reply.message or "encrypted" in reply.message


@pytest.mark.parametrize("host", ["0.0.0.0", "127.1"])
def test_a_certificate_for_another_name_is_told_from_one_of_nobody(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    with receiving(tls=True) as server:
        settings = ClickHouseSettings(host=host, port=server.http_port, tls=True)
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        assert "SSL_CERT_FILE" in ClickHouseDestination(settings).prepare().message
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        reply = ClickHouseDestination(settings).prepare()
    assert (reply.answer, reply.fatal) == (Answer.UNAVAILABLE, True)
    assert "another name" in reply.message
    assert "--ch-url" in reply.message


def test_a_certificate_that_has_expired_is_told_from_one_of_nobody() -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed: certificate has expired (_ssl.c:1006)")
    error.verify_code = 10
    reply = _broken(SSLError(error))
    assert (reply.answer, reply.fatal) == (Answer.UNAVAILABLE, True)
    assert "of another time (certificate has expired)" in reply.message


def test_a_host_that_cannot_be_found_is_certainly_not_reached() -> None:
    reply = ClickHouseDestination(ClickHouseSettings(host="nowhere.invalid")).prepare()
    assert reply.answer is Answer.UNAVAILABLE
    assert "--ch-url" in reply.message


@pytest.mark.skipif(CLIENT < (1, 9), reason="clickhouse-connect leaves out the path before 1.9")
def test_a_proxy_of_the_environment_is_used(ours: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[Received] = []
    proxy = Proxy(ours.server.url, requests.append)
    with proxy.running():
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert ours.destination().prepare().answer is Answer.TAKEN
        assert requests[0].line.startswith(f"POST http://{ours.server.host}:{ours.server.port}/")


def through(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    """Name a proxy for the test; none is left out."""
    monkeypatch.setenv("http_proxy", proxy)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_a_proxy_gets_the_user_and_password_of_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with faulty("503") as proxy:
        through(monkeypatch, f"http://us%20er:p%40ss%3Aw%C3%B6@127.0.0.1:{proxy.port}")
        ClickHouseDestination(ClickHouseSettings(host="clickhouse.invalid")).prepare()
    wanted = base64.b64encode("us er:p@ss:wö".encode()).decode()
    assert [request.headers.get("proxy-authorization") for request in proxy.requests] == [f"Basic {wanted}"]


@pytest.mark.parametrize("proxy", ["socks5://u:geheimnis@h:1080", "http://[::1", "u:geheimnis@h:x", "http://"])
def test_a_proxy_that_cannot_be_used_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    through(monkeypatch, proxy)
    reply = ClickHouseDestination(ClickHouseSettings(host="clickhouse.invalid")).prepare()
    assert (reply.answer, reply.fatal) == (Answer.UNAVAILABLE, True)
    assert "http_proxy of the environment" in reply.message
    assert "geheimnis" not in reply.message


@pytest.mark.skipif(CLIENT < (1, 3), reason="clickhouse-connect sends a name of its own before 1.3")
def test_a_user_with_a_colon_is_told_from_the_password() -> None:
    with faulty("503") as server:
        ClickHouseDestination(
            ClickHouseSettings(host="127.0.0.1", port=server.port, user="team:ci", password="p:ä中")
        ).prepare()
    (request,) = server.requests
    assert "authorization" not in request.headers
    names = ("x-clickhouse-user", "x-clickhouse-key")
    assert [request.headers[name].encode("latin-1").decode() for name in names] == ["team:ci", "p:ä中"]


@pytest.mark.parametrize("user", ["team:ci", "ci"])
def test_a_line_feed_behind_a_password_shows_nothing_of_it(user: str) -> None:
    with faulty("503") as server:
        settings = ClickHouseSettings(host="127.0.0.1", port=server.port, user=user, password="gehäim\n")
        reply = ClickHouseDestination(settings).prepare()
    assert reply.answer is Answer.UNAVAILABLE
    assert "geh" not in reply.message


class ServerError(Exception):
    """As clickhouse-connect raises it."""


@pytest.mark.parametrize(
    ("text", "answer", "part"),
    [
        (
            "Code: 252. DB::Exception: Too many parts (300). Merges are slow. (TOO_MANY_PARTS)",
            Answer.UNAVAILABLE,
            "merge",
        ),
        ("Code: 252. DB::Exception: Too many partitions for single INSERT block", Answer.REFUSED, "months"),
        ("Code: 241. DB::Exception: Memory limit (total) exceeded", Answer.UNAVAILABLE, "out of memory"),
        ("Code: 243. DB::Exception: Cannot reserve 1 MiB", Answer.UNAVAILABLE, "disk is full"),
        ("Code: 159. DB::Exception: Timeout exceeded", Answer.IN_DOUBT, "gave up"),
        ("Code: 164. DB::Exception: Cannot execute query in readonly mode", Answer.UNAVAILABLE, "read-only"),
        (
            (
                "Code: 497. DB::Exception: u: Not enough privileges. To execute this query, it's necessary "
                "to have the grant INSERT(run_id, line) ON db.pytest_results. (ACCESS_DENIED) (version 25.3)"
            ),
            Answer.UNAVAILABLE,
            "GRANT INSERT ON db.pytest_results",
        ),
        ("Code: 7777. DB::Exception: Something new", Answer.IN_DOUBT, "Something new"),
        ("list index out of range", Answer.IN_DOUBT, "not understood"),
    ],
)
def test_errors_of_clickhouse_are_translated(text: str, answer: Answer, part: str) -> None:
    reply = reply_to(ServerError(text))
    assert reply.answer is answer
    assert part in reply.message
    assert "version" not in reply.message


def test_an_answer_that_repeats_the_password_is_not_passed_on_as_it_is() -> None:
    assert without_secrets("denied: Basic Z2Vo, geheimnis!", ("geheimnis", "Z2Vo")) == "denied: Basic ***, ***!"


def test_settings_do_not_show_their_password() -> None:
    settings = ClickHouseSettings(password="geheimnis")
    assert "geheimnis" not in f"{settings!r} {settings}"
    assert msgspec.json.decode(msgspec.json.encode(settings), type=ClickHouseSettings) == settings


def test_what_a_server_says_cannot_write_to_the_terminal() -> None:
    assert shorten("HTTP 502:\x1b[2J gone\x9b31m\x07\nfor now") == "HTTP 502: [2J gone 31m for now"
