"""The clock of the plugin, out of reach of the tested suite.

Libraries that freeze time replace the functions of ``time`` in every module they find them in. Attributes of
a class are not searched, so what is kept here stays the real thing. This module is loaded when the plugin is on; a
conftest may have frozen time before that.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from functools import partial
from types import BuiltinFunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def _real(function: Callable[[], Any], clock: str, asked: str) -> Callable[[], Any]:
    """Return a function of ``time``; where it is frozen, one that nobody freezes and that reads the same clock."""
    if isinstance(function, BuiltinFunctionType) or not hasattr(time, clock):
        return function
    return partial(getattr(time, asked), getattr(time, clock))


class Clock:
    """Real time: ``time_ns`` since the epoch, ``monotonic`` in seconds."""

    time_ns: Callable[[], int] = staticmethod(_real(time.time_ns, "CLOCK_REALTIME", "clock_gettime_ns"))
    monotonic: Callable[[], float] = staticmethod(_real(time.monotonic, "CLOCK_MONOTONIC", "clock_gettime"))
    sleep: Callable[[float], None] = staticmethod(time.sleep)


class IsoTime:
    """Formats milliseconds since the epoch as ISO 8601 in UTC, which ClickHouse reads the same everywhere.

    Tests come many to a second, so the text of the last second is kept.
    """

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def __call__(self, milliseconds: int) -> str:
        """Return for example ``2026-11-23T16:59:13.042+00:00``."""
        second, rest = divmod(milliseconds, 1000)
        if second != self._second:
            self._text = (_EPOCH + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S")
            self._second = second
        return f"{self._text}.{rest:03d}+00:00"
