"""Where results go, as a URL names it: a ClickHouse server, an embedded database or an OTLP endpoint.

No error repeats the text it is about: in a mistyped URL a password can stand anywhere. ``redact`` says what
of a URL may be shown.
"""

from __future__ import annotations

import ipaddress
import os
import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from pytest_test_observer._setting import is_unicode

if TYPE_CHECKING:
    from pytest_test_observer._settings import Settings

CLICKHOUSE_FORMS = (
    "host, host:port, [v6]:port, http://..., https://..., chdb:///absolute/path, chdb://relative/path or chdb://memory"
)
OTLP_FORMS = "http://host[:port][/path], https://host[:port][/path] or host:port"
MEMORY = ":memory:"

_DEFAULT_PORTS = {"http": 8123, "https": 8443}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# A host can be called so as well, with a port after the colon.
_LACKS_SLASHES = re.compile(r"(?i)(chdb|https?):(?![0-9]+(?:/|$))")
_PORT = re.compile(r"[0-9]{1,5}")
# Letters of any alphabet are left to the resolver (IDN); of ASCII only what host names are made of.
_BAD_IN_HOST = re.compile(r"[\x00-,/:-@\[-^`{-\x7f]|\s|^\.|\.\.")
_ADDRESS_TO_SHOW = re.compile(r"[^:\[\]]*(:[0-9]*)?|\[[^\[\]]*\](:[0-9]*)?|[0-9A-Fa-f:.]+")


class ClickHouseTarget(NamedTuple):
    """A parsed ``ch_url``.

    ``path`` is the absolute directory of an embedded database, or ``:memory:``; the other fields are a
    server's. ``user`` and ``password`` come from the URL, percent-decoded, None where it has none.
    ``url_path`` begins with ``/`` or is empty.
    """

    embedded: bool
    path: str = ""
    host: str = ""
    port: int = 0
    tls: bool = False
    url_path: str = ""
    user: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"ClickHouseTarget({self.label!r})"

    @property
    def label(self) -> str:
        """How messages name the target: a ``ch_url`` that leads there, without user and password."""
        if self.embedded:
            return "chdb://" + ("memory" if self.path == MEMORY else self.path)
        return f"{'https' if self.tls else 'http'}://{_bracketed(self.host)}:{self.port}{self.url_path}"


class OtlpEndpoint(NamedTuple):
    """A parsed ``otlp_endpoint``.

    ``scheme`` is ``http``, ``https`` or empty for the plain ``host:port`` of gRPC; ``port`` is None where the
    URL has none; ``user`` and ``password`` as in ``ClickHouseTarget``.
    """

    scheme: str
    host: str
    port: int | None
    url_path: str = ""
    user: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"OtlpEndpoint({self.label!r})"

    @property
    def label(self) -> str:
        """The endpoint without user and password: what exporters are given and messages show."""
        prefix = f"{self.scheme}://" if self.scheme else ""
        port = "" if self.port is None else f":{self.port}"
        return f"{prefix}{_bracketed(self.host)}{port}{self.url_path}"


def parse_clickhouse(text: str, base: str = "") -> ClickHouseTarget:
    """Parse a ``ch_url``; a relative ``chdb://`` path starts at ``base``, else at the working directory.

    Raises ``ValueError`` with a sentence that says what is wrong and what is accepted.
    """
    try:
        return _clickhouse(text, base)
    except _UrlError as problem:
        raise ValueError(f"{problem}; accepted: {CLICKHOUSE_FORMS}") from None


def parse_otlp(text: str) -> OtlpEndpoint:
    """Parse an ``otlp_endpoint``. Raises ``ValueError`` like ``parse_clickhouse``."""
    try:
        return _otlp(text)
    except _UrlError as problem:
        raise ValueError(f"{problem}; accepted: {OTLP_FORMS}") from None


def credentials(settings: Settings) -> tuple[str, str]:
    """Return ClickHouse user and password: each the explicit setting, else the URL's, else the default."""
    target = parse_clickhouse(settings.ch_url)
    user = target.user if settings.sources["ch_user"] == "default" else None
    password = target.password if settings.sources["ch_password"] == "default" else None  # noqa: S105
    return user or settings.ch_user, password or settings.ch_password


def redact(text: str) -> str:
    """Return what of a URL, however mistyped, may be shown: nothing that can belong to a user or password."""
    scheme, rest = _scheme(text)
    prefix = f"{scheme}://" if scheme else ""
    shown, mark, _ = re.sub(r"[?#]", "\0", rest).partition("\0")
    if "@" in rest:
        return prefix + ("***" if mark else "***@" + shown.rpartition("@")[2])
    if not _ADDRESS_TO_SHOW.fullmatch(shown.partition("/")[0]):
        return prefix + "***"
    return prefix + shown + ("***" if mark else "")


