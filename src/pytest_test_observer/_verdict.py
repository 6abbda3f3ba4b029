"""The verdict over all phases and subtests of one attempt: a pure function, first match wins."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

PHASES = ("setup", "call", "teardown")


class Phase(msgspec.Struct, frozen=True):
    """What pytest reported of a phase: times in seconds since the epoch, ``outcome`` as its report says."""

    outcome: str
    duration: float = 0.0
    start: float = 0.0
    stop: float = 0.0
    xfail: bool = False


class Verdict(NamedTuple):
    """``status``, ``outcome`` and ``when_phase`` as the table of results documents them."""

    status: str
    outcome: str
    when_phase: str


class Attempt(msgspec.Struct, frozen=True):
    """What the verdict depends on.

    ``rerun`` names the phase whose failure makes pytest-rerunfailures repeat the test; ``crashed`` the last
    phase that started before the process died.
    """

    phases: Mapping[str, Phase]
    subtest_failed: bool = False
    rerun: str = ""
    crashed: str = ""


PASSED = Verdict("passed", "passed", "call")


def decide(attempt: Attempt) -> Verdict:
    """Return the verdict of an attempt."""
    if attempt.crashed:
        return Verdict("broken", "crashed", attempt.crashed)
    if attempt.rerun:
        return Verdict("failed" if attempt.rerun == "call" else "broken", "rerun", attempt.rerun)
    failed = [when for when in PHASES if when in attempt.phases and attempt.phases[when].outcome == "failed"]
    if "setup" in failed:
        return Verdict("broken", "error", "setup")
    if "call" in failed or attempt.subtest_failed:
        return Verdict("failed", "failed", "call")
    if failed:
        return Verdict("broken", "error", "teardown")
    return _decide_unfailed(attempt.phases)


def _decide_unfailed(phases: Mapping[str, Phase]) -> Verdict:
    skipped = [when for when in PHASES if when in phases and phases[when].outcome == "skipped"]
    expected = [when for when in skipped if phases[when].xfail]
    if expected:
        return Verdict("skipped", "xfailed", expected[0])
    if skipped:
        return Verdict("skipped", "skipped", skipped[0])
    if "call" in phases and phases["call"].xfail:
        return Verdict("passed", "xpassed", "call")
    return PASSED
