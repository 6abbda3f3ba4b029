"""Two destinations as one: the first, and the second for what the first certainly did not take."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from pytest_test_observer._clock import Clock
from pytest_test_observer._destinations import Answer, Batch, Destination, Reply
from pytest_test_observer._lines import digest, lines_of
from pytest_test_observer._spans.events import event_lines
from pytest_test_observer._spans.lines import loose_events, read_line

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FallbackDestination"]

_READY = Reply(Answer.TAKEN)
# What may come to the second: nothing of it is with the first.
_CERTAIN = (Answer.UNAVAILABLE, Answer.REFUSED)
# Seconds that a first destination which is away is left alone: each question would cost its time-out.
_REST = 10.0


class FallbackDestination:
    """Sends to ``first``; to ``second`` only what ``first`` certainly did not take. See ``Destination``.

    A batch that one of them may have stays with that one, also when it is sent again. The first carries events with
    the results of their tests; when results go to the second, their events go before them, out of the same lines.
    """

    carries_events = True

    def __init__(self, first: Destination, second: Destination, clock: Callable[[], float] = Clock.monotonic) -> None:
        self.label = f"{first.label} or {second.label}"
        self._first = first
        self._second = second
        self._clock = clock
        self._rests_until = -inf
        self._why = _READY
        # Tokens of batches that one of the two may have.
        self._with_first: set[str] = set()
        self._with_second: set[str] = set()

    def warm_up(self) -> None:
        """Let the first do ahead what it can; the second may hang, and is not needed where the first is there.

        A first that lets us wait in vain is not asked again when somebody waits for us.
        """
        if self._ready_first().answer is not Answer.TAKEN:
            self._second.warm_up()

    def prepare(self) -> Reply:
        """TAKEN when at least one of the two is ready."""
        reply = self._ready_first()
        if reply.answer is Answer.TAKEN:
            return reply
        other = self._second.prepare()
        return other if other.answer is Answer.TAKEN else _both(reply, other)

    def send(self, batch: Batch) -> Reply:
        """Store one batch with one of the two."""
        if batch.table == "events":
            batch = _loose(batch)
            if not batch.rows:
                return _READY
        if batch.token in self._with_second:
            return self._send_second(batch)
        if batch.resumed:
            self._with_first.add(batch.token)
        reply = self._send_first(batch)
        if reply.answer is Answer.TAKEN:
            self._with_first.discard(batch.token)
            return reply
        if batch.token in self._with_first and reply.answer in _CERTAIN:
            return reply._replace(answer=Answer.IN_DOUBT, fatal=False, alone=True)
        if reply.answer not in _CERTAIN:
            self._with_first.add(batch.token)
            return reply
        other = self._send_second(batch)
        return other if other.answer in (Answer.TAKEN, Answer.IN_DOUBT) else _both(reply, other)

    def absent(self, batch: Batch) -> list[bytes] | None:
        """Ask the one that may have the batch; see ``Destination``."""
        return (self._second if batch.token in self._with_second else self._first).absent(batch)

    def notes(self) -> list[str]:
        """Return what both want to be read."""
        return [*self._first.notes(), *self._second.notes()]

    def release(self) -> None:
        """Let others have what only one can hold."""
        self._first.release()
        self._second.release()

    def close(self) -> None:
        """Release the connections of both."""
        self._first.close()
        self._second.close()

    def _ready_first(self) -> Reply:
        if self._clock() < self._rests_until:
            return self._why
        return self._remembered(self._first.prepare())

    def _send_first(self, batch: Batch) -> Reply:
        if self._clock() < self._rests_until:
            return self._why
        return self._remembered(self._first.send(batch))

    def _remembered(self, reply: Reply) -> Reply:
        if reply.answer is Answer.UNAVAILABLE:
            self._why = reply
            self._rests_until = self._clock() + _REST
        return reply

    def _send_second(self, batch: Batch) -> Reply:
        left = self._left(batch)
        events = _events_of(left)
        reply = self._second.send(events) if events else _READY
        if reply.answer is Answer.IN_DOUBT or (events and reply.answer is Answer.TAKEN):
            self._with_second.add(batch.token)
        if reply.answer is Answer.TAKEN:
            reply = self._second.send(left)
        if reply.answer is Answer.IN_DOUBT:
            self._with_second.add(batch.token)
        elif reply.answer is Answer.TAKEN:
            self._with_second.discard(batch.token)
        return reply

    def _left(self, batch: Batch) -> Batch:
        """Return what of a batch the first did not take: it may have taken a part in a request of its own."""
        left = self._first.absent(batch)
        if left is None:
            return batch
        data = b"".join(left)
        return batch._replace(data=data, rows=len(left), token=f"{batch.token}-{digest(data)}")


def _loose(batch: Batch) -> Batch:
    """Leave out the events that go with the results of their tests."""
    loose = loose_events(batch.data)
    if len(loose) == batch.rows:
        return batch
    return batch._replace(data=b"".join(loose), rows=len(loose), token=f"{batch.token}-loose")


def _events_of(batch: Batch) -> Batch | None:
    """Return the events that lines of results carry, as a batch whose token follows from theirs."""
    if batch.table != "results":
        return None
    lines = (event_lines(read_line("results", line)) for line in lines_of(batch.data) if b'"events":' in line)
    data = b"".join(lines)
    if not data:
        return None
    return Batch("events", data, data.count(b"\n"), f"{batch.token}-events-{digest(data)}", batch.begin)


def _both(first: Reply, second: Reply) -> Reply:
    message = f"{first.message}; the other way: {second.message}"
    return first._replace(message=message, fatal=first.fatal and second.fatal)
