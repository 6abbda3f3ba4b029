"""The questions that a report asks, as SQL. Each answers with columns, in the formats of the page.

A test is counted once a run, by its last attempt. Which attempt is the last is not asked by grouping, for which
every name of every run would have to be held in memory, but by what there is no later attempt of: few have one. Of
a test that never had a second attempt, which is most of them, each is the last.
"""

# ruff: noqa: S608 - values are quoted by literals(), the reader puts in the tables
from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytest_test_observer._destinations._stored import literals
from pytest_test_observer._reading.executions import EXECUTION, SLACK_MS, executions

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ERROR_TEXT", "FAILURES_KEPT", "GROUPS_KEPT", "RUNS_KEPT", "TIMELINE_KEPT", "Run", "Scope"]

RUNS_KEPT = 2_000
GROUPS_KEPT = 300
FAILURES_KEPT = 1_000
TIMELINE_KEPT = 100_000
_HISTORY = 30
_MESSAGE_CHARACTERS, _STACK_CHARACTERS = 4_000, 12_000

_BAD = "status IN ('failed', 'broken')"
_IDENTITY = "repository, service, nodeid"
# The identity as one number, by which grouping takes half the time. Hashed one by one: together, the names that few
# rows differ in would be written out for each row first.
_KEY = "cityHash64(nodeid) + 3 * cityHash64(service) + 5 * cityHash64(repository)"
_RUN = ", ".join(EXECUTION)
# Rows of version 0.2.0 have no durations of phases.
_PHASES = "(setup_duration + call_duration + teardown_duration)"
_SECONDS = f"if({_PHASES} = 0, duration, {_PHASES})"
# Of several sessions: in one, each worker or collection of a test may have a result. Rows from elsewhere name none.
_SESSIONS = "(uniqExact(trace_id, parent_span_id) > 1 OR max(trace_id) = '')"
_PLACE = "repository, service, {path}, git_branch, variant"
_TO_ITS_END = "status != 'skipped' AND outcome != 'crashed'"
# A time and a verdict as one number, the newest the smallest: to sort such numbers takes a tenth of sorting pairs.
_LETTERS = "pfbsy"
_LETTER = "multiIf(status = 'failed', 1, status = 'broken', 2, status = 'skipped', 3, flaky, 4, 0)"
_MOMENT = f"-8 * toInt64(finished_at) - {_LETTER}"
_HISTORY_OF = "arrayStringConcat(arrayReverse(arrayMap(one -> substring('{letters}', 1 - one % 8, 1), {moments})))"
# The first line without what differs each time: addresses, ids, times and long numbers. Short numbers are what a test
# says: "assert 3 == 4" is another error than "assert 5 == 6".
_DIFFERS = r"0x[0-9a-fA-F]+|[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|[0-9]+\\.[0-9]+|[0-9]{5,}"
ERROR_TEXT = f"replaceRegexpAll(substringUTF8(splitByChar('\\n', error_message)[1], 1, 300), '{_DIFFERS}', '…')"


class Run(NamedTuple):
    """What names a run, see ``EXECUTION``."""

    run_id: str
    repository: str
    service: str
    variant: str
    ci_attempt: int


class Scope(NamedTuple):
    """Which rows count: ``begin`` to ``end`` in milliseconds, columns with their values, and single runs.

    ``runs`` of None are all of them.
    """

    begin: int
    end: int
    equal: tuple[tuple[str, str], ...] = ()
    runs: tuple[Run, ...] | None = None

    @property
    def where(self) -> str:
        """The condition, of results as well as of runs."""
        conditions = [f"{column} = {literals([value])}" for column, value in self.equal]
        if self.runs is not None:
            conditions.append(f"({_RUN}) IN ({', '.join(map(_tuple, self.runs)) or 'NULL'})")
        return " AND ".join([_between(self.begin, self.end), *conditions])

    def of_run(self, run: Run, started: int, finished: int) -> Scope:
        """Return the scope of one run, which began and ended at these milliseconds: the narrower, the faster."""
        return Scope(started - SLACK_MS, finished + SLACK_MS, runs=(run,))


def _between(begin: int, end: int) -> str:
    return f"timestamp >= fromUnixTimestamp64Milli({begin}) AND timestamp <= fromUnixTimestamp64Milli({end})"


def _tuple(run: Run) -> str:
    return f"({', '.join(literals([value]) for value in run[:-1])}, {run.ci_attempt})"


