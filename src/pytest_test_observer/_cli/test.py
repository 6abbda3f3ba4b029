"""``pytest-observer test``: the history of one test."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from pytest_test_observer._cli.column import Column
from pytest_test_observer._cli.options import stored_text
from pytest_test_observer._cli.reading import (
    EXIT_CODES,
    Unanswered,
    filters_from,
    not_empty,
    opened_reader,
    reading_options,
    say_json,
)
from pytest_test_observer._cli.words import moment, percent, seconds, sparkline
from pytest_test_observer._text import counted

if TYPE_CHECKING:
    from pytest_test_observer._reading import Reader
    from pytest_test_observer._reading.filters import Filters

_EXAMPLES = f"""
\b
Examples:
  pytest-observer test 'tests/test_shop.py::test_pay' --ch-url=localhost:8123
  pytest-observer test test_pay --branch=main --since=8w
  pytest-observer test test_pay --json | jq .pass_rate
{EXIT_CODES}"""
_NONE = "no results of such a test in the time looked at; a longer --since or fewer filters find more."
# What tells tests of one node id apart.
_PLACE = ("service", "repository")
# Runs of a sparkline.
_POINTS = 40


@click.command(epilog=_EXAMPLES, short_help="Show the history of one test.")
@click.argument("nodeid", type=stored_text, callback=not_empty)
@reading_options(since="30d", limit=20)
def test(nodeid: str, *, as_json: bool, **given: Any) -> None:  # noqa: ANN401 (filters and settings)
    """Show the history of one test: pass rate, duration, last error, and its runs.

    NODEID is pytest's id of the test, or a part that only one test's id has. The pass rate is that of runs in which
    the test was not skipped.
    """
    filters = filters_from(given)
    with opened_reader(given) as reader:
        answer = _answer(reader, nodeid, filters)
    if as_json:
        say_json(answer)
    else:
        _show(answer)


def _answer(reader: Reader, nodeid: str, filters: Filters) -> dict[str, Any]:
    from pytest_test_observer._reading.tests import history, last_error  # noqa: PLC0415 - not for --help

    identity, others = _identity(reader, nodeid, filters)
    rows = history(reader, identity, filters)
    judged = [row for row in rows if row["verdict"] != "skipped"]
    passed = sum(row["verdict"] == "passed" for row in judged)
    durations = sorted(row["seconds"] for row in judged if row["outcome_"] != "crashed")
    return {
        "repository": identity["repository"],
        "service": identity["service"],
        "nodeid": identity["nodeid"],
        "also_in": others,
        "runs": len(rows),
        "passed": passed,
        "pass_rate": passed / len(judged) if judged else None,
        "flaky": sum(bool(row["flaky_"]) for row in rows),
        "median_s": durations[(len(durations) - 1) // 2] if durations else None,
        "durations_s": [row["seconds"] for row in reversed(judged[:_POINTS])],
        "last_error": last_error(reader, identity, filters),
        "history": [{name.rstrip("_"): value for name, value in row.items()} for row in rows[: filters.limit]],
    }


def _identity(reader: Reader, nodeid: str, filters: Filters) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the test that is meant, and where there are others of the same id; raises Unanswered."""
    from pytest_test_observer._reading.tests import MOST_LISTED, identities  # noqa: PLC0415 - not for --help

    found = identities(reader, nodeid, filters)
    if not found:
        raise Unanswered(f"{nodeid}: {_NONE}")
    names = sorted({row["nodeid"] for row in found[:MOST_LISTED]})
    if len(names) > 1:
        names += ["and more"] if len(found) > MOST_LISTED else []
        raise Unanswered(f"{nodeid}: several tests have this in their id, give one of them:\n  " + "\n  ".join(names))
    return found[0], [{name: row[name] for name in _PLACE} for row in found[1:]]


def _choice(answer: dict[str, Any], other: dict[str, Any]) -> str:
    """Return the options that choose another test of the id; rows of 0.2.0 have no service, which can be chosen too."""
    places = [answer, *answer["also_in"]]
    enough = next((name for name in _PLACE if sum(place[name] == other[name] for place in places) == 1), None)
    return " ".join(f"--{name}={shlex.quote(other[name])}" for name in ([enough] if enough else _PLACE))


def _show(answer: dict[str, Any]) -> None:
    from pytest_test_observer._cli.show import heading, line  # noqa: PLC0415 - loads rich

    line(" ".join(answer["nodeid"].split()) + (f"  ({answer['service']})" if answer["service"] else ""))
    if answer["also_in"]:
        line(f"Also elsewhere: {' or '.join(_choice(answer, other) for other in answer['also_in'])}")
    rate = "" if answer["pass_rate"] is None else f", {percent(answer['pass_rate'])} passed"
    line(f"{counted(answer['runs'], 'run')}{rate}, passed after a failed attempt in {answer['flaky']}")
    if answer["median_s"] is not None:
        line(f"{sparkline(answer['durations_s'])}  median {seconds(answer['median_s'])}, the latest on the right")
    if answer["last_error"]:
        _show_error(answer["last_error"])
    heading("Runs, the latest first")
    _show_history(answer["history"])


def _show_error(error: dict[str, Any]) -> None:
    from pytest_test_observer._cli.show import heading, line  # noqa: PLC0415 - loads rich

    heading(f"Last error: {moment(error['finished_at'])}, {error['outcome']} in {error['when_phase']}")
    place = (f"run {error['run_id']}", error["git_branch"], error["git_commit"][:10], error["variant"])
    line(", ".join(filter(None, place)))
    line(": ".join(filter(None, (error["error_type"], error["error_message"]))))


def _show_history(history: list[dict[str, Any]]) -> None:
    from pytest_test_observer._cli.show import table  # noqa: PLC0415 - loads rich

    columns = (
        Column("finished (UTC)"),
        Column("run", long=True),
        Column("outcome"),
        Column("attempts", right=True),
        Column("time", right=True),
        Column("branch", long=True),
        Column("commit", long=True),
        Column("variant", long=True, tells=True),
    )
    rows = [
        (
            moment(row["finished"]),
            row["run_id"],
            "flaky" if row["flaky"] else row["outcome"],
            row["attempts"],
            seconds(row["seconds"]),
            row["branch"],
            row["commit"][:10],
            row["variant"],
        )
        for row in history
    ]
    table(columns, rows)
