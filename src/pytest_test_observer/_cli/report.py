"""``pytest-observer report``: results as one HTML file."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import click

from pytest_test_observer._cli.options import UsageProblem, completing, setting_options, stored_text
from pytest_test_observer._cli.reading import (
    SERVER_SETTINGS,
    Unanswered,
    attempt_option,
    not_empty,
    now_ms,
    opened_reader,
)
from pytest_test_observer._cli.visible import visible
from pytest_test_observer._text import counted

if TYPE_CHECKING:
    from pytest_test_observer._report.make import Report, Wanted

_STDOUT = "-"

_EXAMPLES = """
\b
Examples:
  pytest-observer report --ch-url=localhost:8123
  pytest-observer report --since 90d --branch main -o suite.html
  pytest-observer report --run latest -o run.html
  pytest-observer report --trace-url 'https://tempo.example/trace/{trace_id}'

\b
Exit codes: 0 written, 1 nothing to report, or no answer, 2 wrong usage.
"""


def _since(_context: click.Context, _option: click.Parameter, given: str) -> int:
    """Return how many milliseconds are looked back."""
    from pytest_test_observer._reading.filters import SINCE_FORMS, parse_since  # noqa: PLC0415 - not for --help

    now = now_ms()
    try:
        back = now - parse_since(given, now)
    except ValueError as error:
        raise click.BadParameter(f"{given!r}; {error}") from None
    if back <= 0:
        raise click.BadParameter(f"{given!r} is not in the past; accepted: {SINCE_FORMS}")
    return back


def _trace_url(_context: click.Context, _option: click.Parameter, given: str) -> str:
    if given and not (re.match(r"https?://", given) and "{trace_id}" in given):
        raise click.BadParameter(f"{given!r}; accepted: an address with {{trace_id}}, http://... or https://...")
    return given


@click.command(epilog=_EXAMPLES)
@click.option(
    "-o",
    "--output",
    type=click.Path(allow_dash=True),
    callback=not_empty,
    default="report.html",
    show_default=True,
    metavar="FILE",
    help="Where to; - prints it.",
)
@click.option(
    "--run",
    type=stored_text,
    default="",
    metavar="RUN_ID",
    shell_complete=completing("latest"),
    help="One run, by its id or the beginning of it, or latest.",
)
@click.option(
    "--since",
    default="30d",
    show_default=True,
    callback=_since,
    metavar="TIME",
    help="How far back: 12h, 30d, 8w, or a date. With --run: the runs before it.",
)
@click.option("--service", type=stored_text, metavar="NAME", help="Of this service only.")
@click.option("--repository", type=stored_text, metavar="URL", help="Of this repository only.")
@click.option("--branch", type=stored_text, metavar="NAME", help="Of this branch only.")
@click.option("--variant", type=stored_text, metavar="NAME", help="Of this variant only.")
@attempt_option
@click.option(
    "--trace-url",
    default="",
    callback=_trace_url,
    metavar="URL",
    help="Makes links to traces: an address with {trace_id} in it.",
)
@setting_options(SERVER_SETTINGS)
def report(
    output: str,
    *,
    run: str,
    since: int,
    trace_url: str,
    service: str | None,
    repository: str | None,
    branch: str | None,
    variant: str | None,
    attempt: int | None,
    **given: str | None,
) -> None:
    """Write results as one HTML file that needs nothing but a browser.

    It is about the last 30 days, or with --run about one run. It holds names, error messages and stack traces of
    tests: give it to those who may see these. A password belongs into the environment: PYTEST_OBSERVER_CH_PASSWORD.
    """
    from pytest_test_observer._reading.filters import Filters  # noqa: PLC0415 - not for --help
    from pytest_test_observer._report.make import Wanted  # noqa: PLC0415

    if attempt is not None and not run:
        raise UsageProblem("--attempt is about one run: give --run as well.")
    filters = Filters(branch, variant, service, repository, attempt)
    wanted = Wanted(now=now_ms(), span=since, filters=filters, run=run, trace_url=trace_url)
    made = _made(wanted, given)
    if output == _STDOUT:
        # the page says that it is UTF-8, whatever the terminal speaks
        click.echo(made.page.encode())
        return
    _write(output, made.page)
    size = len(made.page.encode()) / 1e6
    counts = f"{counted(made.runs, 'run')}, {counted(made.tests, 'test')}"
    click.echo(visible(f"{output}: {counts}, {size:.1f} MB."))


def _made(wanted: Wanted, given: dict[str, str | None]) -> Report:
    from pytest_test_observer._report.make import make  # noqa: PLC0415 - not for --help

    with opened_reader(given) as reader:
        return make(reader, wanted)


def _write(path: str, page: str) -> None:
    """Write the whole file or leave what was there; what is no file, as a pipe or a device, is written into."""
    target = os.path.realpath(path)  # a link stays one
    special = os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path))
    beside = path if special else f"{target}.{os.getpid()}.tmp"
    try:
        with open(beside, "w", encoding="utf-8") as file:
            file.write(page)
        if not special:
            os.replace(beside, target)
    except OSError as error:
        raise Unanswered(f"the report cannot be written to {path}: {error.strerror}.") from None
    finally:
        if not special and os.path.exists(beside):
            os.unlink(beside)
