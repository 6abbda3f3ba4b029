"""ClickHouse type names: which of two spell the same column for our purposes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# A string or backquoted name, a word or number, or one sign.
_TOKEN = re.compile(r"'(?:[^'\\]|\\.|'')*'|`(?:[^`\\]|\\.|``)*`|[\w.+-]+|[(),=]")
_SIGNS = frozenset("(),=")
_WRAPPERS = frozenset({"LowCardinality", "Nullable"})
# How many arguments count; after them comes a time zone, which changes how an instant is shown, nothing else.
_COUNTED_ARGUMENTS = {"DateTime64": 1, "DateTime": 0}


def compatible(found: str, wanted: str) -> bool:
    """Tell whether a column of type ``found`` holds what one of type ``wanted`` does.

    ``LowCardinality``, ``Nullable``, time zones, names of tuple elements and whitespace do not count.
    """
    return canonical(found) == canonical(wanted)


def canonical(type_name: str) -> str:
    """Return the type without what ``compatible`` does not count; of what is no type, all but spaces."""
    tokens = _Tokens(type_name)
    try:
        result = _read_type(tokens)
        tokens.expect("")
    except ValueError:
        return "".join(type_name.split())
    return result


class _Tokens:
    """The tokens of a type name, one looked at ahead; ``""`` is the end."""

    def __init__(self, text: str) -> None:
        self._rest: Iterator[str] = iter(_TOKEN.findall(text))
        self.ahead = next(self._rest, "")

    def take(self) -> str:
        token, self.ahead = self.ahead, next(self._rest, "")
        return token

    def expect(self, token: str) -> None:
        if self.take() != token:
            raise ValueError(token)


def _read_type(tokens: _Tokens) -> str:
    name = tokens.take()
    if not name or name in _SIGNS:
        raise ValueError(name)
    arguments = _read_arguments(tokens) if tokens.ahead == "(" else []
    if name in _WRAPPERS and len(arguments) == 1:
        return arguments[0]
    arguments = arguments[: _COUNTED_ARGUMENTS.get(name)]
    return f"{name}({','.join(arguments)})" if arguments else name


def _read_arguments(tokens: _Tokens) -> list[str]:
    tokens.expect("(")
    arguments = [_read_argument(tokens)]
    while tokens.ahead == ",":
        tokens.take()
        arguments.append(_read_argument(tokens))
    tokens.expect(")")
    return arguments


def _read_argument(tokens: _Tokens) -> str:
    argument = _read_type(tokens)
    if tokens.ahead == "=":  # an enumeration's 'name' = 1
        tokens.take()
        return f"{argument}={tokens.take()}"
    if tokens.ahead and tokens.ahead not in _SIGNS:  # a tuple element's name stands before its type
        return _read_type(tokens)
    return argument
