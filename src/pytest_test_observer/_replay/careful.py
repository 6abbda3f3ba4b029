"""Sending a batch so that nothing is stored twice and no line can hold up the others."""

from __future__ import annotations

from typing import NamedTuple

from pytest_test_observer._clock import Clock
from pytest_test_observer._destinations import Answer, Batch, Destination, Reply, Unanswered
from pytest_test_observer._lines import lines_of
from pytest_test_observer._replay.lines import batch_of, damage, looks_sound
from pytest_test_observer._shipper.ship import BACKOFF

# A server that refuses this many lines of a batch and takes none has something against the table, not against
# them. Beyond the second number it is not asked about the others: each costs two requests.
_SUSPICIOUS = 10
_HOPELESS = 1_000
# Tries after the first, each after a pause of BACKOFF. No more: somebody watches a replay, and can repeat it.
_REPEATS = 2
_TAKEN = Reply(Answer.TAKEN)
# To send again is of no use, or would store a part twice.
_FINAL = (Answer.TAKEN, Answer.PARTLY)


class Refused(NamedTuple):
    """A line that no destination takes, and why."""

    line: bytes
    reason: str


class Delivered(NamedTuple):
    """What became of a batch; only where ``reply`` says TAKEN do the rest of the fields hold.

    ``stored`` and ``already`` count lines that were sent and that had been there before.
    """

    reply: Reply
    stored: int = 0
    already: int = 0
    refused: tuple[Refused, ...] = ()


class CarefulSender:
    """Sends batches to a destination that may have some of their lines already."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._notes: dict[str, None] = {}
        self._has_taken: set[str] = set()
        self._is_down = False

    def beside(self, destination: Destination) -> CarefulSender:
        """Return a sender with a destination of its own that is the same place: what one learns of it both know."""
        sender = CarefulSender(destination)
        sender._notes, sender._has_taken = self._notes, self._has_taken
        return sender

    @property
    def carries_events(self) -> bool:
        """Whether events travel with results, so that they have arrived when those have."""
        return self._destination.carries_events

    @property
    def notes(self) -> list[str]:
        """What should be read although all was sent, each once."""
        return list(self._notes)

    def prepare(self) -> Reply:
        """See whether the destination is there, again after a pause where that may help."""
        reply = self._destination.prepare()
        for pause in BACKOFF[:_REPEATS]:
            if reply.answer is Answer.TAKEN or reply.fatal:
                break
            Clock.sleep(pause)
            reply = self._destination.prepare()
        return reply

    def deliver(self, batch: Batch) -> Delivered:
        """Send ``batch``, again after a pause where that may help."""
        delivered = self._deliver(batch)
        for pause in () if self._is_down else BACKOFF[:_REPEATS]:
            if delivered.reply.answer in _FINAL or delivered.reply.fatal:
                break
            Clock.sleep(pause)
            delivered = self._deliver(batch)
        self._is_down = delivered.reply.answer is not Answer.TAKEN
        self._notes.update(dict.fromkeys(self._destination.notes()))
        return delivered

    def release(self) -> None:
        """Let others have what only one process can have at a time."""
        self._destination.release()

    def _deliver(self, batch: Batch) -> Delivered:
        reply = self._destination.prepare()
        if reply.answer is not Answer.TAKEN:
            return Delivered(reply)
        refused: tuple[Refused, ...] = ()
        if not looks_sound(batch):
            batch, refused = _sorted_out(batch)
        try:
            absent = self._absent(batch)
        except Unanswered as unanswered:
            return Delivered(unanswered.reply)
        already = batch.rows - absent.rows
        if not absent.rows:
            return Delivered(_TAKEN, 0, already, refused)
        reply = self._destination.send(absent)
        if reply.answer is Answer.REFUSED:
            return self._halve(absent, already, refused)
        if reply.answer is Answer.TAKEN:
            self._has_taken.add(batch.table)
        return Delivered(reply, absent.rows, already, refused)

    def _absent(self, batch: Batch) -> Batch:
        """Return what of a batch is not stored yet: the batch itself, token and all, where all of it is."""
        lines = self._destination.absent(batch) if batch.rows else []
        if lines is None or len(lines) == batch.rows:
            return batch
        return batch_of(batch.table, lines, batch.begin)

    def _halve(self, batch: Batch, already: int, refused: tuple[Refused, ...]) -> Delivered:
        """Find the lines that a destination refuses, and send the others."""
        sound, damaged = _sorted_out(batch)
        found: list[Refused] = []
        parts = [lines_of(sound.data)]
        stored = 0
        takes_some = already > 0 or batch.table in self._has_taken
        while parts and (takes_some or len(found) < _HOPELESS):
            part = parts.pop()
            reply = self._destination.send(batch_of(batch.table, part, batch.begin)) if part else _TAKEN
            if reply.answer is Answer.TAKEN:
                stored += len(part)
                takes_some = takes_some or bool(part)
            elif reply.answer is not Answer.REFUSED:
                return Delivered(reply)
            elif len(part) > 1:
                parts += [part[len(part) // 2 :], part[: len(part) // 2]]
            else:
                found.append(Refused(part[0], reply.message))
        if takes_some:
            self._has_taken.add(batch.table)
        elif len(found) >= _SUSPICIOUS:
            return Delivered(_blamed(found[0].reason))
        return Delivered(_TAKEN, stored, already, (*refused, *damaged, *found))


def _blamed(reason: str) -> Reply:
    message = f"every line is refused, so nothing was set aside: {reason}"
    return Reply(Answer.UNAVAILABLE, message, fatal=True)


def _sorted_out(batch: Batch) -> tuple[Batch, tuple[Refused, ...]]:
    """Take out lines that are visibly damaged; blank ones say nothing and just go."""
    sound: list[bytes] = []
    damaged: list[Refused] = []
    for line in lines_of(batch.data):
        if not line.strip():
            continue
        reason = damage(line)
        if reason:
            damaged.append(Refused(line, reason))
        else:
            sound.append(line)
    if len(sound) == batch.rows:
        return batch, ()
    return batch_of(batch.table, sound, batch.begin), tuple(damaged)
