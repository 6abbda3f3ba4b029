"""How values are said: times, durations, shares, errors, sparklines. Pure text, without rich."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from pytest_test_observer._cli.reading import now_ms, speaks_unicode

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ago", "first_line", "moment", "percent", "seconds", "sparkline", "together"]

_BARS, _PLAIN_BARS = "▁▂▃▄▅▆▇█", ".:-=+*#@"


def moment(ms: int) -> str:
    """A time, in UTC and to the minute."""
    return datetime.fromtimestamp(ms / 1000, timezone.utc).strftime("%Y-%m-%d %H:%M")


def ago(ms: int) -> str:
    """How long ago a time is, in its largest unit."""
    passed = max(now_ms() - ms, 0) // 60_000
    for size, unit in ((1440, "d"), (60, "h")):
        if passed >= size:
            return f"{passed // size}{unit} ago"
    return f"{passed}m ago"


def seconds(value: float) -> str:
    """A duration with three figures that matter."""
    whole = int(value + 0.5)
    if whole >= 3600:
        return f"{whole // 3600}h {whole % 3600 // 60:02}m"
    if round(value, 2) >= 60:
        return f"{whole // 60}m {whole % 60:02}s"
    return f"{value:.3f} s" if value < 0.9995 else f"{value:.2f} s"


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
    bars = _BARS if speaks_unicode() else _PLAIN_BARS
    step = top / (len(bars) - 1) if top else 1.0
    return "".join(" " if value is None else bars[round(value / step)] for value in values)


def together(run: dict[str, Any]) -> list[str]:
    """Say what a run's id does not: that its CI job was repeated, that it has several sessions."""
    attempt = f"attempt {run['ci_attempt']}" if run["ci_attempt"] > 1 else ""
    sessions = f"{run['sessions']} sessions" if run["sessions"] > 1 else ""
    return [text for text in (attempt, sessions) if text]
