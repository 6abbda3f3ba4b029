"""The reports of one attempt, as they come in."""

from __future__ import annotations

from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_test_observer._errors import NO_ERROR, ErrorText, error_text, joined, reason
from pytest_test_observer._record import NS_PER_S, PhaseTimes
from pytest_test_observer._text import NO_SECRETS, Cover, in_words, storable
from pytest_test_observer._verdict import PHASES, Attempt, Phase, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pytest

    from pytest_test_observer._extras import Extras, MeasuredPhase
    from pytest_test_observer._naming import Key


# The last that is reported of such an attempt with pytest-retry: its setup and teardown it keeps to itself.
RETRIED = "retried"
_PAIR = 2
_NOT_FAILED = ("passed", "skipped")
# What reports of an attempt say that is made again: pytest-rerunfailures the one, pytest-retry the other.
_REPEATED = ("rerun", RETRIED)

# The ``location`` of a pytest item or report: file, line from 0, name with class and parameters.
ItemLocation = tuple[str, "int | None", str]


class Location(NamedTuple):
    """Where a test stands: ``file`` relative to the rootdir, ``line`` from 1, ``function`` with its class."""

    file: str = ""
    line: int = 0
    function: str = ""


def location_of(location: ItemLocation | None) -> Location:
    """Return where a test stands."""
    return Location(*parts_of(location)) if location else Location()


def parts_of(location: ItemLocation) -> tuple[str, int, str]:
    """Return the fields of a ``Location``."""
    file, line, domain = location
    function = domain.partition("[")[0] or domain.removeprefix("[doctest] ").partition("[")[0]
    return _path(file), line + 1 if line is not None else 0, function if function.isascii() else storable(function)


@lru_cache(maxsize=64)  # tests come file by file
def _path(file: str) -> str:
    return storable(file).replace("\\", "/")


def ungrouped(nodeid: str) -> str:
    """Return a node id without the group that ``--dist loadgroup`` appends: pytest has no such test."""
    # neither directories nor parameters: an "@" there belongs to the test
    at = nodeid.find("@", max(nodeid.rfind("]"), nodeid.rfind("::")))
    return nodeid if at < 0 else nodeid[:at]


def is_subtest(report: pytest.TestReport) -> bool:
    """Whether a report is of a subtest; a conftest file may call something of its own ``context`` as well."""
    return "context" in report.__dict__ and type(report).__name__.lower() == "subtestreport"


def just_passed(report: pytest.TestReport) -> bool:
    """Whether a phase passed and its report says nothing else."""
    said = report.__dict__
    return (
        report.outcome == "passed"
        and not report.user_properties
        and "wasxfail" not in said  # set where there was an xfail, whatever became of it
        and "context" not in said  # a subtest's
    )


def times_of(phases: Mapping[str, Phase | MeasuredPhase]) -> list[PhaseTimes]:
    """Return when phases ran, in nanoseconds."""
    return [
        PhaseTimes(when, int(phase.start * NS_PER_S), int(phase.stop * NS_PER_S), phase.outcome)
        for when, phase in phases.items()
    ]


