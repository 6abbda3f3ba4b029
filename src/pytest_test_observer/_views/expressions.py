"""SQL that reads a column's value back from a span in ``otel_traces``, where each attribute is text.

Every expression is total: a view that throws fails the insert of the spans after they are stored, and the
retry stores them again. Maps are in the order of their keys, as records have them: the exporter has an order
of its own, by the keys of attributes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_test_observer._columns import EVENT_KEY, EVENT_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_test_observer._columns import Column

__all__ = ["EVENT_ATTRIBUTES", "NS_ALIASES", "expression", "text"]

# The view names an event's attributes so after ARRAY JOIN.
EVENT_ATTRIBUTES = "EventAttributes"
_ATTRIBUTES = {"context": "ResourceAttributes", "record": "SpanAttributes", "event": EVENT_ATTRIBUTES}

# Sources of times, as the views name them: nanoseconds since the epoch.
NS_ALIASES = {
    "start_ns": "toUnixTimestamp64Nano(Timestamp)",
    # the exporter writes a span that ends before it starts as a huge unsigned duration
    "end_ns": "start_ns + toInt64(Duration)",
    "time_ns": "toUnixTimestamp64Nano(EventTimestamp)",
}


def text(value: str) -> str:
    """Quote a string for SQL."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def expression(column: Column) -> str:
    """Return the SQL for ``column``: its own, else what its source, attribute and type say.

    Raises ``KeyError`` for a type that no column has had so far.
    """
    if column.view:
        return column.view
    if column.source in NS_ALIASES:
        return _time(column)
    attributes = _ATTRIBUTES[column.scope]
    prefix, star, _ = column.attribute.partition("*")
    if star:
        return _GROUPS[column.type](attributes, prefix)
    return _VALUES[column.type](f"{attributes}[{text(column.attribute)}]")


def _time(column: Column) -> str:
    milliseconds = f"intDiv({column.source}, 1000000)"
    wrap = "fromUnixTimestamp64Milli" if column.type.startswith("DateTime64") else f"to{column.type}"
    return f"{wrap}({milliseconds})"


def _number(type_: str) -> Callable[[str], str]:
    return lambda value: f"to{type_}OrZero({value})"


def _boolean(value: str) -> str:
    return f"{value} = 'true'"


def _double(value: str) -> str:
    # JSON is read to the last bit; toFloat64OrZero is a little wrong unless precise_float_parsing is set
    return f"JSONExtract({value}, 'Float64')"


_VALUES: dict[str, Callable[[str], str]] = {
    "String": str,
    "LowCardinality(String)": str,
    "Bool": _boolean,
    "Float64": _double,
    "Array(String)": lambda value: f"JSONExtract({value}, 'Array(String)')",
    **{type_: _number(type_) for type_ in ("Int16", "UInt16", "UInt32", "UInt64")},
}


def _group(attributes: str, prefix: str, value: str) -> str:
    """Return the map of the attributes that begin with ``prefix``, without it; ``value`` is SQL of ``v``."""
    key = f"substring(k, {len(prefix) + 1})"
    chosen = f"mapFilter((k, v) -> startsWith(k, {text(prefix)}), {attributes})"
    return f"mapSort(mapApply((k, v) -> ({key}, {value}), {chosen}))"


def _texts(attributes: str, prefix: str) -> str:
    return _group(attributes, prefix, "v") if prefix else _payload(attributes)


def _lists(attributes: str, prefix: str) -> str:
    return _group(attributes, prefix, "if(JSONType(v) = 'Array', JSONExtract(v, 'Array(String)'), [v])")


def _payload(attributes: str) -> str:
    """Return all attributes but our own, those behind ``EVENT_KEY`` under their real keys."""
    ours, wrapped = f"startsWith(k, {text(EVENT_PREFIX)})", f"startsWith(k, {text(EVENT_KEY)})"
    key = f"if({wrapped}, substring(k, {len(EVENT_KEY) + 1}), k)"
    chosen = f"mapFilter((k, v) -> NOT {ours} OR {wrapped}, {attributes})"
    return f"mapSort(mapApply((k, v) -> ({key}, v), {chosen}))"


def _links(attributes: str, prefix: str) -> str:
    """Return the tuples of three parallel arrays; what one of them lacks is empty."""
    types, urls, names = (
        f"JSONExtract({attributes}[{text(prefix + part)}], 'Array(String)')" for part in ("type", "url", "name")
    )
    tuples = f"({types}[i], {urls}[i], {names}[i])"
    return f"arrayMap(i -> {tuples}, range(1, length({urls}) + 1))"


_GROUPS: dict[str, Callable[[str, str], str]] = {
    "Map(String, String)": _texts,
    "Map(LowCardinality(String), String)": _texts,
    "Map(String, Array(String))": _lists,
    "Array(Tuple(String, String, String))": _links,
}
