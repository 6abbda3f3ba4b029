"""What pytest and its helper say to each other: one JSON object a line, through pipes."""

from __future__ import annotations

from functools import cache
from typing import Union

import msgspec

from pytest_test_observer._destinations.config import Destinations  # noqa: TC001 - msgspec reads it at run time
from pytest_test_observer._journal.sidecar import Process  # noqa: TC001
from pytest_test_observer._rows import encode


class Task(msgspec.Struct, frozen=True, tag_field="kind", tag="task"):
    """First line to the helper: which journal, whose, and where its rows go.

    Secrets travel here and nowhere else.
    """

    directory: str
    stem: str
    process: Process
    destinations: Destinations


class Flush(msgspec.Struct, frozen=True, tag_field="kind", tag="flush"):
    """No more results will be written; only the row of the run is still to come."""


class Done(msgspec.Struct, frozen=True, tag_field="kind", tag="done"):
    """The journal is complete: send the rest and answer."""


class Ready(msgspec.Struct, frozen=True, tag_field="kind", tag="ready"):
    """From the helper: it has detached itself; ``pid`` is its own."""

    pid: int


class Final(msgspec.Struct, frozen=True, tag_field="kind", tag="final"):
    """From the helper: the account; nothing more will be sent. ``sent`` counts rows, None means all."""

    sent: int | None
    complete: bool
    message: str = ""
    notes: list[str] = []


ToHelper = Union[Task, Flush, Done]  # noqa: UP007 - msgspec reads it at run time
FromHelper = Union[Ready, Final]  # noqa: UP007


def encode_message(message: ToHelper | FromHelper) -> bytes:
    """Return a message as it goes through a pipe."""
    return encode(message) + b"\n"


class Inbox:
    """Puts messages together from the pieces that a pipe delivers."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Take in bytes; returns the lines that are whole now."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines


# Each side makes the decoder that it needs: that takes a while.
@cache
def _to_helper() -> msgspec.json.Decoder[ToHelper]:
    return msgspec.json.Decoder(ToHelper)


@cache
def _from_helper() -> msgspec.json.Decoder[FromHelper]:
    return msgspec.json.Decoder(FromHelper)


def decode_to_helper(line: bytes) -> ToHelper:
    """Read a line that pytest wrote; raises msgspec.MsgspecError."""
    return _to_helper().decode(line)


def decode_from_helper(line: bytes) -> FromHelper:
    """Read a line that the helper wrote; raises msgspec.MsgspecError."""
    return _from_helper().decode(line)
