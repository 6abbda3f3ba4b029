"""What the commands that read have in common: their options, the connection, and JSON."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pytest_test_observer._cli.options import UsageProblem, setting_options, settings_from, stored_text
from pytest_test_observer._cli.visible import visible
from pytest_test_observer._settings import SETTINGS

if TYPE_CHECKING:
    from pytest_test_observer._reading import Reader
    from pytest_test_observer._reading.filters import Filters

_Command = TypeVar("_Command", bound=Callable[..., Any])

_OF_SERVER = {"ch_url", "ch_user", "ch_password", "ch_db", "ch_table"}
SERVER_SETTINGS = tuple(row for row in SETTINGS if row.name in _OF_SERVER)
_NO_URL = "nothing to read from: give --ch-url, or set PYTEST_OBSERVER_CH_URL."
EXIT_CODES = "\n\b\nExit codes: 0 answered, even with nothing; 1 not answered; 2 wrong usage.\n"


class Unanswered(click.ClickException):
    """Why there is no answer, in one line; exit code 1."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(visible(message))


def not_empty(_context: click.Context, _argument: click.Parameter, given: str) -> str:
    """Refuse an empty argument: a variable that is not set would otherwise mean everything."""
    if not given.strip():
        raise click.BadParameter("it is empty; is a variable not set?")
    return given


def now_ms() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)


def _since(_context: click.Context, _option: click.Parameter, given: str) -> int:
    from pytest_test_observer._reading.filters import parse_since  # noqa: PLC0415 - not for --help

    try:
        return parse_since(given, now_ms())
    except ValueError as error:
        raise click.BadParameter(f"{given!r}; {error}") from None


attempt_option = click.option(
    "--attempt",
    type=click.IntRange(0, 65_535),
    metavar="NUMBER",
    help="This attempt of a CI job that was repeated under one run id; else the last.",
)


def reading_options(since: str = "", limit: int = 0, *, attempt: bool = False) -> Callable[[_Command], _Command]:
    """Give a command the filters, the server's settings and ``--json``.

    ``since`` and ``limit`` are the defaults of their options; without one there is no such option. With ``attempt``
    there is ``--attempt``.
    """
    options = [
        click.option("--branch", type=stored_text, metavar="NAME", help="Only runs of this branch."),
        click.option("--variant", type=stored_text, metavar="NAME", help="Only this variant: a cell of a CI matrix."),
        click.option("--service", type=stored_text, metavar="NAME", help="Only this service (service.name)."),
        click.option("--repository", type=stored_text, metavar="URL", help="Only this repository."),
    ]
    if attempt:
        options.append(attempt_option)
    if since:
        text = "How far to look back: 12h, 30d, 8w, or a date."
        options.append(
            click.option(
                "--since", "since_ms", metavar="TIME", default=since, show_default=True, callback=_since, help=text
            )
        )
    if limit:
        kind = click.IntRange(1, 100_000)
        options.append(
            click.option(
                "--limit", type=kind, metavar="NUMBER", default=limit, show_default=True, help="How many to show."
            )
        )
    as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")

    def decorate(command: _Command) -> _Command:
        command = setting_options(SERVER_SETTINGS)(as_json(command))
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def filters_from(given: dict[str, Any]) -> Filters:
    """Take the filters out of the keyword arguments of a command; what is left are settings."""
    from pytest_test_observer._reading.filters import Filters  # noqa: PLC0415 - not for --help

    return Filters(**{name: given.pop(name) for name in Filters._fields if name in given})


@contextlib.contextmanager
def opened_reader(given: dict[str, Any]) -> Iterator[Reader]:
    """Open what the settings name; an error is one line on stderr and exit code 1."""
    from pytest_test_observer._destinations.config import destinations_of  # noqa: PLC0415 - not for --help
    from pytest_test_observer._reading import ReadingError, open_reader  # noqa: PLC0415

    place = destinations_of(settings_from({**given, "otlp": "false", "otlp_endpoint": ""})).clickhouse
    if place is None:
        raise UsageProblem(_NO_URL)
    try:
        with open_reader(place, on_wait=lambda text: click.echo(f"{text} ...", err=True)) as reader:
            yield reader
    except ReadingError as error:
        raise Unanswered(f"{place.label}: {error}") from None


def say_json(answer: object) -> None:
    """Print an answer for programs."""
    click.echo(json.dumps(answer, indent=2, ensure_ascii=not speaks_unicode()))


def say(text: str = "") -> None:
    """Print a line."""
    click.echo(visible(text))


def speaks_unicode() -> bool:
    """Whether what is printed can have any character."""
    return (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"
