"""A history with known answers: three months of runs in which flaky, slow, broken and other tests are planted.

    python -m tests.history --ch-url=chdb://path --runs=300 --tests=2000

The plan is plain Python, so that tests can compare with it; the engine multiplies it out to rows, which takes seconds
where a program would take minutes. Nothing is random: the same size and the same ``now_ms`` give the same rows.
"""

from __future__ import annotations

import argparse
import json
import time
from string import Template
from typing import TYPE_CHECKING, NamedTuple

from pytest_test_observer._columns import TABLES
from pytest_test_observer._destinations.schema import Place, create_table, quoted
from tests.history_sql import CONTEXT, EVENTS, HELPERS, RESULTS, RUNS, WORKER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from clickhouse_connect.driver.client import Client

DAY_MS = 86_400_000
SERVICE, REPOSITORY = "shop", "https://git.example/shop"
VARIANTS = ("linux-x86_64-py3.10", "linux-x86_64-py3.14")
WORKERS = 4
# Branch, whether part of the suite was selected, whether the commit is that of the pipeline before: of each ten.
_PATTERN = (
    ("main", False, False),
    ("main", False, True),
    ("main", False, False),
    ("feature/checkout", False, False),
    ("main", False, False),
    ("main", False, False),
    ("fix/login", False, False),
    ("main", False, False),
    ("main", True, False),
    ("main", False, False),
)
# A partial run takes every tenth test. No planted test is one of those.
PARTIAL_STEP = 10
_AREAS = ("account", "basket", "catalogue", "checkout", "search")


class PlannedRun(NamedTuple):
    """A run: one variant of a pipeline. ``pipeline`` counts from 0, ``workers`` is 0 without xdist."""

    run: int
    pipeline: int
    run_id: str
    branch: str
    commit: str
    variant: str
    partial: bool
    started_at: int
    provider: str
    ci_run_id: str
    ci_attempt: int
    ci_url: str
    workers: int


class PlannedTest(NamedTuple):
    """A test: ``seconds`` of its call in an ordinary run, first and last pipeline that has it."""

    test: int
    nodeid: str
    file: str
    line: int
    seconds: float
    status: str
    outcome: str
    first: int
    last: int


class Planted(NamedTuple):
    """Node ids, by what is the matter with them; each test is in one list at most.

    ``flaky_attempts`` pass after a failed attempt; ``flaky_commits`` fail and pass under one commit and variant, the
    second of them only from half of the history on. ``slower`` takes three times as long in the last third. What is
    ``newly_...``, ``fixed``, ``new`` or ``vanished`` is so in the last pipeline against the last complete one before.
    ``long_pole`` is the slowest of ``slow``: its worker ends last.
    """

    flaky_attempts: tuple[str, ...]
    flaky_commits: tuple[str, ...]
    slow: tuple[str, ...]
    slower: tuple[str, ...]
    newly_slow: tuple[str, ...]
    broken: tuple[str, ...]
    crashing: tuple[str, ...]
    failing: tuple[str, ...]
    newly_failing: tuple[str, ...]
    fixed: tuple[str, ...]
    new: tuple[str, ...]
    vanished: tuple[str, ...]
    fails_on_branch: tuple[str, ...]
    fails_in_variant: tuple[str, ...]

    @property
    def long_pole(self) -> str:
        """The slowest test of all."""
        return self.slow[0]


# How many of each are planted, in the order of ``Planted``.
_HOW_MANY = (2, 2, 3, 1, 2, 1, 1, 1, 2, 2, 2, 2, 1, 1)
# One insert has the rows of all months.
_LIMITS = {"max_partitions_per_insert_block": 0}
_SLOW_S = (20.0, 15.0, 12.0)
SLOWER, NEWLY_SLOW = 3.0, 5.0

# status, outcome, phase, type and message of the error
Attempt = tuple[str, str, str, str, str]
PASSED: Attempt = ("passed", "passed", "call", "", "")


def _bad(outcome: str, phase: str, type_: str, message: str) -> Attempt:
    return ("failed" if phase == "call" and outcome != "crashed" else "broken", outcome, phase, type_, message)


