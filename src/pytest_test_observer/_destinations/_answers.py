"""What an error of ClickHouse means for a batch: one table from error codes to answers and sentences."""

from __future__ import annotations

import re
from typing import NamedTuple

from pytest_test_observer._destinations import Answer, Reply

__all__ = [
    "ACCESS_DENIED",
    "READONLY_USER",
    "error_code",
    "looks_like_html",
    "reason_in",
    "reply_to",
    "shorten",
    "without_secrets",
]

ACCESS_DENIED = 497
READONLY_USER = "the user of --ch-user is read-only (its setting readonly): use another"
MESSAGE_LIMIT = 300
# Where a row cannot be read the server quotes it; the beginning tells which value it was.
SAID_LIMIT = 200
# Words of the operating system and of TLS within the texts of urllib3 and requests; the first that fits.
_REASONS = (
    re.compile(r"RemoteDisconnected\('([^']+)'"),
    re.compile(r"Error\(\d+, '([^']+)'"),
    re.compile(r"verify failed: ([^(']+?) ?(?:\(|'|$)"),
    re.compile(r"\[Errno -?\d+\] ([^'\")[]+\w)"),
    re.compile(r"\[SSL: (\w+)\]"),
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CODE = re.compile(r"\bCode:\s*(\d+)")
_GRANT = re.compile(r"\bgrant ([A-Z][A-Z ,]*(?:\([^)]*\))?(?: ON [^\s,;()]+)?)")
_VIEW = re.compile(r"while pushing to view ([^\s:(]+\w)")
_COLUMNS_OF_GRANT = re.compile(r"\([^)]*\)")
# What ClickHouse adds for its developers, and clickhouse-connect for debugging.
_TRAILER = re.compile(
    r"[\s:.]*(?:\(version |\([A-Z_]+\)|\(in file/uri|Stack trace:|\(for url |While executing).*", re.DOTALL
)


class Meaning(NamedTuple):
    """An answer with its sentence; ``{server}``, ``{grant}`` and ``{view}`` are taken from the error."""

    answer: Answer
    sentence: str
    fatal: bool = False


def _table(*rows: tuple[tuple[int, ...], Meaning]) -> dict[int, Meaning]:
    return {code: meaning for codes, meaning in rows for code in codes}


_UNAVAILABLE, _REFUSED, _IN_DOUBT = Answer.UNAVAILABLE, Answer.REFUSED, Answer.IN_DOUBT

# Codes are those of ClickHouse's src/Common/ErrorCodes.cpp.
_MEANINGS = _table(
    (
        (192, 193, 194, 516),
        Meaning(_UNAVAILABLE, "user or password is wrong: check --ch-user and --ch-password", fatal=True),
    ),
    ((195,), Meaning(_UNAVAILABLE, "this address may not connect as that user: {server}", fatal=True)),
    (
        (ACCESS_DENIED,),
        Meaning(_UNAVAILABLE, "the user of --ch-user lacks a right, it needs GRANT {grant}", fatal=True),
    ),
    ((81,), Meaning(_UNAVAILABLE, "the database does not exist: create it or change --ch-db", fatal=True)),
    ((60,), Meaning(_UNAVAILABLE, "the table is gone: {server}")),
    ((16, 47), Meaning(_UNAVAILABLE, "the table was changed meanwhile: {server}")),
    (
        (164,),
        Meaning(_UNAVAILABLE, READONLY_USER, fatal=True),
    ),
    (
        (115, 452),
        Meaning(_UNAVAILABLE, "ClickHouse does not accept a setting: {server}", fatal=True),
    ),
    ((170, 701), Meaning(_UNAVAILABLE, "the cluster does not exist: check --ch-cluster", fatal=True)),
    ((241,), Meaning(_UNAVAILABLE, "ClickHouse is out of memory: {server}")),
    ((75, 243), Meaning(_UNAVAILABLE, "ClickHouse's disk is full: {server}")),
    ((252,), Meaning(_UNAVAILABLE, "ClickHouse cannot merge as fast as rows arrive: {server}")),
    ((202,), Meaning(_UNAVAILABLE, "ClickHouse is busy: {server}")),
    ((201, 290), Meaning(_UNAVAILABLE, "the quota or limit of the user is used up: {server}")),
    ((242, 517), Meaning(_UNAVAILABLE, "the table cannot be changed now: {server}")),
    # The server gave up on its own: a part may be written by then.
    ((159, 160, 209, 210, 319, 394, 999), Meaning(_IN_DOUBT, "ClickHouse gave up: {server}")),
    (
        (6, 26, 27, 33, 38, 41, 43, 53, 69, 70, 72, 117, 130, 131, 349, 467, 469, 632),
        Meaning(_REFUSED, "ClickHouse cannot read a row: {server}"),
    ),
)
_UNKNOWN = Meaning(_IN_DOUBT, "{server}")

# Where the text tells more than the code.
_TEXTS = (
    # The rows are in the table by now, or are not, depending on version and engine.
    (
        "while pushing to view",
        Meaning(_IN_DOUBT, "the materialized view {view} fails: {server}", fatal=True),
    ),
    # The same code as too many parts, but waiting does not help: fewer rows do.
    ("Too many partitions", Meaning(_REFUSED, "the rows are of too many months: {server}")),
    ("No space left on device", Meaning(_UNAVAILABLE, "the disk is full: {server}")),
)


def reply_to(error: Exception) -> Reply:
    """Translate whatever went wrong under clickhouse-connect."""
    reply = _carried(error)
    if reply is not None:
        return reply
    if error_code(error) is not None:
        return _reply_to_answer(error)
    if isinstance(error, OSError):  # the temporary file through which rows enter the embedded engine
        return Reply(_UNAVAILABLE, shorten(f"cannot hand rows over: {error.strerror or error}"))
    return Reply(_IN_DOUBT, shorten(f"the answer was not understood ({type(error).__name__}: {error})"))


def _carried(error: BaseException | None) -> Reply | None:
    """Find what a part of ours said that noticed the failure first: the pool, the opening of the engine."""
    while error is not None:
        reply = getattr(error, "reply", None)
        if isinstance(reply, Reply):
            return reply
        error = error.__cause__
    return None


def _reply_to_answer(error: Exception) -> Reply:
    """Translate an error that a server or the embedded engine gave as its answer."""
    text = str(error)
    code = error_code(error)
    meaning = next((meaning for part, meaning in _TEXTS if part in text), None)
    meaning = meaning or _MEANINGS.get(code or 0, _UNKNOWN)
    said = _said(text)
    view = _VIEW.search(text)
    sentence = meaning.sentence.format(server=said, grant=_missing_grant(text), view=view[1] if view else "")
    return Reply(meaning.answer, shorten(sentence), meaning.fatal)


def error_code(error: Exception) -> int | None:
    """ClickHouse's code of an error; None when it did not come from ClickHouse."""
    code = getattr(error, "code", None)  # clickhouse-connect has it since 1.0
    if isinstance(code, int):
        return code
    match = _CODE.search(str(error))
    return int(match[1]) if match else None


def shorten(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """Make one line of at most ``limit`` characters, none of which can move a terminal's cursor or change colours."""
    line = " ".join(_CONTROL.sub(" ", text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def reason_in(text: str, *before: re.Pattern[str]) -> str:
    """Return the words in ``text`` that say why a connection failed, empty where none are known.

    Patterns of ``before`` are tried first.
    """
    words = next((found for found in (pattern.findall(text) for pattern in (*before, *_REASONS)) if found), None)
    return str(words[-1]) if words else ""


def looks_like_html(body: str) -> bool:
    """Whether a text is a page for people."""
    return body.lstrip()[:1] == "<"


def without_secrets(text: str, secrets: tuple[str, ...]) -> str:
    """Cover each secret of the settings that an answer repeats."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return text


def _missing_grant(text: str) -> str:
    """The right that ClickHouse names, without its list of columns; else its words."""
    grant = _GRANT.search(text)
    return _COLUMNS_OF_GRANT.sub("", grant[1]).strip().rstrip(".") if grant else _said(text)


def _said(text: str) -> str:
    """The human part of ClickHouse's text, which nests exceptions and ends in names and versions."""
    said = _TRAILER.sub("", text.rpartition("DB::Exception: ")[2])
    return shorten(said, SAID_LIMIT)
