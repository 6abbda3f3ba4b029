"""Making a report: what is asked for becomes a scope, and the answers a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_test_observer._reading.reader import ReadingError
from pytest_test_observer._report import queries
from pytest_test_observer._report.changes import changes
from pytest_test_observer._report.gather import Focus, gather
from pytest_test_observer._report.page import render
from pytest_test_observer._report.queries import Scope
from pytest_test_observer._version import __version__

if TYPE_CHECKING:
    from pytest_test_observer._reading.reader import Reader
    from pytest_test_observer._report.document import Document

__all__ = ["Report", "Wanted", "make"]


class Wanted(NamedTuple):
    """What a report shall be about.

    ``span`` is milliseconds before ``now`` or before the end of ``run``, which is a run's id, the beginning of one,
    ``latest``, or empty. ``equal`` are columns and the values that rows must have.
    """

    now: int
    span: int
    equal: tuple[tuple[str, str], ...] = ()
    run: str = ""
    trace_url: str = ""


class Report(NamedTuple):
    """A page, with what it holds."""

    page: str
    runs: int
    tests: int


def make(reader: Reader, wanted: Wanted) -> Report:
    """Return the report; raises ``ReadingError`` where there is nothing to report on, or too much to choose from."""
    scope, focus = Scope(wanted.now - wanted.span, wanted.now, wanted.equal), None
    if wanted.run:
        scope, focus = _of_run(reader, wanted)
    about = {
        "begin": scope.begin,
        "end": scope.end,
        "made": wanted.now,
        "version": __version__,
        "source": reader.label,
        "trace_url": wanted.trace_url,
        "filters": [f"{column} {value}" for column, value in _spoken(wanted.equal)],
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
    latest = wanted.run == queries.LATEST
    begin = wanted.now - wanted.span if latest else 0
    found = reader.query(queries.named(Scope(begin, wanted.now, wanted.equal), wanted.run))
    if not found:
        what = "no run" if latest else f"no run whose id is or begins with {wanted.run!r}"
        raise ReadingError(f"{what} was found: pytest-observer runs lists them.")
    run = found[0]
    exact = [row for row in found if row["run_id"] == wanted.run]
    candidates = found[:1] if latest else exact or found
    if len(candidates) > 1:
        names = (" / ".join(filter(None, _name(row))) for row in candidates)
        raise ReadingError(
            f"several runs are called so: {', '.join(names)}. Give more of the id, --service or --variant"
        )
    equal = tuple((column, run[column]) for column in ("repository", "service", "git_branch", "variant"))
    scope = Scope(run["finished_at"] - wanted.span, run["finished_at"], equal)
    return scope, Focus(_name(run), changes(reader, run))


def _name(run: dict[str, Any]) -> tuple[str, str, str]:
    return run["run_id"], run["service"], run["variant"]


def _title(document: Document) -> str:
    texts = document.strings.table
    services = {texts[number] for sheet in (document.runs, document.tests) for number in sheet.columns["service"]}
    named = sorted(services - {""})
    return f"Tests of {', '.join(named)}" if 0 < len(named) <= 3 else "Tests"