RERUN = _bad("rerun", "call", "TimeoutError", "no answer within 5 s")
RACE = _bad("failed", "call", "AssertionError", "assert 'paid' == 'pending'")
BROKEN = _bad("error", "setup", "ConnectionError", "warehouse.test does not answer\nfor the third time")
CRASHED = _bad("crashed", "call", "crashed", "worker 'gw1' crashed while running the test")
FAILED = _bad("failed", "call", "AssertionError", "assert 1611 == 1612")
REGRESSION = _bad("failed", "call", "KeyError", "'currency'")


class History:
    """A plan: ``runs``, ``tests`` and what is ``planted``.

    ``runs`` is a multiple of 20 (ten pipelines in two variants), ``tests`` at least 200. ``now_ms`` is when somebody
    looks at it: an hour after the last pipeline began.
    """

    def __init__(self, now_ms: int, *, runs: int = 300, tests: int = 200, days: int = 90) -> None:
        assert runs % 20 == 0, "ten pipelines make a pattern, each has two runs"
        assert tests >= 200, "what is planted needs room"
        self.now_ms, self.days = now_ms, days
        self.pipelines = runs // 2
        self.runs = tuple(self._run(number) for number in range(runs))
        kinds = _kinds(tests)
        self._kinds = {number: kind for number, (kind, _) in kinds.items()}
        self.tests = tuple(self._test(number, *kinds.get(number, ("", 0))) for number in range(tests))
        named: dict[str, list[str]] = {kind: [] for kind in Planted._fields}
        for number, kind in self._kinds.items():
            named[kind].append(self.tests[number].nodeid)
        self.planted = Planted(*map(tuple, named.values()))
        self._nth = {number: nth for number, (_, nth) in kinds.items()}

    @property
    def latest(self) -> tuple[PlannedRun, PlannedRun]:
        """The runs of the last pipeline, one for each variant: complete, on main."""
        return self.runs[-2], self.runs[-1]

    @property
    def latest_partial(self) -> PlannedRun:
        """The last run that was partial, in the variant of the last run of all."""
        return next(run for run in reversed(self.runs) if run.partial)

    def previous(self, run: PlannedRun) -> PlannedRun | None:
        """Return the complete run that ``run`` is compared with."""
        same = (run.branch, run.variant)
        earlier = (r for r in reversed(self.runs[: run.run]) if not r.partial and (r.branch, r.variant) == same)
        return next(earlier, None)

    def members(self, run: PlannedRun) -> list[PlannedTest]:
        """Return the tests of a run."""
        return [
            test
            for test in self.tests
            if test.first <= run.pipeline <= test.last and not (run.partial and test.test % PARTIAL_STEP)
        ]

    def attempts(self, run: PlannedRun, test: PlannedTest) -> tuple[Attempt, ...]:
        """Return what became of a test of a run, attempt by attempt."""
        return self._unusual(run, test) or ((test.status, test.outcome, *_REASONS[test.outcome]),)

    def seconds(self, run: PlannedRun, test: PlannedTest) -> float:
        """Return how long the call of a test took, each attempt; the engine computes the same."""
        jitter = 1 + ((run.run * 7 + test.test * 13) % 11 - 5) / 100
        return test.seconds * self._factor(run, test) * jitter

    def counts(self, run: PlannedRun) -> dict[str, int]:
        """Return the numbers of the row of a run: tests by the verdict of their last attempt."""
        names = ("passed", "failed", "broken", "skipped", "flaky", "reruns")
        counts = dict.fromkeys(names, 0)
        members = self.members(run)
        for test in members:
            attempts = self.attempts(run, test)
            counts[attempts[-1][0]] += 1
            counts["reruns"] += len(attempts) - 1
            counts["flaky"] += attempts[-1] == PASSED and len(attempts) > 1
        return {"collected": len(members), **counts}

    def _run(self, number: int) -> PlannedRun:
        pipeline, cell = divmod(number, 2)
        branch, partial, repeated = _PATTERN[pipeline % 10]
        step = self.days * DAY_MS // self.pipelines
        started = self.now_ms - 3_600_000 - (self.pipelines - 1 - pipeline) * step + cell * 300_000
        commit = f"{(pipeline - repeated + 1) * 2_654_435_761 % 2**32:08x}" * 5
        ci = ("local", "", 0, "") if partial else ("github", str(1000 + pipeline), 1, _ci_url(pipeline))
        workers = 0 if partial else WORKERS
        return PlannedRun(
            number,
            pipeline,
            f"run-{pipeline:05}-{cell}",
            branch,
            commit,
            VARIANTS[cell],
            partial,
            started,
            *ci,
            workers,
        )

    def _test(self, number: int, kind: str, nth: int) -> PlannedTest:
        file = f"tests/{_AREAS[number // 20 % 5]}/test_part_{number // 20:03}.py"
        name = f"{kind or 'test'}_{number:05}"
        nodeid = f"{file}::test_{name}" if number % 4 else f"{file}::TestPart::test_{name}[a-{number % 3}]"
        status, outcome = "passed", "passed"
        if not kind and number % 30 == 5:
            status, outcome = "skipped", "skipped"
        elif not kind and number % 100 == 15:
            status, outcome = "skipped", "xfailed"
        last = self.pipelines - 1
        first = last if kind == "new" else 0
        seconds = 0.01 + number * 37 % 100 / 1000
        if kind in ("slower", "newly_slow"):
            seconds = 0.5
        elif kind == "slow":
            seconds = _SLOW_S[nth]
        last -= kind == "vanished"
        return PlannedTest(number, nodeid, file, 10 + number % 20 * 8, seconds, status, outcome, first, last)

    def _factor(self, run: PlannedRun, test: PlannedTest) -> float:
        kind = self._kinds.get(test.test, "")
        if kind == "slower" and run.pipeline >= self.pipelines * 2 // 3:
            return SLOWER
        return NEWLY_SLOW if kind == "newly_slow" and run.pipeline == self.pipelines - 1 else 1.0

    def _unusual(self, run: PlannedRun, test: PlannedTest) -> tuple[Attempt, ...]:
        """Return the attempts of a planted test where they are not one that passed."""
        kind = self._kinds.get(test.test, "")
        return _OUTCOMES[kind](self, run, self._nth[test.test]) if kind in _OUTCOMES else ()

    def exceptions(self) -> Iterator[tuple[int, int, float, tuple[Attempt, ...]]]:
        """Yield run, test, factor of the time and attempts (none: as usual) of whatever is not as usual."""
        for number in self._kinds:
            test = self.tests[number]
            for run in self.runs:
                attempts, factor = self._unusual(run, test), self._factor(run, test)
                if attempts or factor != 1.0:
                    yield run.run, number, factor, attempts


