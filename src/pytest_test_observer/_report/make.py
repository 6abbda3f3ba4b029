"""Making a report: what is asked for becomes a scope, and the answers a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytest_test_observer._report import queries
from pytest_test_observer._report.asking import NoAnswerError
from pytest_test_observer._report.gather import gather
from pytest_test_observer._report.page import render
from pytest_test_observer._report.queries import Scope
from pytest_test_observer._version import __version__

if TYPE_CHECKING:
    from pytest_test_observer._report.asking import Ask
    from pytest_test_observer._report.document import Document

__all__ = ["Report", "Wanted", "make"]


class Wanted(NamedTuple):
    """What a report shall be about.

    ``span`` is milliseconds before ``now`` or before the end of ``run``, which is a run's id, the beginning of one,
    ``latest``, or empty. ``equal`` are columns and the values that rows must have.
    """

    database: str
    table: str
    now: int
    span: int
    equal: tuple[tuple[str, str], ...] = ()
    run: str = ""
    source: str = ""
    trace_url: str = ""


class Report(NamedTuple):
    """A page, with what it holds."""

    page: str
    runs: int
    tests: int


def make(ask: Ask, wanted: Wanted) -> Report:
    """Return the report; raises ``NoAnswerError`` where there is nothing to report on, or too much to choose from."""
    scope = Scope(wanted.database, wanted.table, wanted.now - wanted.span, wanted.now, wanted.equal)
    run = None
    if wanted.run:
        run, scope = _of_run(ask, wanted)
    about = {
        "begin": scope.begin,
        "end": scope.end,
        "made": wanted.now,
        "version": __version__,
        "source": wanted.source,
        "trace_url": wanted.trace_url,
        "filters": [f"{column} {value}" for column, value in _spoken(wanted.equal)],
        "notes": [],
    }
    document = gather(ask, scope, about, run)
    runs, tests = len(document.runs.columns["id"]), len(document.tests.columns["nodeid"])
    if not runs and not tests:
        raise NoAnswerError("there are no results of that time: take a longer one (--since), or fewer filters")
    return Report(render(document, _title(document)), runs, tests)


def _spoken(equal: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    return [(column.removeprefix("git_"), value) for column, value in equal]


def _of_run(ask: Ask, wanted: Wanted) -> tuple[tuple[str, str, str], Scope]:
    """Find the run, and those of its kind before it."""
    begin = wanted.now - wanted.span if wanted.run == queries.LATEST else 0
    found = ask(queries.named(Scope(wanted.database, wanted.table, begin, wanted.now, wanted.equal), wanted.run))
    names = list(zip(found["id"], found["service"], found["variant"], strict=True))
    if not names:
        what = "no run" if wanted.run == queries.LATEST else f"no run whose id is or begins with {wanted.run!r}"
        raise NoAnswerError(f"{what} was found: pytest-observer runs lists them")
    same = [name for name in names if name[0] == names[0][0]]
    exact = wanted.run in (queries.LATEST, names[0][0])
    if (len(names) if not exact else len(same) if wanted.run != queries.LATEST else 1) > 1:
        choices = ", ".join(" / ".join(filter(None, name)) for name in (same if exact else names))
        raise NoAnswerError(f"several runs are called so: {choices}. Give more of the id, or --service or --variant")
    row = {name: values[0] for name, values in found.items()}
    equal = tuple(
        (column, row[name])
        for column, name in (
            ("repository", "repository"),
            ("service", "service"),
            ("git_branch", "branch"),
            ("variant", "variant"),
        )
    )
    return names[0], Scope(wanted.database, wanted.table, row["ended"] - wanted.span, row["ended"], equal)


def _title(document: Document) -> str:
    texts = document.strings.table
    services = {texts[number] for sheet in (document.runs, document.tests) for number in sheet.columns["service"]}
    named = sorted(services - {""})
    return f"Tests of {', '.join(named)}" if 0 < len(named) <= 3 else "Tests"
