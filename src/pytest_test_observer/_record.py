"""The facts that a result consists of, in plain data.

Everything downstream (row, span, counts) is derived from these; nothing here knows pytest or a server.
"""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003 - msgspec reads it at run time
from typing import NamedTuple

import msgspec

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000


class Event(msgspec.Struct, frozen=True):
    """One call of ``record_event``.

    ``time_ns`` is nanoseconds since the epoch, ``seq`` counts from 0 within the attempt.
    """

    time_ns: int
    seq: int
    name: str
    payload: dict[str, str]


class AllureMeta(msgspec.Struct, frozen=True):
    """What allure-pytest knows of a test; ``links`` are (type, url, name)."""

    id: str = ""
    title: str = ""
    severity: str = ""
    labels: dict[str, list[str]] = {}
    links: list[tuple[str, str, str]] = []

    def texts(self) -> list[str]:
        """Return all texts in it, to count how large they are."""
        values = [value for label in self.labels.values() for value in label]
        links = [part for link in self.links for part in link]
        return [self.id, self.title, self.severity, *self.labels, *values, *links]


class Context(msgspec.Struct, frozen=True):
    """Where a run happens: what every row of the run has in common.

    ``resource`` holds the attributes of ``OTEL_RESOURCE_ATTRIBUTES`` as given and what has no column of its own.
    """

    run_id: str = ""
    ci_provider: str = "local"
    ci_run_id: str = ""
    ci_job: str = ""
    ci_attempt: int = 0
    ci_url: str = ""
    git_commit: str = ""
    git_branch: str = ""
    change_id: str = ""
    repository: str = ""
    service: str = ""
    variant: str = ""
    resource: dict[str, str] = {}


class PhaseTimes(NamedTuple):
    """When a phase ran, nanoseconds since the epoch, and what pytest's report of it says."""

    when: str
    start_ns: int
    end_ns: int
    outcome: str = ""


class FixtureTimes(NamedTuple):
    """When a fixture was set up or torn down (``when``), nanoseconds since the epoch; ``module`` is its owner's."""

    name: str
    scope: str
    when: str
    start_ns: int
    end_ns: int
    module: str = ""


class ModuleTimes(NamedTuple):
    """The span of a module, where traces are per module; ids in hexadecimal digits.

    Without a name it is the root of a further trace of the session.
    """

    module: str
    start_ns: int
    end_ns: int
    trace_id: str
    span_id: str


class TestRecord(msgspec.Struct, frozen=True):
    """One attempt of one test: the one fact behind the row and the span.

    Times are integer nanoseconds since the epoch, durations are seconds. ``duration`` is the call phase's, or that
    of the phase in ``when_phase`` where call did not run. Strings hold no lone surrogates, maps have sorted keys.
    """

    __test__ = False  # the name is the field's, but it is no test class

    nodeid: str
    attempt: int
    worker_id: str
    start_ns: int
    end_ns: int
    status: str
    outcome: str
    when_phase: str
    duration: float
    trace_id: str
    span_id: str
    parent_span_id: str
    flaky: bool = False
    setup_duration: float = 0.0
    call_duration: float = 0.0
    teardown_duration: float = 0.0
    markers: list[str] = []
    file: str = ""
    line: int = 0
    function: str = ""
    phases: Sequence[PhaseTimes] = ()
    fixtures: Sequence[FixtureTimes] = ()
    error_type: str = ""
    error_message: str = ""
    error_stacktrace: str = ""
    allure: AllureMeta = AllureMeta()
    attributes: dict[str, str] = {}
    events: list[Event] = []


class OrdinaryRecord(TestRecord, frozen=True):
    """A first attempt that only passed, with nothing rare about it: what stands after ``fixtures`` is the default."""

    __test__ = False


class Counts(msgspec.Struct, frozen=True):
    """Tests of a run by their last attempt; ``reruns`` counts the attempts after a test's first."""

    passed: int = 0
    failed: int = 0
    broken: int = 0
    skipped: int = 0
    flaky: int = 0
    reruns: int = 0


class RunRecord(msgspec.Struct, frozen=True):
    """One session of pytest. Times are integer nanoseconds since the epoch.

    ``not_run`` counts tests that were collected and never reported; ``partial`` says that only part of the suite was
    selected, or that the run stopped early.
    """

    start_ns: int
    end_ns: int
    status: str
    exit_status: int
    trace_id: str
    span_id: str
    collected: int = 0
    deselected: int = 0
    not_run: int = 0
    partial: bool = False
    tests: Counts = Counts()
    modules: list[ModuleTimes] = []
    fixtures: list[FixtureTimes] = []
    workers: int = 0
    attributes: dict[str, str] = {}

    @property
    def duration(self) -> float:
        """Seconds from start to end."""
        return (self.end_ns - self.start_ns) / NS_PER_S