_REASONS = {
    "passed": ("call", "", ""),
    "skipped": ("setup", "", "not before December"),
    "xfailed": ("call", "", "a known bug"),
}


def _flaky_attempts(_: History, run: PlannedRun, nth: int) -> tuple[Attempt, ...]:
    # the first on one pipeline in seven, the second on one in twenty, in one variant each
    every, offset, cell = ((7, 3, 0), (20, 11, 1))[nth]
    return (RERUN, PASSED) if run.pipeline % every == offset and run.run % 2 == cell else ()


def _flaky_commits(history: History, run: PlannedRun, nth: int) -> tuple[Attempt, ...]:
    # fails where a pipeline is about to be repeated, and passes when it is
    since = (0, history.pipelines // 2)[nth]
    return (RACE,) if run.pipeline % 10 == 0 and run.run % 2 == 0 and run.pipeline >= since else ()


# From kind, run and place among its kind to the attempts; empty is one attempt that passed.
_OUTCOMES: dict[str, Callable[[History, PlannedRun, int], tuple[Attempt, ...]]] = {
    "flaky_attempts": _flaky_attempts,
    "flaky_commits": _flaky_commits,
    "broken": lambda _history, _run, _nth: (BROKEN,),
    "crashing": lambda _history, _run, _nth: (CRASHED,),
    "failing": lambda history, run, _nth: (FAILED,) if run.pipeline >= history.pipelines * 2 // 3 else (),
    "newly_failing": lambda history, run, _nth: (REGRESSION,) if run.pipeline == history.pipelines - 1 else (),
    "fixed": lambda history, run, _nth: (FAILED,) if run.pipeline < history.pipelines - 1 else (),
    "fails_on_branch": lambda _history, run, _nth: (FAILED,) if run.branch == "feature/checkout" else (),
    "fails_in_variant": lambda _history, run, _nth: (FAILED,) if run.run % 2 else (),
}


def _kinds(tests: int) -> dict[int, tuple[str, int]]:
    """Spread what is planted over the suite: number of a test to its kind and its place among that kind."""
    kinds = [(kind, nth) for kind, many in zip(Planted._fields, _HOW_MANY, strict=True) for nth in range(many)]
    free = [number for number in range(tests) if number % PARTIAL_STEP in (3, 7)]
    return dict(zip(free[:: len(free) // len(kinds)], kinds, strict=False))


def _ci_url(pipeline: int) -> str:
    return f"https://ci.example/shop/runs/{1000 + pipeline}"


def write(history: History, client: Client, place: Place, *, rows_at_once: int = 400_000) -> None:
    """Make the tables at ``place`` and fill them; the database must exist."""
    for table in TABLES.values():
        client.command(create_table(table, place))
    helpers = {name: f"{quoted(place.database)}.{quoted('history_' + name)}" for name in HELPERS}
    names = {**helpers, **{f"to_{key}": place.of(table) for key, table in TABLES.items()}}
    names |= {"worker": WORKER, "context": CONTEXT}
    for name, (columns, order) in HELPERS.items():
        client.command(f"DROP TABLE IF EXISTS {helpers[name]}")
        client.command(f"CREATE TABLE {helpers[name]} ({columns}) ENGINE = MergeTree ORDER BY {order}")
    _fill(client, helpers["runs"], (_run_row(history, run) for run in history.runs))
    _fill(client, helpers["tests"], (test._asdict() for test in history.tests))
    fields = ("run", "test", "factor", "attempts")
    _fill(client, helpers["exceptions"], (dict(zip(fields, row, strict=True)) for row in history.exceptions()))
    step = max(rows_at_once // len(history.tests), 1)
    for begin in range(0, len(history.runs), step):
        for statement in (RESULTS, RUNS, EVENTS):
            bounds = {"begin": begin, "end": begin + step, "long_pole": history.planted.long_pole}
            client.command(Template(statement).substitute(names), parameters=bounds, settings=_LIMITS)
    for name in helpers.values():
        client.command(f"DROP TABLE {name}")


def _run_row(history: History, run: PlannedRun) -> dict[str, object]:
    counts = history.counts(run)
    bad = counts["failed"] + counts["broken"]
    facts = {"service": SERVICE, "repository": REPOSITORY, "status": "failure" if bad else "success"}
    return {**run._asdict(), **counts, **facts, "exit_status": int(bad > 0)}


def _fill(client: Client, table: str, rows: Iterable[dict[str, object]]) -> None:
    lines = "\n".join(map(json.dumps, rows)).encode()
    client.raw_insert(table, insert_block=lines, fmt="JSONEachRow")


def main() -> None:
    """Fill a database, see the docstring of the module."""
    from pytest_test_observer._destinations.clickhouse import ClickHouseDestination
    from pytest_test_observer._destinations.config import destinations_of
    from pytest_test_observer._settings import resolve_layers

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ch-url", required=True)
    parser.add_argument("--ch-db", default="default")
    for name, default in (("runs", 300), ("tests", 2000), ("days", 90), ("now-ms", int(time.time() * 1000))):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    settings = destinations_of(resolve_layers({"ch_url": given.ch_url, "ch_db": given.ch_db}, {}, {})).clickhouse
    assert settings is not None
    history = History(given.now_ms, runs=given.runs, tests=given.tests, days=given.days)
    destination = ClickHouseDestination(settings)
    write(history, destination._open(), Place(settings.database, settings.table))
    destination.close()
    print(json.dumps(history.planted._asdict(), indent=1))


if __name__ == "__main__":
    main()
