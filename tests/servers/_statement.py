"""Reads just enough of a ClickHouse statement: what it does, where its data begins, what it answers in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN = re.compile(
    rb"""
    (?P<skip>\s+|--[^\n]*|/\*.*?\*/)
    | (?P<name>`(?:[^`\\]|\\.|``)*`|"(?:[^"\\]|\\.|"")*")
    | (?P<text>'(?:[^'\\]|\\.|'')*')
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
# What ClickHouse skips between the name of a format and the data: blanks, then one line end.
_BEFORE_DATA = re.compile(rb"[ \t\f]*\r?\n?")

READS = frozenset({"SELECT", "WITH", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN"})
SESSION = frozenset({"SET", "USE"})
_SYSTEM_DATABASES = ("system", "information_schema")


class Statement(NamedTuple):
    """One statement, split from the rows that follow it.

    ``sql`` is what the engine runs; where rows follow (``data`` is not None) it ends before ``FORMAT``.
    ``keyword`` is the leading word in upper case, ``reads`` the tables after FROM and JOIN as written.
    """

    sql: bytes
    keyword: str
    format: str
    data: bytes | None
    reads: tuple[str, ...]

    @property
    def reads_user_tables(self) -> bool:
        """Whether rows of a table outside the system's databases are asked for."""
        return any(name.split(".")[0].strip('`"').lower() not in _SYSTEM_DATABASES for name in self.reads)


class _Token(NamedTuple):
    kind: str
    text: str
    start: int
    end: int
    depth: int


def _tokens(text: bytes) -> Iterator[_Token]:
    depth = 0
    for match in _TOKEN.finditer(text):
        kind, found = match.lastgroup or "", match.group()
        depth -= found == b")"
        if kind != "skip":
            yield _Token(kind, found.decode("utf-8", "replace"), match.start(), match.end(), depth)
        depth += found == b"("


def _is_word(token: _Token | None, *words: str) -> bool:
    return token is not None and token.kind == "word" and token.text.upper() in words


def _table_after(tokens: list[_Token], index: int) -> str:
    """Return the name that begins at ``index``, empty for a subquery or a table function."""
    name = ""
    while index < len(tokens) and (tokens[index].kind in {"name", "word"} or tokens[index].text == "."):
        name += tokens[index].text
        index += 1
    is_call = index < len(tokens) and tokens[index].text == "("
    return "" if is_call else name


def _tables_read(tokens: list[_Token]) -> tuple[str, ...]:
    sources = (i + 1 for i, token in enumerate(tokens) if _is_word(token, "FROM", "JOIN"))
    return tuple(filter(None, (_table_after(tokens, index) for index in sources)))


def _with_data(text: bytes) -> Statement | None:
    """Split ``INSERT INTO … FORMAT name`` from its rows; None for any other statement."""
    previous = first = None
    for token in _tokens(text):
        first = first or token
        if not _is_word(first, "INSERT") or _is_word(token, "SELECT", "VALUES"):
            return None
        if previous and _is_word(previous, "FORMAT") and previous.depth == 0 and token.kind == "word":
            after = _BEFORE_DATA.match(text, token.end)
            start = after.end() if after else token.end
            return Statement(text[: previous.start], "INSERT", token.text, text[start:], ())
        previous = token
    return None


def parse(text: bytes, default_format: str) -> Statement:
    """Split a request's text; ``default_format`` is that of the answer where the statement names none."""
    insert = _with_data(text)
    if insert:
        return insert
    tokens = list(_tokens(text))
    words = [token for token in tokens if token.text != ";"]
    keyword = words[0].text.upper() if words else ""
    named = len(words) > 2 and _is_word(words[-2], "FORMAT") and words[-2].depth == 0
    return Statement(text, keyword, words[-1].text if named else default_format, None, _tables_read(tokens))
