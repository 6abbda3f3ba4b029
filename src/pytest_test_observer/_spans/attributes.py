"""Columns as attributes of spans and back, by the table of columns.

Text, lists and maps without content have no attribute; numbers of ours always have one, those of conventions only
where they say something (``code.line.number`` counts from 1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from pytest_test_observer._spans.lines import plain_type

if TYPE_CHECKING:
    from pytest_test_observer._columns import Column, Table

Attributes = dict[str, Any]

EVERY = "*"
OURS = "pytest."
# Stand in the exception event, not among the attributes of the span.
EXCEPTION = "exception."
_LINK_PARTS = ("type", "url", "name")
_LINKS = "Array(Tuple(String, String, String))"


class ScopeMapping:
    """The columns of one scope of a table (``context`` or ``record``) that travel as attributes."""

    def __init__(self, table: Table, scope: str) -> None:
        columns = [column for column in table.columns if column.scope == scope and _travels(column)]
        single = [column for column in columns if not column.attribute.endswith(EVERY)]
        self._single = [(column.attribute, _always(column, scope)) for column in single]
        self._get: Callable[[Any], tuple[Any, ...]] = attrgetter(*(column.name for column in single))
        self._several = [column for column in columns if column.attribute.endswith(EVERY)]
        self._columns = columns

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
        return {column.name: _read(column, attributes) for column in self._columns}


def _travels(column: Column) -> bool:
    return bool(column.attribute) and not column.attribute.startswith(EXCEPTION)


def _always(column: Column, scope: str) -> bool:
    is_number = "Int" in column.type or column.type in ("Float64", "Bool")
    return is_number and scope == "record" and column.attribute.startswith(OURS)


def _spread(column: Column, value: Any) -> Attributes:  # noqa: ANN401 - of the column's type
    prefix = column.attribute.removesuffix(EVERY)
    if column.type == _LINKS:
        parts = zip(*value, strict=True)
        return {prefix + part: list(texts) for part, texts in zip(_LINK_PARTS, parts, strict=True)}
    return {prefix + name: item for name, item in value.items()}


_EMPTY: dict[str, Callable[[], Any]] = {"String": str, "Array(String)": list, "Float64": float, "Bool": bool}


def _read(column: Column, attributes: Mapping[str, Any]) -> Any:  # noqa: ANN401 - of the column's type
    if not column.attribute.endswith(EVERY):
        value = attributes.get(column.attribute, _EMPTY.get(plain_type(column.type), int)())
        return list(value) if isinstance(value, tuple) else value
    prefix = column.attribute.removesuffix(EVERY)
    if column.type == _LINKS:
        columns = [attributes.get(prefix + part, ()) for part in _LINK_PARTS]
        return [list(link) for link in zip(*columns, strict=False)]
    named = {name.removeprefix(prefix): value for name, value in attributes.items() if name.startswith(prefix)}
    if plain_type(column.type) == "Map(String, String)":
        return named
    return {name: _listed(value) for name, value in named.items()}


def _listed(value: Any) -> list[Any]:  # noqa: ANN401 - an attribute of a foreign pipeline can have any type
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