def runs(scope: Scope) -> str:
    """Return the newest runs, newest first; ``of`` is how many there are in all."""
    return f"""
SELECT run_id AS id, started_at AS started, finished_at AS finished, duration, status,
  passed, failed, broken, skipped, flaky, reruns, not_run,
  toUInt8(partial) AS partial, git_branch AS branch, git_commit AS commit, variant, service, repository,
  if(ci_run_id = '', '', concat(ci_provider, ' ', ci_run_id)) AS ci, ci_url, trace_id AS trace, workers, collected,
  ci_attempt, sessions, count() OVER () AS of
FROM ({executions("$runs", scope.where)})
ORDER BY started DESC, id, variant, ci_attempt DESC LIMIT {RUNS_KEPT}"""


def _retried(scope: Scope) -> str:
    """The node ids of which some attempt is not the first."""
    return f"(SELECT nodeid FROM $results WHERE {scope.where} AND attempt > 1)"


def _is_last(scope: Scope) -> str:
    """Whether there is no later attempt, of a row whose node id was retried."""
    key = f"cityHash64({_RUN}, nodeid, toUInt32({{attempt}}))"
    later = f"FROM $results WHERE {scope.where} AND attempt > 1"
    return f"{key.format(attempt='attempt')} NOT IN (SELECT {key.format(attempt='attempt - 1')} {later})"


def tests(scope: Scope) -> str:
    """Return every test with its counts, durations in seconds and the letters of its last runs.

    Tests that were retried are asked for apart: of all others the columns that name an attempt are not even read.
    """
    once = _tests(f"{scope.where} AND nodeid NOT IN {_retried(scope)}", "1")
    retried = _tests(f"{scope.where} AND nodeid IN {_retried(scope)}", _is_last(scope))
    return f"SELECT * FROM ({once} UNION ALL {retried}) ORDER BY nodeid, service, repository"


def _tests(where: str, is_last: str) -> str:
    # "both" is left out by who asks; what it needs are thousands of times of each test in memory, halved
    return f"""
SELECT any(repository_) AS repository, any(service_) AS service, any(nodeid_) AS nodeid, any(at_line) AS line,
  countIf(is_last) AS runs,
  countIf(is_last AND status = 'passed') AS passed, countIf(is_last AND status = 'failed') AS failed,
  countIf(is_last AND status = 'broken') AS broken, countIf(is_last AND status = 'skipped') AS skipped,
  countIf(is_last AND repeated) AS flaky,
  minIf(finished_at, is_last AND repeated) AS flaky_since, maxIf(finished_at, is_last AND repeated) AS flaky_last,
  argMaxIf(outcome, finished_at, is_last) AS last, max(finished_at) AS last_at,
  quantilesIf(0.5, 0.95)(toFloat32(seconds), {_TO_ITS_END}) AS both,
  round(both[1], 6) AS median, round(both[2], 6) AS p95,
  sum(seconds) AS total,
  {_HISTORY_OF.format(letters=_LETTERS, moments=f"groupArraySortedIf({_HISTORY})(moment, is_last)")} AS history
FROM (
  SELECT {_KEY} AS test, repository AS repository_, service AS service_, nodeid AS nodeid_, line AS at_line, status,
    outcome, flaky AS repeated, finished_at, {_SECONDS} AS seconds, {_MOMENT} AS moment, {is_last} AS is_last
  FROM $results WHERE {where}
) GROUP BY test"""


def _read_again(scope: Scope) -> str:
    """The files that could not be collected, and later could: there is no result that says so but those of tests."""
    unread = f"SELECT file FROM $results WHERE {scope.where} AND when_phase = 'collect'"
    return f"""
    SELECT {_PLACE.format(path="file")} FROM $results WHERE {scope.where} AND file IN ({unread})
    GROUP BY {_PLACE.format(path="file")} HAVING argMax(when_phase, finished_at) != 'collect'
  """


