"""What is read off an item before or after it runs, and off what ended it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_test_observer.plugin import NEST_MARKER

if TYPE_CHECKING:
    import pytest


def asks_to_nest(item: pytest.Item, *, default: bool) -> bool:
    """Whether an item's marker switches nesting on, or off: ``observer_nest(False)``."""
    marker = item.get_closest_marker(NEST_MARKER)
    if marker is None:
        return default
    return bool(marker.args[0] if marker.args else marker.kwargs.get("enabled", True))


def markers_of(item: pytest.Item) -> list[str]:
    """Return the names of an item's markers, sorted, each once; Allure's have columns of their own."""
    names: list[str] = []
    node: Any = item
    while node is not None:  # what iter_markers() does, at a third of its cost
        if node.own_markers:
            names += [mark.name for mark in node.own_markers]
        node = node.parent
    return sorted({name for name in names if not name.startswith("allure_")}) if names else names


def type_name(type_: type[BaseException]) -> str:
    """Return the name of an exception type as tracebacks print it."""
    module, name = type_.__module__, type_.__qualname__
    return name if module in ("builtins", "__main__") else f"{module}.{name}"
