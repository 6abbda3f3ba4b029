"""A run for people: on a terminal, and as Markdown. Loads rich."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pytest_test_observer._cli.column import Column
from pytest_test_observer._cli.show import heading, line, table
from pytest_test_observer._cli.visible import visible
from pytest_test_observer._cli.words import first_line, moment, seconds, together
from pytest_test_observer._text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["markdown_of", "show"]

# Of each of the seven lists of a summary: GitHub refuses one of more than 1 MiB as a whole.
_SECTION_BYTES = 100_000
_COUNTS = ("passed", "failed", "broken", "skipped", "flaky")
_TITLES = {
    "new_failures": "New failures",
    "fixed": "Fixed",
    "newly_slow": "Newly slow",
    "new": "New tests",
    "vanished": "Vanished tests",
}
_NOT_COMPARED = "Not compared: there is no complete run before it of the same branch, variant, service and repository."


def show(answer: dict[str, Any], limit: int) -> None:
    """Print a run on the terminal, at most ``limit`` lines of each kind."""
    run, changes = answer["run"], answer["changes"]
    line(f"Run {run['run_id']}: {run['status']}{' (partial)' if run['partial'] else ''}")
    line(_about(run))
    line(f"{_numbers(run)}, in {seconds(run['duration'])}")
    if run["ci_url"]:
        line(run["ci_url"])
    _show_failures(answer, limit)
    _show_list("Flaky: passed after a failed attempt", _flaky_lines(answer), limit)
    if changes is None:
        heading(_NOT_COMPARED)
    else:
        previous = answer["previous"]
        heading(f"Against run {previous['run_id']} of {moment(previous['started_at'])}")
        line(", ".join(f"{title.lower()}: {len(changes[key])}" for key, title in _TITLES.items()))
        for key, title in _TITLES.items():
            _show_list(title, _change_lines(changes[key]), limit)
    heading("Slowest: setup, call and teardown")
    columns = (Column("test", long=True), Column("time", right=True))
    table(columns, [(test["nodeid"], seconds(test["seconds"])) for test in answer["slowest"]])


def _about(run: dict[str, Any]) -> str:
    facts = (run["service"], run["git_branch"], run["git_commit"][:10], run["variant"], *together(run))
    return ", ".join([f"{moment(run['started_at'])} UTC", *filter(None, facts)])


def _numbers(run: dict[str, Any]) -> str:
    named = [f"{run[name]} {name}" for name in _COUNTS]
    return ", ".join([_number_of_tests(run), *named, *([f"{run['not_run']} not run"] if run["not_run"] else [])])


def _number_of_tests(run: dict[str, Any]) -> str:
    return counted(run["collected"], "test")


def _show_failures(answer: dict[str, Any], limit: int) -> None:
    failures = answer["failures"]
    if not failures:
        return
    heading("Failures")
    new = set(answer["changes"]["new_failures"]) if answer["changes"] else set()
    columns = (
        Column("test", long=True),
        Column("outcome"),
        Column("phase"),
        Column(""),
        Column("error"),
    )
    rows = [
        (test["nodeid"], test["outcome"], test["phase"], "new" if test["nodeid"] in new else "", _error(test))
        for test in failures[:limit]
    ]
    table(columns, rows)
    _say_rest(len(failures), limit, line)


def _show_list(title: str, lines: list[str], limit: int) -> None:
    if lines:
        heading(title)
        for text in lines[:limit]:
            line(f"  {' '.join(text.split())}")
        _say_rest(len(lines), limit, line)


def _say_rest(count: int, limit: int, tell: Callable[[str], object]) -> None:
    if count > limit:
        tell(f"  and {count - limit} more: --json has all of them.")


def _flaky_lines(answer: dict[str, Any]) -> list[str]:
    return [f"{test['nodeid']}  {counted(test['attempts'], 'attempt')}, {_error(test)}" for test in answer["flaky"]]


def _change_lines(changes: Iterable[Any]) -> list[str]:
    return [
        change
        if isinstance(change, str)
        else f"{change['nodeid']}  {seconds(change['seconds_before'])} -> {seconds(change['seconds'])}"
        for change in changes
    ]


def _error(test: dict[str, Any], limit: int = 80) -> str:
    return first_line(test["error_message"] or test["error_type"], limit)


def markdown_of(answer: dict[str, Any], limit: int) -> str:
    """Return a run as GitHub's Markdown: counts, new failures, flaky tests, and the other changes in brief."""
    run, changes = answer["run"], answer["changes"]
    mark = {"success": "✅", "failure": "❌"}.get(run["status"], "⚠️")
    partial = ", partial" if run["partial"] else ""
    parts = [f"## {mark} {_number_of_tests(run)}: {run['status']}{partial}", _counts_of(run)]
    if run["not_run"]:
        were = "collected test was" if run["not_run"] == 1 else "collected tests were"
        parts.append(f"**{run['not_run']} {were} not run.**")
    new = changes["new_failures"] if changes else []
    by_name = {test["nodeid"]: test for test in answer["failures"]}
    old = [test for name, test in by_name.items() if name not in set(new)]
    parts += _section("New failures", [_test(by_name[name]) for name in new], limit)
    parts += _section("Still failing" if changes else "Failures", [_test(test) for test in old], limit)
    parts += _section("Flaky: passed after a failed attempt", [_test(test) for test in answer["flaky"]], limit)
    if changes is None:
        parts.append(_NOT_COMPARED)
    else:
        for key in ("fixed", "newly_slow", "new", "vanished"):
            parts += _section(_TITLES[key], [code(text) for text in _change_lines(changes[key])], limit)
        parts.append(f"Compared with run {code(answer['previous']['run_id'])}.")
    return "\n\n".join(parts)


def _counts_of(run: dict[str, Any]) -> str:
    """Return the counts as a table of one row."""
    names = (*_COUNTS, "time")
    values = (*(str(run[name]) for name in _COUNTS), seconds(run["duration"]))
    return f"| {' | '.join(names)} |\n{'|---:' * len(names)}|\n| {' | '.join(values)} |"


def _section(title: str, items: list[str], limit: int) -> list[str]:
    if not items:
        return []
    lines, room = [], _SECTION_BYTES
    for item in items[:limit]:
        room -= len(item.encode())
        if room < 0:
            break
        lines.append(f"- {item}")
    if len(items) > len(lines):
        lines.append(f"- and {len(items) - len(lines)} more")
    return [f"### {title} ({len(items)})", "\n".join(lines)]


def _test(test: dict[str, Any]) -> str:
    error = _error(test, 200)
    return code(test["nodeid"]) + (f": {code(error)}" if error else "")


def code(text: str) -> str:
    """Return text of others as a code span, in which nothing is markup, whatever is in it."""
    text = " ".join(visible(text).split()) or "(empty)"  # two fences with nothing between them are one
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"
