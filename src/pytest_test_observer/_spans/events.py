"""Custom events on spans: their attributes, how many go on one span, and their rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_test_observer._clock import IsoTime
from pytest_test_observer._columns import EVENT_KEY, EVENT_PREFIX, EVENTS
from pytest_test_observer._record import NS_PER_MS
from pytest_test_observer._rows import encode
from pytest_test_observer._spans.lines import EventOf
from pytest_test_observer._spans.values import text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SEQ = "pytest.event.seq"

# More than this on one span and receivers, viewers and limits of 4 MiB for a request have their trouble with it.
EVENTS_PER_SPAN = 1_000
BYTES_PER_SPAN = 1_000_000

Numbered = tuple[int, EventOf]

_iso = IsoTime()
_OWNER = tuple(column.name for column in EVENTS.columns if column.scope != "event")


def attributes_of(seq: int, payload: Mapping[str, str]) -> dict[str, str | int]:
    """Return the attributes of a custom event; keys that attributes cannot have, or that are ours, are marked."""
    attributes: dict[str, str | int] = {SEQ: seq}
    for key, value in payload.items():
        attributes[EVENT_KEY + key if not key or key.startswith(EVENT_PREFIX) else key] = value
    return attributes


def payload_of(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Return what ``attributes_of`` was given."""
    named = ((key, text(value)) for key, value in attributes.items())
    payload = {
        key.removeprefix(EVENT_KEY): value
        for key, value in named
        if not key.startswith(EVENT_PREFIX) or key.startswith(EVENT_KEY)
    }
    return dict(sorted((text(key), value) for key, value in payload.items()))


def numbered(events: list[EventOf]) -> list[Numbered]:
    """Return the events of an attempt with their ``seq``."""
    return list(enumerate(events))


def portions(events: list[Numbered]) -> Iterator[list[Numbered]]:
    """Cut the events of an attempt into what one span takes; the first portion can be empty."""
    portion: list[Numbered] = []
    size = 0
    for event in events:
        weight = _weight(event[1])
        if len(portion) >= EVENTS_PER_SPAN or (portion and size + weight > BYTES_PER_SPAN):
            yield portion
            portion, size = [], 0
        portion.append(event)
        size += weight
    yield portion


def event_lines(row: Any) -> bytes:  # noqa: ANN401 - see lines.read_line
    """Return the lines of the events table that a line of results carries in its ``_span``."""
    events = row.span.events if row.span else []
    return b"".join(encode(event_row(row, seq, event)) + b"\n" for seq, event in numbered(events))


def event_row(owner: Any, seq: int, event: EventOf) -> dict[str, Any]:  # noqa: ANN401 - whoever has the columns
    """Return the row of one event; ``owner`` has the columns that it shares with its attempt."""
    own = {
        "timestamp": _iso(event.time_ns // NS_PER_MS),
        "seq": seq,
        "event_name": event.name,
        "payload": event.payload,
    }
    return {name: getattr(owner, name) for name in _OWNER} | own


def _weight(event: EventOf) -> int:
    return _bytes(event.name) + sum(_bytes(key) + _bytes(value) for key, value in event.payload.items())


def _bytes(given: str) -> int:
    return len(given) if given.isascii() else len(given.encode())
