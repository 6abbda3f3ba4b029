"""HTTP under clickhouse-connect: one attempt, no redirects, and only ClickHouse's own answers are believed.

Import it where a server is used: it loads clickhouse-connect.
"""

from __future__ import annotations

import base64
import logging
import re
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import clickhouse_connect
import urllib3
from clickhouse_connect.driver.httputil import check_env_proxy
from urllib3 import exceptions as failures
from urllib3.util import Url, parse_url

from pytest_test_observer._destinations import Answer, Reply
from pytest_test_observer._destinations._answers import looks_like_html, reason_in, shorten

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clickhouse_connect.driver.client import Client
    from urllib3.response import BaseHTTPResponse

    from pytest_test_observer._destinations.settings import ClickHouseSettings

__all__ = ["ForeignAnswer", "connect"]

# Its warnings repeat what replies say; without a handler they would go to the terminal.
logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())

_EXCEPTION_CODE = "X-ClickHouse-Exception-Code"

_UNAVAILABLE, _IN_DOUBT = Answer.UNAVAILABLE, Answer.IN_DOUBT

# Statuses of what stands in front of ClickHouse; 502 and 504 can come after it has passed the request on.
_STATUSES: dict[int, Reply] = {
    401: Reply(_UNAVAILABLE, "{status}: check --ch-user and --ch-password{said}", fatal=True),
    403: Reply(_UNAVAILABLE, "{status}: check --ch-user and --ch-password{said}", fatal=True),
    407: Reply(_UNAVAILABLE, "the proxy of the environment wants credentials ({status})", fatal=True),
    413: Reply(Answer.REFUSED, "a proxy finds the batch too large ({status})"),
    429: Reply(_UNAVAILABLE, "a proxy asks for patience ({status})"),
    502: Reply(_IN_DOUBT, "a proxy lost the server behind it ({status}){said}"),
    503: Reply(_UNAVAILABLE, "the service is unavailable ({status}){said}"),
    504: Reply(_IN_DOUBT, "a proxy waited in vain for the server behind it ({status}){said}"),
}
_REDIRECT = Reply(
    _UNAVAILABLE,
    "redirects are not followed, they could take credentials elsewhere ({status}): give the final address in --ch-url",
    fatal=True,
)
_FAILED = Reply(_IN_DOUBT, "the server or a proxy before it failed ({status}){said}")
_NOT_CLICKHOUSE = Reply(
    _UNAVAILABLE,
    "what answers there is not ClickHouse's HTTP interface ({status}): check --ch-url{said}",
    fatal=True,
)
_PERHAPS_CLICKHOUSE = _NOT_CLICKHOUSE._replace(answer=_IN_DOUBT)
_NO_TLS = "no https is spoken there ({reason}): check --ch-url"
# The address is not repeated: it can hold a password.
_NO_PROXY = Reply(
    _UNAVAILABLE,
    "the proxy that {scheme}_proxy of the environment names cannot be used: http://host:port or https://host:port is "
    "accepted",
    fatal=True,
)
_NO_HEADER = Reply(
    _UNAVAILABLE,
    "the user's name holds a colon, then it and the password can hold no control character: check --ch-user and "
    "--ch-password",
    fatal=True,
)
_BROKEN_TLS = "the encrypted connection broke ({reason})"
_NOT_TRUSTED = (
    "the server's certificate is not trusted ({reason}): add its authority to this machine's or name it in "
    "SSL_CERT_FILE"
)

# The first row that fits: a subclass stands before its base. Certain is only what fails before sending.
_BREAKS: tuple[tuple[type[failures.HTTPError], Reply], ...] = (
    (failures.ProxyError, Reply(_UNAVAILABLE, "the proxy of the environment does not connect ({reason})")),
    (failures.NameResolutionError, Reply(_UNAVAILABLE, "the host of --ch-url cannot be found ({reason})")),
    (failures.NewConnectionError, Reply(_UNAVAILABLE, "cannot connect ({reason}): check --ch-url")),
    (
        failures.ConnectTimeoutError,
        Reply(_UNAVAILABLE, "nothing answered within {reason} s: check --ch-url"),
    ),
    (failures.LocationValueError, Reply(_UNAVAILABLE, "the address in --ch-url cannot be used", fatal=True)),
    (failures.ReadTimeoutError, Reply(_IN_DOUBT, "no answer within {reason} s")),
    (failures.HTTPError, Reply(_IN_DOUBT, "the connection broke ({reason})")),
)
_TLS_BREAKS: tuple[tuple[type[BaseException], Reply], ...] = (
    (ssl.SSLCertVerificationError, Reply(_UNAVAILABLE, _NOT_TRUSTED, fatal=True)),
    (ssl.SSLEOFError, Reply(_IN_DOUBT, _BROKEN_TLS)),
    (ssl.SSLZeroReturnError, Reply(_IN_DOUBT, _BROKEN_TLS)),
    (BaseException, Reply(_UNAVAILABLE, _NO_TLS, fatal=True)),
)

# What no authority to trust would help against, by OpenSSL's code (X509_V_ERR_…).
_NOT_NOW = "the server's certificate is of another time ({reason}): renew it, or correct this machine's clock"
_OTHER_NAME = "the server's certificate is for another name ({reason}): check --ch-url"
_CERTIFICATES = {9: _NOT_NOW, 10: _NOT_NOW, 62: _OTHER_NAME, 64: _OTHER_NAME}

_SECONDS = re.compile(r"timeout=([\d.]+)")


