"""``pytest-observer doctor``: the settings, and whether everything is as it should be."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from pytest_test_observer._cli.column import Column
from pytest_test_observer._cli.options import CLICKHOUSE_SETTINGS, setting_options, settings_from
from pytest_test_observer._cli.reading import say, say_json
from pytest_test_observer._settings import SETTINGS, shown

if TYPE_CHECKING:
    from pytest_test_observer._doctor import Finding

_OTHERS = tuple(row for row in SETTINGS if row not in CLICKHOUSE_SETTINGS)
_EXAMPLES = """
\b
Examples:
  pytest-observer doctor
  pytest-observer doctor --ch-url=chdb:///path/to/observer.db
  pytest-observer doctor --json | jq '.findings[] | select(.state == "bad")'

\b
Exit codes: 0 nothing is bad; 1 something needs attention; 2 wrong usage.
"""
_LAYERS = {"cli": "command line", "env": "environment", "ini": "ini file", "default": "default"}
_MARKS = {"good": "ok  ", "note": "note", "bad": "BAD "}


@click.command(epilog=_EXAMPLES, short_help="Check settings, connection, rights, tables, and disk.")
@setting_options((*CLICKHOUSE_SETTINGS, *_OTHERS))
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def doctor(*, as_json: bool, **given: str | None) -> None:
    """Check settings, connection, rights, tables and what was kept on disk.

    Nothing is changed or created. Settings are those of the command line and the environment; pytest also reads its
    ini file. Each finding comes with its remedy. No secret is shown.
    """
    from pytest_test_observer._doctor import examine  # noqa: PLC0415 - not for --help

    settings = settings_from(given)
    findings = examine(settings, os.environ, lambda text: click.echo(f"{text} ...", err=True))
    rows = shown(settings)
    if as_json:
        listed = [{"name": name, "value": value, "source": source} for name, value, source in rows]
        say_json({"settings": listed, "findings": [finding._asdict() for finding in findings]})
    else:
        _show(rows, findings)
    sys.exit(1 if any(finding.state == "bad" for finding in findings) else 0)


def _show(rows: list[tuple[str, str, str]], findings: list[Finding]) -> None:
    from pytest_test_observer._cli.show import heading, table  # noqa: PLC0415 - loads rich

    columns: tuple[Any, ...] = (Column("setting"), Column("from"), Column("value"))
    table(columns, [(name, _LAYERS[source], value) for name, value, source in rows])
    heading("Findings")
    for finding in findings:
        say(f"{_MARKS[finding.state]}  {finding.about}: {finding.text}")
        if finding.remedy:
            say(f"      -> {finding.remedy}")
