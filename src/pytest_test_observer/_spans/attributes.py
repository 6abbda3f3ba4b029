"""Columns as attributes of spans and back, by the table of columns.

Text, lists and maps without content have no attribute; numbers of ours always have one, those of conventions only
where they say something (``code.line.number`` counts from 1).
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from pytest_test_observer._spans.lines import plain_type
from pytest_test_observer._spans.values import listed, text, value_reader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_test_observer._columns import Column, Table

Attributes = dict[str, Any]

EVERY = "*"
OURS = "pytest."
NODEID = "pytest.nodeid"
# Stand in the exception event, not among the attributes of the span.
EXCEPTION = "exception."
_LINK_PARTS = ("type", "url", "name")
_LINKS = "Array(Tuple(String, String, String))"
# What a column has where there is no attribute, if not what an empty text gives.
_EMPTY: dict[str, Any] = {"Array(String)": ()}


class ScopeMapping:
    """The columns of one scope of a table (``context`` or ``record``) that travel as attributes."""

    def __init__(self, table: Table, scope: str) -> None:
        columns = [column for column in table.columns if column.scope == scope and _travels(column)]
        single = [column for column in columns if not column.attribute.endswith(EVERY)]
        self._single = [(column.attribute, _always(column, scope)) for column in single]
        self._get: Callable[[Any], tuple[Any, ...]] = attrgetter(*(column.name for column in single))
        self._several = [column for column in columns if column.attribute.endswith(EVERY)]
        self._readers = [(column.name, _reader(column)) for column in columns]

    def attributes(self, row: Any) -> Attributes:  # noqa: ANN401 - see lines.read_line
        """Return the attributes that say what ``row`` says."""
        found: Attributes = {
            attribute: value
            for (attribute, always), value in zip(self._single, self._get(row), strict=True)
            if value or always
        }
        for column in self._several:
            value = getattr(row, column.name)
            if value:
                found.update(_spread(column, value))
        return found

    def columns(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the columns that ``attributes`` say; the way back."""
        return {name: read(attributes) for name, read in self._readers}


def _travels(column: Column) -> bool:
    return bool(column.attribute) and not column.attribute.startswith(EXCEPTION)


def _always(column: Column, scope: str) -> bool:
    if column.attribute == NODEID:  # makes a test's span of it; the session, which can fail to collect, has none
        return True
    is_number = "Int" in column.type or column.type in ("Float64", "Bool")
    return is_number and scope == "record" and column.attribute.startswith(OURS)


def _spread(column: Column, value: Any) -> Attributes:  # noqa: ANN401 - of the column's type
    prefix = column.attribute.removesuffix(EVERY)
    if column.type == _LINKS:
        parts = zip(*value, strict=True)
        return {prefix + part: list(texts) for part, texts in zip(_LINK_PARTS, parts, strict=True)}
    return {prefix + name: item for name, item in value.items()}


def _reader(column: Column) -> Callable[[Mapping[str, Any]], Any]:
    if not column.attribute.endswith(EVERY):
        read, attribute, empty = value_reader(column.type), column.attribute, _EMPTY.get(plain_type(column.type), "")
        return lambda attributes: read(attributes.get(attribute, empty))
    prefix = column.attribute.removesuffix(EVERY)
    if column.type == _LINKS:
        return lambda attributes: _links(attributes, prefix)
    read = text if plain_type(column.type) == "Map(String, String)" else listed
    return lambda attributes: _named(attributes, prefix, read)


def _named(attributes: Mapping[str, Any], prefix: str, read: Callable[[Any], Any]) -> dict[str, Any]:
    """Return the attributes that begin with ``prefix``, without it, in the order of their keys."""
    named = {
        text(name.removeprefix(prefix)): read(value) for name, value in attributes.items() if name.startswith(prefix)
    }
    return dict(sorted(named.items()))


def _links(attributes: Mapping[str, Any], prefix: str) -> list[list[str]]:
    """Return the tuples of three parallel arrays, as many as there are URLs; what one of them lacks is empty."""
    types, urls, names = (_read_list(attributes.get(prefix + part, ())) for part in _LINK_PARTS)
    return [[_at(types, i), url, _at(names, i)] for i, url in enumerate(urls)]


def _at(texts: list[str], place: int) -> str:
    return texts[place] if place < len(texts) else ""


_read_list = value_reader("Array(String)")
