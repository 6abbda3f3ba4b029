"""From questions to the document: which runs, what is known of their tests, and how these hang together."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_test_observer._reading.executions import EXECUTION
from pytest_test_observer._report import queries
from pytest_test_observer._report.document import Document, Sheet, Strings
from pytest_test_observer._report.queries import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pytest_test_observer._report.queries import Scope

    Columns = dict[str, list[Any]]
    Ask = Callable[[str], Columns]
    Test = tuple[str, str, str]

__all__ = ["gather"]

# Of a span of time the newest runs of each service and variant are drawn by worker, as long as there is room for them.
_TIMELINES = 6
_IDENTITY = ("repository", "service", "nodeid")


class Focus(NamedTuple):
    """The one run that a report is about, and its tests with what became of them."""

    run: Run
    changes: dict[str, str]


def gather(ask: Ask, scope: Scope, about: dict[str, Any], focus: Focus | None = None) -> Document:
    """Ask for all that a report shows.

    ``scope`` says which rows count. With ``focus`` the report is about that one run, and the others are those that
    it is compared with.
    """
    runs = ask(queries.runs(scope))
    keys = [Run(*key) for key in zip(*(runs[name] for name in ("id", *EXECUTION[1:])), strict=True)]
    alone = [scope.of_run(*times) for times in zip(keys, runs["started"], runs["finished"], strict=True)]
    row_of_focus = keys.index(focus.run) if focus else None
    strings = Strings()
    known = _tests(ask, scope, focus)
    rows = {test: row for row, test in enumerate(_identities(known))}
    groups, failures = _failures(ask, scope if row_of_focus is None else alone[row_of_focus], rows, keys)
    chosen = _newest(runs) if row_of_focus is None else [row_of_focus]
    found = _by_run(ask(queries.timelines(alone[row] for row in chosen)))
    timelines = [(row, _timeline(ask, alone[row], _facts(runs, row), found[keys[row]], rows)) for row in chosen]
    return Document(
        {**about, "run": row_of_focus, "notes": [*about["notes"], *_notes(runs, groups)]},
        strings,
        _sheet(runs, strings, "status branch commit variant service repository"),
        _sheet(known, strings, "repository service last failing history change"),
        _sheet(groups, strings, ""),
        _sheet(failures, strings, "outcome phase worker message stack trace ci_url"),
        [(row, _sheet(drawn, strings, "worker outcome trace")) for row, drawn in timelines if drawn["test"]],
    )


def _sheet(columns: Columns, strings: Strings, repeated: str) -> Sheet:
    return Sheet.of({name: values for name, values in columns.items() if name != "of"}, strings, repeated.split())


def _identities(columns: Columns) -> list[Test]:
    return list(zip(*(columns[name] for name in _IDENTITY), strict=True))


def _kept(columns: Columns, rows: Sequence[int]) -> Columns:
    return {name: [values[row] for row in rows] for name, values in columns.items()}


def _without(columns: Columns, names: Iterable[str]) -> Columns:
    return {name: values for name, values in columns.items() if name not in names}


def _tests(ask: Ask, scope: Scope, focus: Focus | None) -> Columns:
    found = ask(queries.tests(scope))
    if focus:
        found = _kept(found, [row for row, nodeid in enumerate(found["nodeid"]) if nodeid in focus.changes])
    found["change"] = [focus.changes[nodeid] if focus else "" for nodeid in found["nodeid"]]
    found["failing"] = [""] * len(found["nodeid"])
    _add_troubled(found, ask(queries.troubled(scope)))
    return _without(found, ["both"])


def _add_troubled(found: Columns, troubled: Columns) -> None:
    """A test that passed and did not, with nothing changed, was flaky in the runs that did not pass."""
    rows = {test: row for row, test in enumerate(_identities(found))}
    facts = zip(*(troubled[name] for name in ("failing", "places", "flaky", "since", "last")), strict=True)
    for test, (failing, places, flaky, since, last) in zip(_identities(troubled), facts, strict=True):
        row = rows.get(test)
        if row is None:
            continue
        if failing:
            found["failing"][row] = places or "now"
        if flaky:
            known = found["flaky"][row]
            found["flaky"][row] = known + flaky
            found["flaky_since"][row] = min(since, found["flaky_since"][row]) if known else since
            found["flaky_last"][row] = max(last, found["flaky_last"][row])


def _failures(ask: Ask, scope: Scope, rows: dict[Test, int], keys: list[Run]) -> tuple[Columns, Columns]:
    groups = ask(queries.groups(scope))
    places = {group: row for row, group in enumerate(zip(groups["type"], groups["text"], strict=True))}
    found = ask(queries.failures(scope))
    run_rows = {key: row for row, key in enumerate(keys)}
    of_runs = [Run(*key) for key in zip(*(found[name] for name in EXECUTION), strict=True)]
    found["test"] = [rows.get(test) for test in _identities(found)]
    found["group"] = [places.get(group) for group in zip(found["type"], found["text"], strict=True)]
    found["run"] = [run_rows.get(key) for key in of_runs]
    kept = [row for row, test in enumerate(found["test"]) if test is not None and found["group"][row] is not None]
    return groups, _without(_kept(found, kept), (*_IDENTITY, "run_id", "variant", "ci_attempt", "type", "text"))


def _newest(runs: Columns) -> list[int]:
    """Return the newest whole run of each service and variant, or the newest of what has no whole one."""
    found: dict[tuple[str, str, str], int] = {}
    for partial in (0, 1):
        for row, of in enumerate(zip(runs["repository"], runs["service"], runs["variant"], strict=True)):
            if runs["partial"][row] == partial:
                found.setdefault(of, row)
    rows: list[int] = []
    room = queries.TIMELINE_KEPT
    for row in sorted(found.values()):
        room -= runs["collected"][row]
        if len(rows) < _TIMELINES and (not rows or room >= 0):
            rows.append(row)
    return rows


def _facts(columns: Columns, row: int) -> dict[str, Any]:
    return {name: values[row] for name, values in columns.items()}


def _by_run(columns: Columns) -> defaultdict[Run, Columns]:
    """Return the columns of each run; they are empty of a run that has no rows."""
    rows: defaultdict[Run, list[int]] = defaultdict(list)
    for row, key in enumerate(zip(*(columns[name] for name in EXECUTION), strict=True)):
        rows[Run(*key)].append(row)
    found: defaultdict[Run, Columns] = defaultdict(lambda: _kept(columns, ()))
    found.update((run, _kept(columns, kept)) for run, kept in rows.items())
    return found


def _timeline(ask: Ask, scope: Scope, run: dict[str, Any], found: Columns, rows: dict[Test, int]) -> Columns:
    found["start"] = [start - run["started"] for start in found["start"]]
    if run["sessions"] > 1:
        found["worker"] = _lanes(found, ask(queries.sessions(scope))["span"])
    found["test"] = [rows.get(test) for test in _identities(found)]
    kept = _kept(found, [row for row, test in enumerate(found["test"]) if test is not None])
    return _without(kept, (*EXECUTION, *_IDENTITY, "job", "above"))


def _lanes(found: Columns, spans: list[str]) -> list[str]:
    """Return the workers of several sessions, told apart by the CI job, or by the number of the session.

    The span above a test is the session's only where a session is one trace: of larger ones the job has to tell.
    """
    numbers = {span: f"#{number}" for number, span in enumerate(spans, 1)}
    if len(set(found["job"])) == len(spans):
        numbers = {}
    several = len(set(found["job"])) > 1
    names = zip(found["job"], found["above"], found["worker"], strict=True)
    return [
        " ".join(filter(None, (job if several else "", numbers.get(above), worker))) for job, above, worker in names
    ]


def _notes(runs: Columns, groups: Columns) -> list[str]:
    limits = (("runs", runs, queries.RUNS_KEPT), ("errors", groups, queries.GROUPS_KEPT))
    return [
        f"Only {limit:,} of {found['of'][0]:,} {name} are in this file: take a shorter time, or one branch or service."
        for name, found, limit in limits
        if found["of"] and found["of"][0] > limit
    ]
