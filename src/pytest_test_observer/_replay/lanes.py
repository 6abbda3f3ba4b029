"""Sending several batches at a time: an engine takes a batch with one thread, and has more."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from pytest_test_observer._clock import Clock
from pytest_test_observer._destinations import Answer
from pytest_test_observer._replay.careful import CarefulSender, Delivered

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_test_observer._destinations import Batch, Destination, Reply

# Seconds. An embedded engine is had by one process at a time, and a run waits 30 s for it at most. So after _TURN it is
# let go for _PAUSE, in which others, who look every 0.05 s, can take it.
_TURN = 5.0
_PAUSE = 0.1

_Key = TypeVar("_Key")


class Lanes:
    """Sends batches side by side, one for each of ``destinations``, which are the same place.

    Batches of one table may overtake each other; those of the next table wait for them: a row has its events.
    """

    def __init__(self, destinations: Sequence[Destination]) -> None:
        first = CarefulSender(destinations[0])
        self._senders = [first, *(first.beside(destination) for destination in destinations[1:])]
        self._turn_began = Clock.monotonic()

    @property
    def carries_events(self) -> bool:
        """Whether events travel with results, so that they have arrived when those have."""
        return self._senders[0].carries_events

    @property
    def notes(self) -> list[str]:
        """What should be read although all was sent, each once."""
        return self._senders[0].notes

    def prepare(self) -> Reply:
        """See whether the destination is there."""
        return self._senders[0].prepare()

    def deliver_one(self, batch: Batch) -> Delivered:
        """Send one batch."""
        self._let_others()
        return self._senders[0].deliver(batch)

    def deliver(self, batches: Iterable[tuple[_Key, Batch]]) -> Iterator[tuple[_Key, Batch, Delivered]]:
        """Send and yield in the order of ``batches``, none of which is begun once one has not arrived.

        Those that were on their way then are yielded as well.
        """
        sent: deque[tuple[_Key, Batch, Future[Delivered]]] = deque()
        for number, (key, batch) in enumerate(batches):
            while sent and not self._has_room([one.table for _, one, _ in sent], batch):
                key_of_sent, batch_of_sent, delivered = sent.popleft()
                yield key_of_sent, batch_of_sent, delivered.result()
                if delivered.result().reply.answer is not Answer.TAKEN:
                    yield from ((key, batch, future.result()) for key, batch, future in sent)
                    return
            if not sent:
                self._let_others()
            sent.append((key, batch, _start(self._senders[number % len(self._senders)], batch)))
        yield from ((key, batch, future.result()) for key, batch, future in sent)

    def _has_room(self, tables: list[str], batch: Batch) -> bool:
        return len(tables) < len(self._senders) and tables[-1] == batch.table and not self._is_turn_over

    @property
    def _is_turn_over(self) -> bool:
        return Clock.monotonic() - self._turn_began >= _TURN

    def _let_others(self) -> None:
        if self._is_turn_over:
            for sender in self._senders:
                sender.release()
            Clock.sleep(_PAUSE)
            self._turn_began = Clock.monotonic()


def _start(sender: CarefulSender, batch: Batch) -> Future[Delivered]:
    """Deliver in a thread that nobody waits for when this process is interrupted."""
    future: Future[Delivered] = Future()

    def deliver() -> None:
        try:
            future.set_result(sender.deliver(batch))
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            future.set_exception(error)

    threading.Thread(target=deliver, daemon=True).start()
    return future