class ForeignAnswer(failures.HTTPError):
    """No answer of ClickHouse came; ``reply`` says what that means for a batch that was on its way."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.message)
        self.reply = reply


class _OneAttempt(urllib3.PoolManager):
    """A pool that neither repeats nor redirects a request; what ClickHouse did not answer is an error.

    clickhouse-connect repeats an insert after a broken connection when it sees the socket's error as the
    cause; behind a ``ForeignAnswer`` it does not.
    """

    def urlopen(  # type: ignore[override]
        self,
        method: str,
        url: str,
        redirect: bool = True,  # noqa: ARG002 (callers pass it, none may have it)
        **kw: object,
    ) -> BaseHTTPResponse:
        """Send one request; see ``urllib3.PoolManager.urlopen``."""
        kw["retries"] = False
        try:
            response = super().urlopen(method, url, redirect=False, **kw)
        except failures.HTTPError as error:
            raise ForeignAnswer(_broken(error)) from error
        reply = _judged(response)
        if reply is not None:
            response.release_conn()
            raise ForeignAnswer(reply)
        return response


class _OneAttemptThroughProxy(_OneAttempt, urllib3.ProxyManager):
    """The same through a proxy."""


def connect(settings: ClickHouseSettings) -> Client:
    """Connect to a server and learn its version and settings (three requests on one connection)."""
    return clickhouse_connect.get_client(
        interface="https" if settings.tls else "http",
        host=settings.host,
        port=settings.port,
        **_credentials(settings),
        database=settings.database,
        proxy_path=settings.url_path,
        pool_mgr=_pool(settings),
        client_name="pytest-test-observer",
        connect_timeout=settings.connect_timeout_s,
        send_receive_timeout=settings.read_timeout_s,
        query_retries=0,
        # requests of one session exclude each other, and nothing here needs a session
        autogenerate_session_id=False,
    )


def _credentials(settings: ClickHouseSettings) -> dict[str, Any]:
    """Return user and password as the client takes them; a user with a colon needs ClickHouse's own headers.

    Basic authentication ends the name at its first colon.
    """
    if ":" not in settings.user:
        return {"username": settings.user, "password": settings.password}
    named = {"X-ClickHouse-User": settings.user, "X-ClickHouse-Key": settings.password}
    if not "".join(named.values()).isprintable():
        raise ForeignAnswer(_NO_HEADER)  # the error of http.client would repeat the password
    # http.client sends text as Latin-1: these are the bytes of UTF-8
    return {"headers": {name: value.encode().decode("latin-1") for name, value in named.items()}}


def _pool(settings: ClickHouseSettings) -> urllib3.PoolManager:
    scheme = "https" if settings.tls else "http"
    proxy = check_env_proxy(scheme, settings.host, settings.port)
    if not proxy:
        return _OneAttempt(maxsize=1, cert_reqs="CERT_REQUIRED")
    try:
        address = parse_url(proxy if "://" in proxy else f"http://{proxy}")
    except failures.LocationParseError:
        address = Url()
    if address.scheme not in ("http", "https") or not address.host:
        raise ForeignAnswer(_NO_PROXY._replace(message=_NO_PROXY.message.format(scheme=scheme)))
    return _OneAttemptThroughProxy(
        address._replace(auth=None).url, proxy_headers=_authorized(address), maxsize=1, cert_reqs="CERT_REQUIRED"
    )


def _authorized(proxy: Url) -> dict[str, str]:
    """Return the header that user and password of a proxy's address stand for: urllib3 leaves them out."""
    if not proxy.auth:
        return {}
    return {"Proxy-Authorization": f"Basic {base64.b64encode(unquote(proxy.auth).encode()).decode()}"}


def _judged(response: BaseHTTPResponse) -> Reply | None:
    """Return the meaning of an answer that ClickHouse did not give; None for its own, errors included."""
    status = response.status
    if 300 <= status < 400:
        return _filled(_REDIRECT, response)
    if _is_clickhouse(response):
        return None
    # A 200 says that somebody took the request: perhaps something else than what answered at first.
    otherwise = _FAILED if status >= 500 else _NOT_CLICKHOUSE if status >= 400 else _PERHAPS_CLICKHOUSE
    return _filled(_STATUSES.get(status, otherwise), response)


def _is_clickhouse(response: BaseHTTPResponse) -> bool:
    """Success has some header of ClickHouse's, an error its code, which older servers put into the text."""
    if response.status < 300:
        return any(name.lower().startswith("x-clickhouse-") for name in response.headers)
    return _EXCEPTION_CODE in response.headers or "DB::Exception" in _excerpt(response)


def _filled(reply: Reply, response: BaseHTTPResponse) -> Reply:
    body = _excerpt(response)
    said = f": {body[:100]}" if body and not _is_html(response.headers, body) else ""
    return reply._replace(message=shorten(reply.message.format(status=f"HTTP {response.status}", said=said)))


def _excerpt(response: BaseHTTPResponse) -> str:
    try:
        return " ".join(response.data[:1000].decode(errors="replace").split())
    except failures.HTTPError:
        return ""


def _is_html(headers: Mapping[str, str], body: str) -> bool:
    return "html" in headers.get("Content-Type", "") or looks_like_html(body)


def _broken(error: failures.HTTPError) -> Reply:
    """Translate a transport error: what cannot have reached the server, and what may have."""
    if isinstance(error, failures.SSLError):
        origin = error.args[0] if error.args else error
        reply = next(reply for kind, reply in _TLS_BREAKS if isinstance(origin, kind))
        reply = reply._replace(message=_CERTIFICATES.get(getattr(origin, "verify_code", 0), reply.message))
    else:
        reply = next(reply for kind, reply in _BREAKS if isinstance(error, kind))
    return reply._replace(message=shorten(reply.message.format(reason=_reason(error))))


def _reason(error: BaseException) -> str:
    """Return the words of the operating system or of TLS where there are some, the seconds of a time-out."""
    text = f"{error} {error.__cause__ or ''}"
    return reason_in(text, _SECONDS) or type(error.__cause__ or error).__name__
