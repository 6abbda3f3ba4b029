"""What the answers of an OTLP receiver mean for spans: tables from statuses and breaks to replies.

Sources: OpenTelemetry's OTLP specification (1.x), "Failures" of OTLP/gRPC and OTLP/HTTP.
"""

from __future__ import annotations

import re
import ssl
from http.client import BadStatusLine, RemoteDisconnected

import urllib3.exceptions as failures
from grpc import StatusCode  # type: ignore[import-untyped]

from pytest_test_observer._destinations import Answer, Reply
from pytest_test_observer._destinations._answers import looks_like_html, reason_in, shorten

__all__ = [
    "Answered",
    "not_understood",
    "partial",
    "reply_to_break",
    "reply_to_rpc",
    "reply_to_status",
]

_UNAVAILABLE, _IN_DOUBT, _REFUSED = Answer.UNAVAILABLE, Answer.IN_DOUBT, Answer.REFUSED
_SAID_LIMIT = 160
_ENDPOINT = "--otlp-endpoint or OTEL_EXPORTER_OTLP_ENDPOINT"
_HEADERS = "OTEL_EXPORTER_OTLP_HEADERS, or user and password in the endpoint"


class Answered(Exception):  # noqa: N818 (what came is an answer)
    """Leaves an exporter with the reply: it would try again on its own, or take it for a success."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.message)
        self.reply = reply


NO_ANSWER = Reply(_IN_DOUBT, "no answer in time")
_UNREACHABLE = Reply(_UNAVAILABLE, "cannot connect: check " + _ENDPOINT + "{said}")
_NOT_OTLP = Reply(_UNAVAILABLE, "no OTLP receiver answers there ({status}): check " + _ENDPOINT + "{said}", True)
_DENIED = Reply(_UNAVAILABLE, "the receiver does not let us in ({status}): check " + _HEADERS + "{said}", True)
_NOT_TRUSTED = Reply(
    _UNAVAILABLE,
    "the receiver's certificate is not trusted: name its authority in OTEL_EXPORTER_OTLP_CERTIFICATE{said}",
    True,
)
_STATUSES: dict[int, Reply] = {
    400: Reply(_REFUSED, "the receiver cannot read the spans ({status}){said}"),
    401: _DENIED,
    403: _DENIED,
    407: Reply(_UNAVAILABLE, "the proxy of the environment wants credentials ({status})", True),
    408: Reply(_IN_DOUBT, "the receiver waited in vain for the spans ({status}){said}"),
    413: Reply(_REFUSED, "the receiver finds the request too large ({status}){said}"),
    422: Reply(_REFUSED, "the receiver refuses the spans ({status}){said}"),
    429: Reply(_UNAVAILABLE, "the receiver asks for patience ({status}){said}"),
    502: Reply(_IN_DOUBT, "a proxy lost the receiver behind it ({status}){said}"),
    503: Reply(_UNAVAILABLE, "the receiver is unavailable ({status}){said}"),
    504: Reply(_IN_DOUBT, "a proxy waited in vain for the receiver behind it ({status}){said}"),
}
_REDIRECT = Reply(
    _UNAVAILABLE,
    "redirects are not followed, they could take headers elsewhere ({status}): give the final address in " + _ENDPOINT,
    True,
)
_FAILED = Reply(_IN_DOUBT, "the receiver or a proxy before it failed ({status}){said}")

_GRPC: dict[StatusCode, Reply] = {
    StatusCode.UNAUTHENTICATED: _DENIED,
    StatusCode.PERMISSION_DENIED: _DENIED,
    StatusCode.UNIMPLEMENTED: _NOT_OTLP,
    StatusCode.NOT_FOUND: _NOT_OTLP,
    StatusCode.INVALID_ARGUMENT: Reply(_REFUSED, "the receiver cannot read the spans ({status}){said}"),
    StatusCode.RESOURCE_EXHAUSTED: Reply(_UNAVAILABLE, "the receiver asks for patience ({status}){said}"),
    StatusCode.UNAVAILABLE: Reply(_IN_DOUBT, "the connection broke ({status}){said}"),
    StatusCode.DEADLINE_EXCEEDED: Reply(_IN_DOUBT, "no answer in time ({status})"),
}
# Where the text tells more than the code, in the words of gRPC's C core and of grpc-go.
_GRPC_TEXTS: tuple[tuple[re.Pattern[str], Reply], ...] = (
    (
        re.compile("http1|HTTP/1|Failed parsing HTTP/2", re.IGNORECASE),
        Reply(_UNAVAILABLE, "no gRPC is spoken there: give --otlp-protocol=http/protobuf, or the port of gRPC", True),
    ),
    (
        re.compile("larger than max", re.IGNORECASE),
        Reply(_REFUSED, "the receiver finds the request too large ({status}){said}"),
    ),
    (re.compile("CERTIFICATE_VERIFY_FAILED|certificate verify failed", re.IGNORECASE), _NOT_TRUSTED),
    (
        re.compile("WRONG_VERSION_NUMBER|handshake failed", re.IGNORECASE),
        Reply(_UNAVAILABLE, "no TLS is spoken there: give an http:// endpoint{said}", True),
    ),
    (
        re.compile("failed to connect|connection refused|DNS resolution|name resolution|unreachable", re.IGNORECASE),
        _UNREACHABLE,
    ),
)
# What Collectors say when they take nothing, and grpc's core where it tells who speaks. Anything else that is
# called UNAVAILABLE may as well be a connection that broke after the spans were sent.
_PEER = re.compile("Error received from peer|queue is full|high memory usage|data refused|throttl", re.IGNORECASE)
_FROM_PEER = Reply(_UNAVAILABLE, "the receiver is unavailable ({status}){said}")

_NO_HTTP = "no HTTP is spoken there: give --otlp-protocol=grpc, or the port of HTTP"
_BROKEN = Reply(_IN_DOUBT, "the connection broke{said}")

# The first row that fits: a subclass stands before its base. Certain is only what fails before sending.
_BREAKS: tuple[tuple[type[BaseException], Reply], ...] = (
    (ssl.SSLCertVerificationError, _NOT_TRUSTED),
    (failures.SSLError, Reply(_UNAVAILABLE, "no TLS is spoken there: check " + _ENDPOINT + "{said}", True)),
    (failures.ProxyError, Reply(_UNAVAILABLE, "the proxy of the environment does not connect{said}")),
    (failures.NewConnectionError, _UNREACHABLE),
    (failures.ConnectTimeoutError, Reply(_UNAVAILABLE, "cannot connect in time: check " + _ENDPOINT)),
    (failures.LocationValueError, Reply(_UNAVAILABLE, "the address cannot be used: check " + _ENDPOINT, True)),
    (failures.ReadTimeoutError, NO_ANSWER),
    (RemoteDisconnected, _BROKEN),
    (BadStatusLine, Reply(_UNAVAILABLE, _NO_HTTP, True)),
    (failures.HTTPError, _BROKEN),
    (OSError, _BROKEN),
)
_UNKNOWN_BREAK = Reply(_IN_DOUBT, "the exporter failed ({kind})")


def reply_to_status(status: int, body: str) -> Reply:
    """Translate a status of HTTP that is no success; ``body`` is the beginning of what came with it."""
    reply = _REDIRECT if 300 <= status < 400 else _STATUSES.get(status, _FAILED if status >= 500 else _NOT_OTLP)
    return _filled(reply, f"HTTP {status}", "" if looks_like_html(body) else body)


def not_understood(status: int, body: str) -> Reply:
    """Translate a success in words that no OTLP receiver uses: a page to log in, some other server."""
    # Somebody took the request, so that is no proof that nothing was stored; but a page for people is.
    answer = _UNAVAILABLE if looks_like_html(body) else _IN_DOUBT
    said = "" if looks_like_html(body) else body
    return _filled(_NOT_OTLP._replace(answer=answer), f"HTTP {status}", said)


def reply_to_rpc(code: StatusCode, details: str, described: str = "") -> Reply:
    """Translate a gRPC status; ``described`` is what the library on this side says of it."""
    if code is StatusCode.UNAVAILABLE and _PEER.search(f"{described} {details}"):
        return _filled(_FROM_PEER, code.name, details)
    vague = code in (StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED, StatusCode.UNKNOWN)
    texts = (reply for pattern, reply in _GRPC_TEXTS if vague and pattern.search(details))
    return _filled(next(texts, _GRPC.get(code, _FAILED)), code.name, details)


def unreachable(error: OSError) -> Reply:
    """Translate why a connection could not be made: nothing was sent."""
    reason = "no answer" if isinstance(error, TimeoutError) else error.strerror or type(error).__name__
    return _filled(_UNREACHABLE, "", reason)


def reply_to_break(error: BaseException) -> Reply:
    """Translate what ``requests`` or an exporter raised: what cannot have been sent, and what may have been."""
    causes = list(_causes(error))
    for kind, reply in _BREAKS:
        if any(isinstance(cause, kind) for cause in causes):
            return _filled(reply, "", reason_in(" ".join(map(str, causes))))
    return Reply(_IN_DOUBT, _UNKNOWN_BREAK.message.format(kind=type(error).__name__))


def partial(rejected: int, sent: int, said: str) -> Reply:
    """Translate a partial success: ``rejected`` of ``sent`` spans are not stored."""
    answer = _REFUSED if rejected >= sent else Answer.PARTLY
    sentence = f"the receiver rejected {rejected:,} of {sent:,} spans{{said}}"
    return _filled(Reply(answer, sentence, answer is Answer.PARTLY), "", said)


def _filled(reply: Reply, status: str, said: str) -> Reply:
    line = shorten(said, _SAID_LIMIT)
    text = reply.message.replace("{status}", status).replace("{said}", f": {line}" if line else "")
    return reply._replace(message=shorten(text))


def _causes(error: BaseException) -> list[BaseException]:
    """Return an exception and what it wraps: ``requests`` keeps urllib3's in its arguments, urllib3 in ``reason``."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        cause = waiting.pop(0)
        if isinstance(cause, BaseException) and cause not in found:
            found.append(cause)
            waiting += [*cause.args, getattr(cause, "reason", None), cause.__cause__, cause.__context__]
    return found
