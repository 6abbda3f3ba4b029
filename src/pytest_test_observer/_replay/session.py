"""A replay as a whole: one thing after the other, to one destination."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pytest_test_observer._replay.claim import claim
from pytest_test_observer._replay.lanes import Lanes
from pytest_test_observer._replay.lone import replay_lone
from pytest_test_observer._replay.outcome import Outcome
from pytest_test_observer._replay.runs import replay_run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_test_observer._destinations import Destination, Reply
    from pytest_test_observer._replay.find import Found

# When this many files in a row could not be sent, the others need not wait for the same.
_PATIENCE = 3
_UNTRIED = "not tried, because the ones before it could not be sent"


class Replay:
    """Sends what was found; ``advance`` is told bytes as they are done.

    ``destinations`` are the same place; a large run is sent through all of them at a time.
    """

    def __init__(self, destinations: Sequence[Destination], *, keep: bool, advance: Callable[[int], None]) -> None:
        self._lanes = Lanes(destinations)
        self._keep = keep
        self._advance = advance
        self._outages = 0

    @property
    def notes(self) -> list[str]:
        """What should be read although all was sent, each once."""
        return self._lanes.notes

    def prepare(self) -> Reply:
        """See whether there is anybody to send to."""
        return self._lanes.prepare()

    def send(self, thing: Found) -> Outcome | None:
        """Send one run or file; None when it is gone, because somebody else has sent it meanwhile."""
        if self._outages >= _PATIENCE:
            return Outcome(thing.path, problem=_UNTRIED)
        try:
            outcome = self._send(thing)
        except FileNotFoundError as error:
            if not os.path.exists(thing.path):
                return None
            outcome = Outcome(thing.path, problem=str(error))
        except OSError as error:
            outcome = Outcome(thing.path, problem=f"{error.strerror or error} ({error.filename or thing.path})")
        self._outages = self._outages + 1 if outcome is not None and outcome.is_outage else 0
        return outcome

    def _send(self, thing: Found) -> Outcome | None:
        with claim(thing.path, thing.run) as obstacle:
            if obstacle:
                return Outcome(thing.path, problem=obstacle)
            if not os.path.exists(thing.path) and not (thing.run and os.path.exists(thing.run.meta)):
                return None
            if thing.run is not None:
                return replay_run(thing.run, self._lanes, keep=self._keep, advance=self._advance)
            return replay_lone(thing.path, self._lanes, keep=self._keep, advance=self._advance)
