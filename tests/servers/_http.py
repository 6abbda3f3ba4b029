"""The rules of ClickHouse's HTTP interface: status by error code, encodings, parameters, content types."""

from __future__ import annotations

import email
import email.policy
import gzip
import importlib.util
import re
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from collections.abc import Callable

# From src/Server/HTTP/exceptionCodeToHTTPStatus.cpp; a name that is not here is answered with 500.
_NAMES_BY_STATUS: dict[int, str] = {
    400: """
        BAD_ARGUMENTS CANNOT_COMPILE_REGEXP CANNOT_PARSE_DATE CANNOT_PARSE_DATETIME
        CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING CANNOT_PARSE_ESCAPE_SEQUENCE CANNOT_PARSE_INPUT_ASSERTION_FAILED
        CANNOT_PARSE_IPV4 CANNOT_PARSE_IPV6 CANNOT_PARSE_NUMBER CANNOT_PARSE_QUOTED_STRING CANNOT_PARSE_TEXT
        CANNOT_PARSE_UUID DUPLICATE_COLUMN ILLEGAL_COLUMN INCORRECT_DATA SYNTAX_ERROR THERE_IS_NO_COLUMN
        TOO_BIG_AST TOO_DEEP_AST TYPE_MISMATCH UNEXPECTED_AST_STRUCTURE UNKNOWN_ELEMENT_IN_AST
        UNKNOWN_TYPE_OF_AST_NODE VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE""",
    401: "REQUIRED_PASSWORD",
    403: "ACCESS_DENIED AUTHENTICATION_FAILED SET_NON_GRANTED_ROLE UNKNOWN_USER WRONG_PASSWORD",
    404: """
        UNKNOWN_AGGREGATE_FUNCTION UNKNOWN_DATABASE UNKNOWN_DATABASE_ENGINE UNKNOWN_DIRECTION_OF_SORTING
        UNKNOWN_FORMAT UNKNOWN_FUNCTION UNKNOWN_IDENTIFIER UNKNOWN_ROLE UNKNOWN_SETTING UNKNOWN_STORAGE
        UNKNOWN_TABLE UNKNOWN_TYPE UNKNOWN_TYPE_OF_QUERY""",
    408: "TIMEOUT_EXCEEDED",
    413: "QUERY_IS_TOO_LARGE",
    501: "NOT_IMPLEMENTED",
    503: "CANNOT_OPEN_FILE CANNOT_SCHEDULE_TASK SOCKET_TIMEOUT",
}
_STATUS = {name: status for status, names in _NAMES_BY_STATUS.items() for name in names.split()}
_ERROR = re.compile(r"Code: (\d+)\. DB::.*\(([A-Z0-9_]+)\)", re.DOTALL)

# What the interface keeps for itself; every other parameter is a setting of the query.
_RESERVED = frozenset(
    {
        "buffer_size", "client_protocol_version", "close_session", "compress", "database", "decompress",
        "default_format", "enable_http_compression", "password", "query", "query_id", "quota_key", "role",
        "session_check", "session_id", "session_timeout", "stacktrace", "user", "wait_end_of_query",
    }
)  # fmt: skip
# http_max_field_value_size of a server
MAX_FORM_FIELD = 131_072

_CONTENT_TYPES = {
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "Native": "application/octet-stream",
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
}


class ServerError(Exception):
    """An error as ClickHouse words it, ``Code: n. DB::Exception: … (NAME)``; ``text`` ends with a newline."""

    def __init__(self, text: str, version: str = "") -> None:
        found = _ERROR.search(text)
        text = text[found.start() :] if found else f"Code: 1002. DB::Exception: {text}. (UNKNOWN_EXCEPTION)"
        if version and "(version " not in text:
            text = f"{text} (version {version})"
        self.text = f"{text}\n"
        self.code = int(found.group(1)) if found else 1002
        self.status = _STATUS.get(found.group(2) if found else "", 500)
        super().__init__(self.text)


def content_type(format_name: str) -> str:
    """MIME type of an answer in ``format_name``."""
    return _CONTENT_TYPES.get(format_name, "text/plain; charset=UTF-8")


class _Codec(NamedTuple):
    compress: Callable[[bytes], bytes]
    decompress: Callable[[bytes], bytes]


def _gzip() -> _Codec:
    return _Codec(gzip.compress, gzip.decompress)


def _deflate() -> _Codec:
    return _Codec(zlib.compress, zlib.decompress)


def _module(*names: str) -> _Codec:
    """Take the first module that exists; here they are imported only when a request needs them."""
    name = next(name for name in names if importlib.util.find_spec(name.split(".")[0]))
    module = importlib.import_module(name)
    return _Codec(module.compress, module.decompress)


def _lz4() -> _Codec:
    return _module("lz4.frame")


def _zstd() -> _Codec:
    return _module("compression.zstd", "backports.zstd")


_CODECS: dict[str, Callable[[], _Codec]] = {"lz4": _lz4, "zstd": _zstd, "gzip": _gzip, "deflate": _deflate}


def decompress(body: bytes, encoding: str) -> bytes:
    """Undo ``Content-Encoding``; bytes that are not what it says raise `ServerError`."""
    if encoding in {"", "identity"}:
        return body
    if encoding not in _CODECS:
        raise ServerError(f"Code: 48. DB::Exception: Unknown compression method {encoding}. (NOT_IMPLEMENTED)")
    try:
        return _CODECS[encoding]().decompress(body)
    except Exception as error:
        raise ServerError(f"Code: 117. DB::Exception: Cannot decompress: {error}. (INCORRECT_DATA)") from error


def encoding_for(accepted: str) -> str:
    """Return the first of the accepted encodings that this server has, empty for none."""
    wanted = (item.split(";")[0].strip() for item in accepted.split(","))
    return next((name for name in wanted if name in _CODECS), "")


def compress(body: bytes, encoding: str) -> bytes:
    """Apply a ``Content-Encoding`` that `encoding_for` named."""
    return _CODECS[encoding]().compress(body)


def form_fields(body: bytes, mime_type: str) -> dict[str, str]:
    """Read the fields of a form sent instead of URL parameters; too long a field raises `ServerError`."""
    if mime_type.startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(body.decode(), keep_blank_values=True))
    head = f"Content-Type: {mime_type}\r\n\r\n".encode()
    message: Any = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    fields = {part.get_param("name", header="content-disposition"): _field_text(part) for part in message.iter_parts()}
    if any(len(value) > MAX_FORM_FIELD for value in fields.values()):
        raise ServerError("Code: 1000. DB::Exception: HTML Form Exception: Field value too long. (POCO_EXCEPTION)")
    return fields


def _field_text(part: Any) -> str:
    payload: bytes = part.get_payload(decode=True)
    return payload.decode("utf-8", "surrogateescape")


def settings_of(params: dict[str, str]) -> dict[str, str]:
    """Return the parameters that are settings of the query."""
    return {key: value for key, value in params.items() if key not in _RESERVED and not key.startswith("param_")}


def bindings_of(params: dict[str, str]) -> dict[str, str]:
    """Return the values for ``{name:Type}`` in the query."""
    return {key[len("param_") :]: value for key, value in params.items() if key.startswith("param_")}


def is_name(text: str) -> bool:
    """Whether ``text`` can stand in SQL as a setting's name."""
    return re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", text) is not None
