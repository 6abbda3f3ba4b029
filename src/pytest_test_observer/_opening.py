"""What a session opens first: the files of its journal, and its helper, whose libraries take longer to load than ours.

This module therefore imports no more of ours than that needs.
"""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING, NamedTuple

from pytest_test_observer._clock import Clock
from pytest_test_observer._destinations.config import Destinations, destinations_of
from pytest_test_observer._journal.reserve import JournalError, Reserved, reserve
from pytest_test_observer._shipper.spawn import NoHelper, Spawned, spawn
from pytest_test_observer._text import storable

if TYPE_CHECKING:
    from pytest_test_observer._settings import Settings

__all__ = ["JournalError", "Opening", "open_session"]


class Opening(NamedTuple):
    """A session that has begun: nanoseconds since the epoch, and no ``helper`` where none could be started."""

    started_ns: int
    run_id: str
    destinations: Destinations
    journal: Reserved
    helper: Spawned | None

    def abandon(self) -> None:
        """Leave nothing behind of a session that came no further."""
        if self.helper is not None:
            self.helper.abandon()
        self.journal.discard()


def open_session(settings: Settings) -> Opening | None:
    """Open a session; None where there is nothing to send to. Raises JournalError when no journal can be made."""
    destinations = destinations_of(settings)
    if not destinations:
        return None  # OTEL_SDK_DISABLED switches the only one off
    started_ns = Clock.time_ns()
    run_id = storable(os.environ.get("PYTEST_OBSERVER_RUN_ID", "")) or str(uuid.UUID(bytes=os.urandom(16), version=4))
    journal = reserve(os.environ, run_id)
    try:
        helper = spawn(journal.files)
    except NoHelper:
        helper = None  # the journal is sent at the end
    except BaseException:
        journal.discard()
        raise
    return Opening(started_ns, run_id, destinations, journal, helper)
