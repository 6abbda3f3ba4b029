"""How answers look: tables that fit the terminal, times, durations and sparklines. Loads rich."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pytest_test_observer._text import storable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Column", "ago", "first_line", "heading", "line", "moment", "percent", "seconds", "sparkline", "table"]

# Wide enough that nothing is cut where nobody looks: a pipe, a file, a CI log.
_UNLIMITED = 10_000
_BARS = "▁▂▃▄▅▆▇█"
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


class Column(NamedTuple):
    """A column: ``right`` for numbers; ``wide`` is left out on a terminal narrower than 110 columns."""

    name: str
    right: bool = False
    wide: bool = False
    shrinks: bool = False


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


def moment(ms: int) -> str:
    """A time, in UTC and to the minute."""
    return datetime.fromtimestamp(ms / 1000, timezone.utc).strftime("%Y-%m-%d %H:%M")


def ago(ms: int, now_ms: int) -> str:
    """How long ago a time is, in its largest unit."""
    passed = max(now_ms - ms, 0) // 60_000
    for size, unit in ((1440, "d"), (60, "h")):
        if passed >= size:
            return f"{passed // size}{unit} ago"
    return f"{passed}m ago"


def seconds(value: float) -> str:
    """A duration with three figures that matter."""
    if value >= 60:
        return f"{int(value // 60)}m {value % 60:02.0f}s" if value % 60 < 59.5 else f"{int(value // 60) + 1}m 00s"
    return f"{value:.3f} s" if value < 1 else f"{value:.2f} s"


def percent(part: float) -> str:
    """A share of 1 as a percentage."""
    return f"{100 * part:.1f} %"


def first_line(text: str, limit: int = 60) -> str:
    """The first line of an error, shortened."""
    short = text.strip().partition("\n")[0].strip()
    return short if len(short) <= limit else short[: limit - 1] + "…"


def sparkline(values: Sequence[float | None]) -> str:
    """Draw numbers as bars, from zero to the largest; None is a gap."""
    top = max((value for value in values if value is not None), default=0.0)
    step = top / (len(_BARS) - 1) if top else 1.0
    return "".join(" " if value is None else _BARS[round(value / step)] for value in values)
