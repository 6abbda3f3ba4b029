"""``pytest-observer run``: one run, and what it changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pytest_test_observer._cli.options import UsageProblem, completing, stored_text
from pytest_test_observer._cli.reading import (
    EXIT_CODES,
    filters_from,
    not_empty,
    opened_reader,
    reading_options,
    say,
    say_json,
)

if TYPE_CHECKING:
    from pytest_test_observer._reading import Reader
    from pytest_test_observer._reading.filters import Filters

_EXAMPLES = f"""
\b
Examples:
  pytest-observer run latest --ch-url=chdb:///path/to/observer.db
  pytest-observer run latest --branch=main --variant=linux-x86_64-py3.14
  pytest-observer run 0b1f6d --json
  pytest-observer run latest --markdown >> "$GITHUB_STEP_SUMMARY"
{EXIT_CODES}"""
# Lists of a summary are cut there: GitHub takes 1 MiB, people less.
_LIMIT = 50


@click.command(epilog=_EXAMPLES, short_help="Show one run: verdicts, failures, and what changed.")
@click.argument("run_id", type=stored_text, metavar="RUN_ID", callback=not_empty, shell_complete=completing("latest"))
@click.option("--markdown", is_flag=True, help="Print Markdown: the job summary of a GitHub workflow.")
@reading_options(limit=10, attempt=True)
def run(run_id: str, *, markdown: bool, as_json: bool, **given: Any) -> None:  # noqa: ANN401 (filters and settings)
    """Show one run: verdicts, failures, the slowest tests, and what changed.

    RUN_ID is an id, its unique beginning, or "latest". Shards that share an id are one run. Cells of a CI matrix
    (--variant), services of a monorepo (--service) and repeated CI jobs (--attempt, else the last one) are runs of
    their own. The run is compared with the last complete run before it of the same branch, variant, service and
    repository. A partial run makes no test vanish.
    """
    from pytest_test_observer._cli.run_shown import markdown_of, show  # noqa: PLC0415 - not for --help

    if markdown and as_json:
        raise UsageProblem("--json and --markdown exclude each other: give one.")
    filters = filters_from(given)
    with opened_reader(given) as reader:
        answer = answer_of(reader, run_id, filters)
    if as_json:
        say_json(answer)
    elif markdown:
        say(markdown_of(answer, _LIMIT))
    else:
        show(answer, _LIMIT)


def answer_of(reader: Reader, run_id: str, filters: Filters) -> dict[str, Any]:
    """Return a run as plain data: its row, counts, failures, flaky and slowest tests, changes (None: no comparison)."""
    from pytest_test_observer._reading.choose import the_run  # noqa: PLC0415 - not for --help
    from pytest_test_observer._reading.runs import compare, previous_run, settle, verdicts  # noqa: PLC0415

    found = the_run(reader, run_id, filters)
    now = verdicts(reader, found)
    found = settle(found, now)
    previous, before = previous_run(reader, found) or (None, [])
    change = compare(now, before, partial=found["partial"]) if previous else None
    slowest = sorted(now, key=lambda verdict: -verdict.seconds)[: filters.limit]
    plain = [verdict._asdict() for verdict in now if verdict.bad]
    return {
        "run": found,
        "failures": plain,
        "flaky": [verdict._asdict() for verdict in now if verdict.flaky],
        "slowest": [verdict._asdict() for verdict in slowest],
        "previous": previous,
        "changes": change
        and {
            "new_failures": [verdict.nodeid for verdict in change.new_failures],
            "fixed": [verdict.nodeid for verdict in change.fixed],
            "newly_slow": [
                {"nodeid": verdict.nodeid, "seconds": verdict.seconds, "seconds_before": seconds}
                for verdict, seconds in change.newly_slow
            ],
            "new": change.new,
            "vanished": change.vanished,
        },
    }