class Gathered:
    """Reports of an attempt, reduced to what its record needs; ``is_over`` once it needs no more of them.

    ``cover`` blacks secrets out of what they say.

    Phases that simply passed, as nearly all do, are only looked at where something else did not.
    """

    def __init__(self, cover: Cover = NO_SECRETS) -> None:
        self._cover = cover
        self.key: Key | None = None
        self.extras: Extras | None = None
        self.is_over = False
        self.rerun = ""
        self.location: ItemLocation | None = None
        self.attributes: dict[str, str] = {}
        self._plain: dict[str, pytest.TestReport] = {}
        self._phases: dict[str, Phase] = {}
        self._errors: dict[str, ErrorText] = {}
        self._subtest_errors: list[ErrorText] = []
        self._is_ordinary = True
        self._reasons: dict[str, str] = {}

    def add(self, report: pytest.TestReport, extras: Extras | None) -> None:
        """Take in a report of a phase."""
        when: str = report.when
        self.extras = extras
        self.location = report.location
        if just_passed(report):
            self._plain[when] = report
            return
        said: str = report.outcome  # plugins that repeat tests add to pytest's own three
        xfail = "wasxfail" in report.__dict__
        self._is_ordinary = False
        self._phases[when] = self._phase(report, said, xfail=xfail)
        if said != "passed" or xfail:
            self._add_trouble(report, when, said)
        if report.user_properties:
            self.attributes = _pairs(report.user_properties)

    def _phase(self, report: pytest.TestReport, said: str, *, xfail: bool = False) -> Phase:
        measured = self.extras.phases.get(report.when) if self.extras else None
        start = measured.start if measured else getattr(report, "start", 0.0)
        stop = measured.stop if measured else getattr(report, "stop", 0.0)
        duration = measured.duration if measured else report.duration
        return Phase(said if said in _NOT_FAILED else "failed", duration, start, stop, xfail)

    def _add_trouble(self, report: pytest.TestReport, when: str, said: str) -> None:
        if said in _NOT_FAILED:
            self._reasons[when] = reason(report, self._cover)
            return
        self._errors[when] = error_text(report, self._cover)
        if said in _REPEATED:
            self.rerun = self.rerun or when

    def add_subtest(self, report: pytest.TestReport) -> None:
        """Take in a report of a subtest: it matters when it failed."""
        if report.failed:
            self._is_ordinary = False
            self._subtest_errors.append(error_text(report, self._cover))

    def complete(self, extras: Extras | None) -> None:
        """Fill in phases that ran but whose reports are never logged (older pytest-rerunfailures)."""
        if extras is None or extras.phases.keys() <= self.phases.keys():
            return
        measured = {
            when: Phase(phase.outcome, phase.duration, phase.start, phase.stop) for when, phase in extras.phases.items()
        }
        self._phases = _in_order({**measured, **self.phases})

    @property
    def is_decided(self) -> bool:
        """Whether the reports there are could be all: of a call, or of what kept it from being made."""
        return "call" in self.phases or any(phase.outcome != "passed" for phase in self.phases.values())

    @property
    def is_ordinary(self) -> bool:
        """Whether all that is to say is that setup, call and teardown passed."""
        return self._is_ordinary and len(self._plain) == len(PHASES)

    @property
    def phases(self) -> dict[str, Phase]:
        """The phases that were reported, in order."""
        if self._plain:
            passed = {when: self._phase(report, "passed") for when, report in self._plain.items()}
            self._phases = _in_order({**self._phases, **passed})
            self._plain = {}
        return self._phases

    @property
    def attempt(self) -> Attempt:
        """What the verdict depends on."""
        return Attempt(self.phases, bool(self._subtest_errors), self.rerun)

    def error(self, verdict: Verdict, error_type: str) -> ErrorText:
        """Return the text that belongs to ``verdict``: a failure's, or the reason of a skip."""
        if verdict.status == "passed":
            return NO_ERROR
        if verdict.status == "skipped":
            return ErrorText(self._reasons.get(verdict.when_phase, ""))
        by_phase = {when: [self._errors[when]] for when in PHASES if when in self._errors}
        if self._subtest_errors:
            by_phase["call"] = self._subtest_errors + by_phase.get("call", [])
        decisive = by_phase.pop(verdict.when_phase, [])
        return joined([*decisive, *chain.from_iterable(by_phase.values())], error_type)

    @property
    def started_ns(self) -> int:
        """Start of the first phase, nanoseconds since the epoch; 0 when none is known."""
        first = self.phases.get("setup")
        start = first.start if first is not None else min([phase.start for phase in self.phases.values()], default=0)
        return int(start * NS_PER_S)

    @property
    def ended_ns(self) -> int:
        """End of the last phase, nanoseconds since the epoch."""
        last = self.phases.get("teardown")
        stop = last.stop if last is not None else max([phase.stop for phase in self.phases.values()], default=0)
        return int(stop * NS_PER_S)

    def last_started_phase(self) -> str:
        """Return the phase that must have been running when nothing more was heard."""
        seen = [PHASES.index(when) for when in self.phases]
        return PHASES[min(max(seen) + 1, len(PHASES) - 1)] if seen else PHASES[0]

    def duration(self, when: str) -> float:
        """Seconds that a phase took, 0 if it did not run."""
        phase = self.phases.get(when)
        return phase.duration if phase is not None else 0.0


def _pairs(properties: Iterable[Any]) -> dict[str, str]:
    """Return what a suite recorded, by name; what is no pair, as nobody checks, stands under its number."""
    pairs = {}
    for number, given in enumerate(properties):
        name, value = given if isinstance(given, (tuple, list)) and len(given) == _PAIR else (number, given)
        pairs[in_words(name)] = in_words(value)
    return dict(sorted(pairs.items()))


def _in_order(phases: dict[str, Phase]) -> dict[str, Phase]:
    return {when: phases[when] for when in PHASES if when in phases}
