"""How answers look on a terminal: headings, lines, and tables that fit its width. Loads rich."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pytest_test_observer._cli.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_test_observer._cli.column import Column

__all__ = ["heading", "line", "table"]

# Wide enough that nothing is cut where nobody looks: a pipe, a file, a CI log.
_UNLIMITED = 1_000_000
_INDENT = "  "
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
    console.print(Text(visible(text), style="bold"), soft_wrap=True)


def line(text: str) -> None:
    """Print a line as it is."""
    _console().print(Text(visible(text)), soft_wrap=True)


def table(columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> None:
    """Print rows, one line each where the terminal is wide enough, else in two: see ``Column``. Nothing is cut."""
    console = _console()
    cells = [[_cell(value) for value in row] for row in rows]
    kept = [n for n, column in enumerate(columns) if not column.tells or len({str(row[n]) for row in cells}) > 1]
    short = [n for n in kept if not columns[n].long]
    bare = [n for n in short if not columns[n].spare]
    lines = _lines(console, columns, cells, kept)
    if _width(lines) <= console.width or len(short) == len(kept):
        names: list[Text] = []
    else:
        names = [_named(columns, [Text(column.name) for column in columns], kept), Text()]
        names += [_named(columns, row, kept) for row in cells]
        lines = _lines(console, columns, cells, short)
        if _width(lines) + len(_INDENT) > console.width:
            lines = _lines(console, columns, cells, bare)
    for number, shown in enumerate(lines):
        if names and number != 1:  # the rule below the head
            console.print(names[number], soft_wrap=True)
        console.print(Text(_INDENT if names else "") + shown, soft_wrap=True)


def _named(columns: Sequence[Column], row: Sequence[Text], kept: Sequence[int]) -> Text:
    return Text("  ", style="bold").join(row[n] for n in kept if columns[n].long and str(row[n]))


def _lines(
    console: Console, columns: Sequence[Column], rows: Sequence[Sequence[Text]], kept: Sequence[int]
) -> list[Text]:
    """Return head, rule and rows as lines, as wide as they need to be."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in (columns[n] for n in kept):
        made.add_column(column.name, justify="right" if column.right else "left", no_wrap=True)
    for row in rows:
        made.add_row(*(row[n] for n in kept))
    options = console.options.update(width=_UNLIMITED)
    lines = [
        Text.assemble(*((part.text, part.style or "") for part in line)) for line in console.render_lines(made, options)
    ]
    for shown in lines:
        shown.rstrip()
    return lines


def _width(lines: Sequence[Text]) -> int:
    return max(shown.cell_len for shown in lines)


def _cell(value: object) -> Text:
    text = visible(" ".join(str(value).split()))
    return Text(text, style=_STYLES.get(text, ""))
