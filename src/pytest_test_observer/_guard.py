"""Our code inside somebody else's program: what may come of it, and what may not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pytest_test_observer._activation import place_of

if TYPE_CHECKING:
    from collections.abc import Callable


class Guard:
    """Keeps three promises for what it runs.

    Nothing happens in a process that the tested suite forked, no error of ours reaches the suite, and the first one is
    reported.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._getpid = os.getpid  # a suite may replace it
        self.error = ""

    def __call__(self, action: Callable[..., Any], *args: object) -> Any:  # noqa: ANN401 - whatever the action returns
        """Call ``action``; returns None in a foreign process and after an error."""
        if self._getpid() != self.pid:
            return None
        try:
            return action(*args)
        except Exception as error:  # noqa: BLE001 - the suite must not see it, whatever it is
            self.report(error)
            return None

    @property
    def is_home(self) -> bool:
        """Whether this is the process that was configured, not a fork of it."""
        return self._getpid() == self.pid

    def report(self, error: Exception) -> None:
        """Keep the first error, for the end of the session."""
        if self.error:
            return
        self.error = f"an error of the plugin's own: {type(error).__name__}: {error}{place_of(error)}"
