"""Sends the batches of one journal to one destination and keeps the account."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple

from pytest_test_observer._clock import Clock
from pytest_test_observer._destinations import Answer, Destination, Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_test_observer._journal.reader import JournalReader
    from pytest_test_observer._journal.sidecar import Sealed

# Seconds before the next try after a failed one; the last stays. A server that restarts is back within these.
BACKOFF = (0.5, 1.0, 2.0, 5.0, 10.0)

# Answers after which the next batch can be sent: this one has arrived, or is not to be sent again.
_DECIDED = (Answer.TAKEN, Answer.REFUSED, Answer.PARTLY)


def _is_of_events(sealed: Sealed) -> bool:
    return sealed.table == "events"


def _ignore(_text: str) -> None:
    pass


class Account(NamedTuple):
    """What became of a run's results.

    ``sent`` and ``set_aside`` count rows of results, ``complete`` also minds events and the run. ``message``
    is the last reason why something was not sent, ``notes`` what should be read although all was.
    """

    sent: int
    set_aside: int
    complete: bool
    message: str = ""
    notes: tuple[str, ...] = ()


class Shipper:
    """Sends pending batches in order.

    A destination that is away ends the attempt and sets a pause; rows that it refuses, or that only one of two may
    have, only hold up their own batch. ``say`` is told why something was not sent.
    """

    def __init__(self, journal: JournalReader, destination: Destination, say: Callable[[str], None] = _ignore) -> None:
        self._journal = journal
        self._destination = destination
        self._say = say
        self.is_waiting = False
        """Whether the destination is being asked for something."""
        self._failures = 0
        self._not_before = -inf
        self._fatal = False
        self._refused: set[int] = set()
        self._message = ""
        self._notes: list[str] = []

    def warm_up(self) -> None:
        """Get the destination ready before there is anything to send."""
        self.is_waiting = True
        self._destination.warm_up()
        self.is_waiting = False

    def ship(self) -> bool:
        """Send what is pending; returns whether all of it has arrived."""
        todo = [sealed for sealed in self._journal.pending() if sealed.number not in self._refused]
        if self._destination.carries_events:
            todo.sort(key=_is_of_events)
        if todo and not self._waits(todo[0]) and not self._fatal and Clock.monotonic() >= self._not_before:
            self.is_waiting = True
            self._try(todo)
            self.is_waiting = False
        return not self._journal.pending()

    @property
    def is_hopeless(self) -> bool:
        """Whether trying again is of no use before somebody changes something."""
        pending = {sealed.number for sealed in self._journal.pending() if not self._waits(sealed)}
        return self._fatal or pending <= self._refused

    @property
    def failures(self) -> int:
        """Attempts that failed since the last success."""
        return self._failures

    def hurry(self) -> None:
        """Forget the pause: the run is over, there is no later."""
        self._not_before = -inf

    def account(self) -> Account:
        """Say what was sent so far."""
        journal = self._journal
        complete = not journal.pending() and not journal.unsealed_bytes()
        return Account(
            journal.taken_rows,
            journal.set_aside_rows,
            complete,
            "" if complete else self._message,
            tuple(self._notes),
        )

    def _try(self, todo: list[Sealed]) -> None:
        reply = self._destination.prepare()
        if reply.answer is Answer.TAKEN:
            reply = self._send_all(todo) or reply
        self._notes.extend(note for note in self._destination.notes() if note not in self._notes)
        if reply.answer in _DECIDED:
            self._failures = 0
            return
        self._explain(reply.message)
        self._fatal = reply.fatal
        self._not_before = Clock.monotonic() + BACKOFF[min(self._failures, len(BACKOFF) - 1)]
        self._failures += 1

    def _send_all(self, todo: list[Sealed]) -> Reply | None:
        """Send until one batch holds up the others; returns the answer to what was not sent, else the last one."""
        reply = left = None
        for sealed in todo:
            if self._waits(sealed):
                break
            reply = self._send(sealed)
            if reply.alone:
                left = reply
            elif reply.answer not in _DECIDED:
                return reply
        return left or reply

    def _send(self, sealed: Sealed) -> Reply:
        try:
            batch = self._journal.load(sealed)
        except OSError as error:
            reply = Reply(Answer.REFUSED, str(error))
        else:
            reply = self._destination.send(batch)
        if reply.answer is Answer.TAKEN:
            self._journal.taken(sealed)
        elif reply.answer in _DECIDED:
            self._refused.add(sealed.number)
            self._explain(reply.message)
        return reply

    def _waits(self, sealed: Sealed) -> bool:
        """Whether a batch of events must wait for the results that carry them, those still to come included."""
        if not (self._destination.carries_events and _is_of_events(sealed)):
            return False
        return self._journal.run is None or not all(map(_is_of_events, self._journal.pending()))

    def _explain(self, message: str) -> None:
        if message != self._message:
            self._say(message)
        self._message = message
