"""Options of commands, out of the table of settings, and the settings they give."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pytest_test_observer._settings import (
    CLICKHOUSE,
    SETTINGS,
    EnvironmentValueError,
    SettingError,
    Settings,
    resolve_layers,
)
from pytest_test_observer._text import storable

if TYPE_CHECKING:
    from pytest_test_observer._setting import Setting

_Command = TypeVar("_Command", bound=Callable[..., Any])

CLICKHOUSE_SETTINGS = tuple(row for row in SETTINGS if row.way == CLICKHOUSE)


def stored_text(given: str) -> str:
    """Return text that is compared with what is stored, with bytes that are no UTF-8 written out, as they are there.

    The locale does not matter: in "C" Python hands over each byte of a letter by itself.
    """
    return storable(os.fsencode(given).decode("utf-8", "surrogateescape"))


class UsageProblem(click.ClickException):
    """What is wrong with a command line or with a setting, in one line; exit code 2."""

    exit_code = 2


def setting_options(rows: Iterable[Setting]) -> Callable[[_Command], _Command]:
    """Give a command an option for each setting; values come as keyword arguments, None if not given."""

    def decorate(command: _Command) -> _Command:
        for row in reversed(list(rows)):
            text = f"{_help(row)} [{row.env}; default: {row.default or 'none'}]"
            words = completing(*row.metavar.split("|")) if "|" in row.metavar else None
            kind: dict[str, Any] = {"metavar": row.metavar, "shell_complete": words}
            if not row.metavar:
                kind = {"is_flag": True, "flag_value": "true", "type": str}
            option = click.option(row.flag, row.name, default=None, help=text, **kind)
            command = option(command)
        return command

    return decorate


def completing(*words: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Let a shell complete ``words``; what is accepted is decided elsewhere."""
    return lambda _context, _parameter, begun: [word for word in words if word.startswith(begun)]


def settings_from(given: Mapping[str, str | None]) -> Settings:
    """Return the settings of a command line, with the environment below it; raises UsageProblem."""
    try:
        return resolve_layers(given, os.environ, {})
    except EnvironmentValueError as error:
        raise UsageProblem(f"{error.cause} Correct the variable or unset it.") from None
    except SettingError as error:
        raise UsageProblem(str(error)) from None


def _help(row: Setting) -> str:
    return row.help.partition(" Empty on the command line")[0]
