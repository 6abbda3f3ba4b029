"""What the process that runs a test adds to pytest's reports of it.

The recorder works where the reports arrive; under pytest-xdist that is another process. ``Extras`` then travels
as one attribute of the report, in bytes, because execnet takes plain values only. ``user_properties`` would be
simpler, but other reporters print those.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING

import msgspec

from pytest_test_observer._ids import SpanIds  # noqa: TC001 - msgspec reads it at run time
from pytest_test_observer._record import AllureMeta, Event, FixtureTimes
from pytest_test_observer._rows import encode

if TYPE_CHECKING:
    import pytest

ATTRIBUTE = "_test_observer"


class MeasuredPhase(msgspec.Struct, array_like=True):
    """One phase as measured: ``start`` and ``stop`` in seconds since the epoch, ``duration`` in seconds.

    ``outcome`` is what its exception says; it counts where the phase's report is never logged.
    """

    outcome: str
    duration: float
    start: float
    stop: float


class Extras(msgspec.Struct, array_like=True):
    """Facts of one attempt that reports lack; all but the first two are complete only once teardown is over.

    ``attempt`` counts within the process, ``occurrence`` tells items of equal node id apart
    (``--keep-duplicates``). ``error_types`` maps a phase to the qualified name of the exception that ended it.
    ``span`` is what the test's own spans stand below, where they do (``--observer-nest``).
    """

    occurrence: int
    attempt: int
    complete: bool = False
    phases: dict[str, MeasuredPhase] = msgspec.field(default_factory=dict)
    error_types: dict[str, str] = msgspec.field(default_factory=dict)
    markers: list[str] = msgspec.field(default_factory=list)
    allure: AllureMeta = AllureMeta()
    events: list[Event] = msgspec.field(default_factory=list)
    fixtures: list[FixtureTimes] = msgspec.field(default_factory=list)
    span: SpanIds | None = None


# What reports of a first attempt carry that come before its last and say more than that a phase passed.
_FIRST = encode(Extras(1, 1))
# What reports of tests carry that our hooks on the worker know nothing of: they ran elsewhere (pytest-isolate).
_UNKNOWN = b""


class Packer:
    """Hangs extras on reports in a form fit for the wire: on a worker, just before xdist sends them."""

    def __init__(self) -> None:
        self._sent: pytest.TestReport | None = None

    def pack(self, report: pytest.TestReport, extras: Extras | None) -> None:
        """Hang ``extras`` on ``report``: all of them on an attempt's last, on others what tells the attempt apart."""
        if extras is None:
            packed = _UNKNOWN
        elif extras.complete:
            packed = encode(extras)
            self._let_go(report)
        elif extras.attempt == extras.occurrence == 1:
            if _goes_without(report):
                return
            packed = _FIRST
        else:
            packed = encode(Extras(extras.occurrence, extras.attempt))
        setattr(report, ATTRIBUTE, packed)

    def _let_go(self, report: pytest.TestReport) -> None:
        """Take the extras off the report before: xdist has sent it, but pytest's own reporter keeps it to the end."""
        if self._sent is not None:
            _remove(self._sent)
        self._sent = report


def _goes_without(report: pytest.TestReport) -> bool:
    """Whether a report needs no extras to be known for one of a first attempt."""
    return report.outcome == "passed" and "context" not in report.__dict__ and not getattr(report, "rerun", 0)


@cache
def _decoder() -> msgspec.json.Decoder[Extras]:
    return msgspec.json.Decoder(Extras)  # made where it is needed: that takes a while


def take(report: pytest.TestReport) -> Extras | None:
    """Remove the extras that a report brings along, before any other reporter sees them, and return them."""
    packed = _remove(report)
    if not packed:
        return None
    return Extras(1, 1) if packed == _FIRST else _decoder().decode(packed)


def take_from_worker(report: pytest.TestReport) -> Extras | None:
    """Do the same with a report of an xdist worker, which may be one that goes without."""
    if ATTRIBUTE not in report.__dict__ and _goes_without(report):
        return Extras(1, 1)
    return take(report)


def _remove(report: pytest.TestReport) -> bytes | None:
    packed: bytes | None = report.__dict__.pop(ATTRIBUTE, None)
    if packed is not None and sys.version_info < (3, 11):
        # An object that has lost an attribute has a table of names of its own there, of 900 bytes, and pytest keeps
        # the reports to the end. A new one shares them with others.
        twin = object.__new__(type(report))
        for name, value in report.__dict__.items():
            object.__setattr__(twin, name, value)
        report.__dict__ = twin.__dict__
    return packed
