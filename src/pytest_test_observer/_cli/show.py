"""How answers look on a terminal: headings, lines, and tables that fit its width. Loads rich."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pytest_test_observer._text import storable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_test_observer._cli.column import Column

__all__ = ["heading", "line", "table"]

# Wide enough that nothing is cut where nobody looks: a pipe, a file, a CI log.
_UNLIMITED = 10_000
_STYLES = {
    "failed": "red",
    "failure": "red",
    "broken": "magenta",
    "error": "magenta",
    "crashed": "magenta",
    "aborted": "magenta",
    "passed": "green",
    "success": "green",
    "rerun": "yellow",
    "flaky": "yellow",
}


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else _UNLIMITED, markup=False, highlight=False, emoji=False)


def heading(text: str) -> None:
    """Print the title of a section, after an empty line."""
    console = _console()
    console.print()
    console.print(Text(storable(text), style="bold"), soft_wrap=True)


def line(text: str) -> None:
    """Print a line as it is."""
    _console().print(Text(storable(text)), soft_wrap=True)


def table(columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> None:
    """Print rows; a column that ``shrinks`` breaks its text where the terminal ends, so that nothing is lost."""
    console = _console()
    shown = [n for n, column in enumerate(columns) if console.width >= 110 or not column.wide]
    result = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in (columns[n] for n in shown):
        result.add_column(
            column.name, justify="right" if column.right else "left", no_wrap=not column.shrinks, overflow="fold"
        )
    for row in rows:
        result.add_row(*(_cell(row[n]) for n in shown))
    console.print(result)


def _cell(value: object) -> Text:
    text = storable(" ".join(str(value).split()))
    return Text(text, style=_STYLES.get(text, ""))
