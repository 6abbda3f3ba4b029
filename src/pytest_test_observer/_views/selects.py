"""The queries of the three materialized views: which spans give rows, and the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytest_test_observer._views.expressions import EVENT_ATTRIBUTES, NS_ALIASES, expression

if TYPE_CHECKING:
    from pytest_test_observer._columns import Table

__all__ = ["select"]

_HAS_NODEID = "mapContains(SpanAttributes, 'pytest.nodeid')"
_HAS_PHASE = "mapContains(SpanAttributes, 'pytest.phase')"
_HAS_EXIT_STATUS = "mapContains(SpanAttributes, 'pytest.exit_status')"
_HAS_SEQ = f"mapContains({EVENT_ATTRIBUTES}, 'pytest.event.seq')"

# An event of the test itself can have this name too, but it has a number.
_EXCEPTION = (
    "arrayFirst((a, name) -> name = 'exception' AND NOT mapContains(a, 'pytest.event.seq'), "
    "Events.Attributes, Events.Name)"
)
_EVENTS = (
    f"ARRAY JOIN Events.Timestamp AS EventTimestamp, Events.Name AS EventName, Events.Attributes AS {EVENT_ATTRIBUTES}"
)


class _Query(NamedTuple):
    """What a view's query has besides its columns; ``names`` are (name, SQL) before SELECT."""

    names: tuple[tuple[str, str], ...]
    join: str
    where: str


def _ns(*names: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, NS_ALIASES[name]) for name in names)


_QUERIES = {
    "results": _Query((*_ns("start_ns", "end_ns"), ("exception", _EXCEPTION)), "", f"{_HAS_NODEID} AND {_HAS_PHASE}"),
    "events": _Query(_ns("time_ns"), _EVENTS, f"{_HAS_NODEID} AND {_HAS_SEQ}"),
    "runs": _Query(_ns("start_ns", "end_ns"), "", _HAS_EXIT_STATUS),
}


def select(table: Table, traces: str) -> str:
    """Return the query that makes rows of ``table`` from the spans in ``traces`` (a quoted name)."""
    query = _QUERIES[table.key]
    names = ",\n".join(f"    {sql} AS {name}" for name, sql in query.names)
    columns = ",\n".join(f"    {expression(column)} AS {column.name}" for column in table.columns)
    source = f"{traces}\n{query.join}" if query.join else traces
    return f"WITH\n{names}\nSELECT\n{columns}\nFROM {source}\nWHERE {query.where}"