def troubled(scope: Scope) -> str:
    """Return tests that fail on a branch, or passed and did not on one commit, each under one variant.

    ``failing`` is whether the last run on some branch was not good, ``places`` are the first such branches and
    variants. ``flaky`` counts the runs that were not good on commits that others passed on, from ``since`` to ``last``.
    Both are asked for at once, because reading the rows is what takes time.
    """
    return f"""
SELECT {_IDENTITY}, toUInt8(countIf(NOT of_commit) > 0) AS failing,
  arrayStringConcat(arraySlice(arraySort(groupArrayIf(place, NOT of_commit)), 1, 5), ', ') AS places,
  sumIf(bad, of_commit) AS flaky, minIf(first, of_commit) AS since, maxIf(latest, of_commit) AS last
FROM (
  SELECT {_IDENTITY}, arrayJoin([0, 1]) AS of_commit, if(of_commit, git_commit, git_branch) AS what,
    arrayStringConcat(arrayFilter(x -> x != '', [what, toString(variant)]), ' · ') AS place,
    countIf({_BAD}) AS bad, minIf(finished_at, {_BAD}) AS first, maxIf(finished_at, {_BAD}) AS latest
  FROM $results
  WHERE {scope.where} AND nodeid IN (SELECT nodeid FROM $results WHERE {scope.where} AND {_BAD})
    AND ({_PLACE.format(path="nodeid")}) NOT IN ({_read_again(scope)})
    AND (nodeid NOT IN {_retried(scope)} OR {_is_last(scope)})
  GROUP BY {_IDENTITY}, variant, of_commit, what
  HAVING if(of_commit, what != '' AND bad > 0 AND countIf(status = 'passed') > 0 AND {_SESSIONS},
    argMax({_BAD}, finished_at))
) GROUP BY {_IDENTITY}"""


def groups(scope: Scope) -> str:
    """Return errors by type and first line, those of most tests first."""
    return f"""
SELECT error_type AS type, {ERROR_TEXT} AS text, count() AS attempts, uniqExact({_IDENTITY}) AS tests,
  uniqExact({_RUN}) AS runs, min(finished_at) AS first, max(finished_at) AS last, count() OVER () AS of
FROM $results WHERE {scope.where} AND {_BAD}
GROUP BY type, text ORDER BY tests DESC, attempts DESC, type, text LIMIT {GROUPS_KEPT}"""


def failures(scope: Scope) -> str:
    """Return the last failure of each test with each error, newest first."""
    keys = f"{_RUN}, nodeid, attempt"
    return f"""
SELECT {_IDENTITY}, run_id, variant, ci_attempt, error_type AS type, {ERROR_TEXT} AS text, finished_at AS at,
  attempt, outcome, when_phase AS phase, worker_id AS worker, {_cut("error_message", _MESSAGE_CHARACTERS)} AS message,
  {_cut("error_stacktrace", _STACK_CHARACTERS, end=True)} AS stack, trace_id AS trace, ci_url
FROM $results WHERE {scope.where} AND {_BAD} AND ({keys}) IN (
  SELECT {keys} FROM (
    SELECT {keys}, error_type, {ERROR_TEXT} AS text, finished_at FROM $results WHERE {scope.where} AND {_BAD}
    ORDER BY finished_at DESC, attempt DESC, nodeid LIMIT 1 BY {_IDENTITY}, error_type, text LIMIT {FAILURES_KEPT}
  )
) ORDER BY at DESC, nodeid, attempt DESC LIMIT {FAILURES_KEPT}"""


def _cut(column: str, characters: int, *, end: bool = False) -> str:
    """A traceback ends with what went wrong: of it the end is kept, of a message the beginning."""
    kept = f"rightUTF8({column}, {characters})" if end else f"leftUTF8({column}, {characters})"
    cut = f"concat('…\\n', {kept})" if end else f"concat({kept}, '\\n…')"
    return f"if(lengthUTF8({column}) > {characters}, {cut}, {column})"


def timelines(scopes: Iterable[Scope]) -> str:
    """Return the attempts of runs, each of which has its scope: when they began, milliseconds of the phases, the job.

    ``above`` is the span above. All runs are asked for at once, because finding their rows is what takes time.
    """
    return f"""
SELECT {_RUN}, nodeid, worker_id AS worker, toInt64(started_at) AS start,
  round(greatest(toFloat64(finished_at) - toFloat64(started_at), 1000 * {_SECONDS}), 1) AS length,
  round(1000 * setup_duration, 1) AS setup, round(1000 * call_duration, 1) AS call,
  round(1000 * teardown_duration, 1) AS teardown, outcome, attempt, trace_id AS trace,
  ci_job AS job, parent_span_id AS above
FROM $results WHERE {" OR ".join(f"({scope.where})" for scope in scopes) or "0"}
ORDER BY start, worker, nodeid LIMIT {TIMELINE_KEPT} BY {_RUN}"""


def sessions(scope: Scope) -> str:
    """Return the spans of the sessions of a run, in the order in which they began."""
    return f"SELECT span_id AS span FROM $runs WHERE {scope.where} ORDER BY started_at, span_id"
