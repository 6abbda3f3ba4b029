"""The commands that answer with one table: what is asked, and the columns, is all that differs between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from pytest_test_observer._cli.column import Column
from pytest_test_observer._cli.reading import EXIT_CODES, filters_from, opened_reader, reading_options, say, say_json

if TYPE_CHECKING:
    from pytest_test_observer._reading import Reader
    from pytest_test_observer._reading.filters import Filters

__all__ = ["TEST", "listing"]

Row = dict[str, Any]
# Each column with what it shows of a row.
_Columns = tuple[tuple[Column, Callable[[Row], object]], ...]

# What names a test, for tables of tests.
TEST: _Columns = (
    (Column("test", long=True), lambda test: test["nodeid"]),
    (Column("service", long=True, tells=True), lambda test: test["service"]),
    (Column("repository", long=True, tells=True), lambda test: test["repository"]),
)


def listing(
    *, examples: tuple[str, ...], columns: _Columns, none: str
) -> Callable[[Callable[[Reader, Filters], list[Row]]], click.Command]:
    """Make a command of a question; its docstring is the help.

    ``none`` is said where there is no row. With ``--json`` the rows are printed as they are.
    """

    def decorate(question: Callable[[Reader, Filters], list[Row]]) -> click.Command:
        def command(*, as_json: bool, **given: Any) -> None:  # noqa: ANN401 (filters and settings)
            filters = filters_from(given)
            with opened_reader(given) as reader:
                found = question(reader, filters)
            if as_json:
                say_json(found)
            elif found:
                _show(found, columns)
            else:
                say(none)

        epilog = "\n".join(["\n\b", "Examples:", *(f"  {example}" for example in examples), EXIT_CODES])
        options = reading_options(since="30d", limit=20)
        return click.command(question.__name__, help=question.__doc__, epilog=epilog)(options(command))

    return decorate


def _show(found: list[Row], columns: _Columns) -> None:
    from pytest_test_observer._cli.show import table  # noqa: PLC0415 - loads rich

    table([column for column, _ in columns], [[value(row) for _, value in columns] for row in found])
