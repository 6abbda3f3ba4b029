"""The clock of the plugin, out of reach of the tested suite.

Libraries that freeze time replace the functions of ``time`` in every module they find them in. Attributes of
a class are not searched, so what is kept here stays the real thing.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Clock:
    """Real time: ``time_ns`` since the epoch, ``monotonic`` in seconds."""

    time_ns: Callable[[], int] = staticmethod(time.time_ns)
    monotonic: Callable[[], float] = staticmethod(time.monotonic)
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
