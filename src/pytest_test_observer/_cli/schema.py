"""``pytest-observer schema``: the tables and views for the way through an OpenTelemetry Collector."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pytest_test_observer._cli.options import UsageProblem, setting_options, settings_from
from pytest_test_observer._settings import SETTINGS

if TYPE_CHECKING:
    from pytest_test_observer._settings import Settings
    from pytest_test_observer._views.layout import Layout

_Command = TypeVar("_Command", bound=Callable[..., Any])

_NAMES = tuple(row for row in SETTINGS if row.name in {"ch_db", "ch_table"})
_SERVER = tuple(row for row in SETTINGS if row.name in {"ch_url", "ch_user", "ch_password"})
_NO_URL = "no server to make the tables on: give --ch-url, or set PYTEST_OBSERVER_CH_URL."

_EXAMPLES = """
\b
Examples:
  pytest-observer schema print > schema.sql
  pytest-observer schema apply --ch-url=clickhouse:8123 --ttl='90 DAY'
  pytest-observer schema print --cluster=main --ttl='1 YEAR'
"""


def _layout_options(command: _Command) -> _Command:
    cluster = click.option(
        "--cluster",
        "--ch-cluster",
        "ch_cluster",
        metavar="NAME",
        help="Cluster to make replicated tables on, with Distributed ones above them. "
        "[PYTEST_OBSERVER_CH_CLUSTER; default: none]",
    )
    ttl = click.option(
        "--ttl",
        default="",
        metavar="INTERVAL",
        callback=_ttl,
        help="How long rows are kept, as in '90 DAY'. [default: for ever]",
    )
    return setting_options(_NAMES)(cluster(ttl(command)))


def _ttl(_context: click.Context, _option: click.Parameter, given: str) -> str:
    from pytest_test_observer._views.layout import parse_ttl  # noqa: PLC0415 - not for --help

    try:
        return parse_ttl(given) if given else ""
    except ValueError as error:
        raise click.BadParameter(f"{given!r}; {error}") from None


@click.group(epilog=_EXAMPLES)
def schema() -> None:
    """Print or make the tables and views that turn spans into results.

    The ClickHouse exporter of an OpenTelemetry Collector writes otel_traces; materialized views fill the same
    three tables that a run writes which sends to ClickHouse itself.
    """


@schema.command("print")
@_layout_options
def print_schema(ttl: str, **given: str | None) -> None:
    """Print the SQL; nothing is connected to."""
    from pytest_test_observer._views.layout import statements  # noqa: PLC0415 - not for --help

    click.echo(";\n\n".join(statements(_layout(settings_from(given), ttl))) + ";")


@schema.command("apply", short_help="Make what is missing on a server, bring what is older up to date.")
@setting_options(_SERVER)
@_layout_options
def apply(ttl: str, **given: str | None) -> None:
    """Make what is missing on a server, and bring older tables and views up to this version.

    Can be repeated. A password belongs into the environment: PYTEST_OBSERVER_CH_PASSWORD.
    """
    from pytest_test_observer._destinations import Answer  # noqa: PLC0415 - not for --help
    from pytest_test_observer._destinations.config import destinations_of  # noqa: PLC0415
    from pytest_test_observer._views.apply import apply_schema  # noqa: PLC0415

    settings = settings_from(given)
    server = destinations_of(settings).clickhouse
    if server is None:
        raise UsageProblem(_NO_URL)
    reply = apply_schema(server, _layout(settings, ttl), click.echo)
    if reply.answer is not Answer.TAKEN:
        click.echo(f"The schema is not complete on {server.label}: {reply.message}", err=True)
        sys.exit(1)
    click.echo(f"The schema is complete on {server.label}, database {settings.ch_db}.")


def _layout(settings: Settings, ttl: str) -> Layout:
    from pytest_test_observer._destinations.schema import Place  # noqa: PLC0415 - not for --help
    from pytest_test_observer._views.layout import Layout  # noqa: PLC0415

    return Layout(Place(settings.ch_db, settings.ch_table, settings.ch_cluster), ttl)
