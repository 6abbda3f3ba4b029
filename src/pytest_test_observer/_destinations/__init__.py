"""Where batches go: the Protocol every destination answers to, and what a send can end in."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from pytest_test_observer._journal.sidecar import Begin

__all__ = ["Answer", "Batch", "Destination", "Reply", "Unanswered"]


class Batch(NamedTuple):
    """A sealed piece of a journal: only ever sent as these bytes, under this token.

    ``table`` is a key of ``_columns.TABLES``; ``data`` holds ``rows`` lines of JSON, each an object whose
    keys are columns of that table; ``token`` is the same for the same bytes and for no others. ``begin`` is what
    the journal says of the run as a whole, None for lines without a sidecar.
    """

    table: str
    data: bytes
    rows: int
    token: str
    begin: Begin | None = None
    resumed: bool = False
    """A process that is no more has sealed it, and may have sent it."""


class Answer(enum.Enum):
    """What became of a batch."""

    TAKEN = "taken"
    REFUSED = "refused"
    """Certainly not stored, and the rows themselves are why: sending the same again would fail again."""
    UNAVAILABLE = "unavailable"
    """Certainly not stored; the destination is why (refused connection, wrong password, other schema)."""
    IN_DOUBT = "in doubt"
    """Perhaps stored (time-out, reset after sending): only the same bytes under the same token may follow."""
    PARTLY = "partly taken"
    """A part is stored, a part never will be, and nobody can say which: not to be sent there again, nor in parts."""


class Reply(NamedTuple):
    """An answer with its cause, as a sentence for people: names what to change, holds no secret."""

    answer: Answer
    message: str = ""
    fatal: bool = False
    """Trying again before somebody changes something is of no use (wrong password, schema conflict)."""
    alone: bool = False
    """Only this batch has to wait: what comes after it can be sent."""


class Unanswered(Exception):  # noqa: N818 (a question without an answer)
    """The destination can be asked what it has, but not now; ``reply`` says why."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.message)
        self.reply = reply


class Destination(Protocol):
    """A place that stores batches. Not safe for use by two threads at a time."""

    label: str
    """How messages name this destination; no credentials."""

    carries_events: bool
    """Events travel with the results of their tests: a batch of events has arrived when all results have."""

    def warm_up(self) -> None:
        """Do ahead what needs no batch: load libraries, connect. Failures show in ``prepare``."""

    def prepare(self) -> Reply:
        """Connect and make sure the tables are as documented. TAKEN when ready; may be called again."""

    def send(self, batch: Batch) -> Reply:
        """Store one batch."""

    def absent(self, batch: Batch) -> list[bytes] | None:
        """Return the lines of ``batch`` that are not stored yet; None where all are to be sent.

        That is where none is stored, and where nobody can be asked.

        Raises ``Unanswered`` when it can be asked in principle but not now: then nothing must be sent, or
        rows could be stored twice.
        """

    def notes(self) -> list[str]:
        """Return sentences the user should read once although everything was stored; empties the list."""

    def release(self) -> None:
        """Let others have what only one can hold (the embedded engine); elsewhere this does nothing."""

    def close(self) -> None:
        """Release connections (and the embedded engine, so that other processes can open it)."""