class _UrlError(Exception):
    """What is wrong with a URL, without what is accepted instead."""


def _clickhouse(text: str, base: str) -> ClickHouseTarget:
    scheme, rest = _scheme(text)
    _check_characters(rest, spaces=scheme == "chdb")
    lacking = "" if scheme else _LACKS_SLASHES.match(rest)
    if lacking:
        raise _UrlError(f"it lacks slashes, {lacking[1].lower()}:// is written with two")
    if scheme == "chdb":
        return ClickHouseTarget(embedded=True, path=_database_path(rest, base))
    _check_scheme(scheme)
    server = _server(rest)
    port = server.port or _DEFAULT_PORTS[scheme or "http"]
    return ClickHouseTarget(
        False, "", server.host, port, scheme == "https", server.url_path, server.user, server.password
    )


def _otlp(text: str) -> OtlpEndpoint:
    scheme, rest = _scheme(text)
    _check_characters(rest)
    _check_scheme(scheme)
    server = _server(rest)
    if not scheme and (server.port is None or server.url_path):
        raise _UrlError("without http:// or https:// it is a host and a port, and no path")
    return OtlpEndpoint(scheme, *server)


def _scheme(text: str) -> tuple[str, str]:
    """Split off the lower-cased scheme, empty where there is none."""
    match = _SCHEME.match(text)
    return (match[1].lower(), text[match.end() :]) if match else ("", text)


def _check_scheme(scheme: str) -> None:
    if scheme and scheme not in _DEFAULT_PORTS:
        raise _UrlError("its scheme is none of these")


def _check_characters(text: str, *, spaces: bool = False) -> None:
    if text != text.strip() or any(not c.isprintable() or (c.isspace() and not spaces) for c in text):
        raise _UrlError("it holds whitespace or control characters")


def _database_path(rest: str, base: str) -> str:
    if rest in ("memory", MEMORY):
        return MEMORY
    if not rest:
        raise _UrlError("it names no path")
    if not rest.startswith("/") and "@" in rest:
        raise _UrlError("an embedded database has no user")
    path = os.path.normpath(os.path.join(base or os.getcwd(), rest))
    # The engine cuts the path there and opens another directory; '#' is a letter of a file name to it.
    if "?" in path:
        raise _UrlError("the path of an embedded database cannot hold '?'")
    if not is_unicode(path):
        raise _UrlError("the path of the directory that it starts at holds bytes that are no UTF-8")
    return path


class _Server(NamedTuple):
    host: str
    port: int | None
    url_path: str
    user: str | None
    password: str | None


def _server(rest: str) -> _Server:
    authority, slash, url_path = rest.partition("/")
    if "?" in rest or "#" in rest:
        raise _UrlError("it has a query or fragment (in a user or password '?' is written %3F and '#' %23)")
    if "@" in url_path:
        raise _UrlError("it has '@' after a '/' (in a user or password '/' is written %2F)")
    userinfo, _, address = authority.rpartition("@")
    user, password = _user_and_password(userinfo)
    host, port = _host_and_port(address)
    return _Server(host, port, (slash + url_path).rstrip("/"), user, password)


def _user_and_password(userinfo: str) -> tuple[str | None, str | None]:
    user, colon, password = userinfo.partition(":")
    try:
        return unquote(user, errors="strict") or None, unquote(password, errors="strict") if colon else None
    except UnicodeDecodeError:
        raise _UrlError("the percent-encoding of its user or password is not UTF-8") from None


def _host_and_port(address: str) -> tuple[str, int | None]:
    if address.startswith("["):
        host, closed, tail = address[1:].partition("]")
        if not closed or (tail and not tail.startswith(":")):
            raise _UrlError("the brackets of its IPv6 address are not in order")
        return _v6(host.replace("%25", "%")), _port(tail[1:]) if tail else None
    if address.count(":") > 1:
        return _v6(address), None
    host, colon, port = address.partition(":")
    if not host:
        raise _UrlError("it names no host")
    if _BAD_IN_HOST.search(host):
        raise _UrlError("its host name holds characters that host names cannot have")
    return host, _port(port) if colon else None


def _v6(host: str) -> str:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        raise _UrlError("its IPv6 address is none") from None
    return host


def _port(text: str) -> int:
    if not _PORT.fullmatch(text) or not 0 < int(text) < 65536:
        raise _UrlError("its port is not a number from 1 to 65535")
    return int(text)


def _bracketed(host: str) -> str:
    return f"[{host.replace('%', '%25')}]" if ":" in host else host
