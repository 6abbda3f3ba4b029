"""Making a report: what is asked for becomes a scope, and the answers a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytest_test_observer._reading.choose import the_run
from pytest_test_observer._reading.executions import EXECUTION
from pytest_test_observer._reading.reader import ReadingError
from pytest_test_observer._reading.runs import LATEST
from pytest_test_observer._report.changes import changes
from pytest_test_observer._report.gather import Focus, gather
from pytest_test_observer._report.page import render
from pytest_test_observer._report.queries import Run, Scope
from pytest_test_observer._version import __version__

if TYPE_CHECKING:
    from pytest_test_observer._reading.filters import Filters
    from pytest_test_observer._reading.reader import Reader
    from pytest_test_observer._report.document import Document

__all__ = ["Report", "Wanted", "make"]


class Wanted(NamedTuple):
    """What a report shall be about.

    ``span`` is milliseconds before ``now`` or before the end of ``run``, which is a run's id, the beginning of one,
    ``latest``, or empty.
    """

    now: int
    span: int
    filters: Filters
    run: str = ""
    trace_url: str = ""


class Report(NamedTuple):
    """A page, with what it holds."""

    page: str
    runs: int
    tests: int


def make(reader: Reader, wanted: Wanted) -> Report:
    """Return the report; raises ``ReadingError`` where there is nothing to report on, or too much to choose from."""
    scope, focus = Scope(wanted.now - wanted.span, wanted.now, wanted.filters.equal), None
    if wanted.run:
        scope, focus = _of_run(reader, wanted)
    about = {
        "begin": scope.begin,
        "end": scope.end,
        "made": wanted.now,
        "version": __version__,
        "source": reader.label,
        "trace_url": wanted.trace_url,
        "filters": [f"{column} {value}" for column, value in _spoken(wanted.filters.equal)],
        "notes": [],
    }
    document = gather(reader.columns, scope, about, focus)
    runs, tests = len(document.runs.columns["id"]), len(document.tests.columns["nodeid"])
    if not runs and not tests:
        raise ReadingError("there are no results of that time: take a longer one (--since), or fewer filters.")
    return Report(render(document, _title(document)), runs, tests)


def _spoken(equal: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    return [(column.removeprefix("git_"), value) for column, value in equal]


def _of_run(reader: Reader, wanted: Wanted) -> tuple[Scope, Focus]:
    """Find the run, and those of its kind before it."""
    begin = wanted.now - wanted.span if wanted.run == LATEST else 0
    run = the_run(reader, wanted.run, wanted.filters._replace(since_ms=begin))
    equal = tuple((column, run[column]) for column in ("repository", "service", "git_branch", "variant"))
    # all of the run, however long it took
    begin = min(run["finished_at"] - wanted.span, run["started_at"])
    scope = Scope(begin, run["finished_at"], equal)
    return scope, Focus(Run(*(run[name] for name in EXECUTION)), changes(reader, run))


def _title(document: Document) -> str:
    texts = document.strings.table
    services = {texts[number] for sheet in (document.runs, document.tests) for number in sheet.columns["service"]}
    named = sorted(services - {""})
    return f"Tests of {', '.join(named)}" if 0 < len(named) <= 3 else "Tests"
