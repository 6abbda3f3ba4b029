"""The command line: ``pytest-observer``. A command's libraries are loaded when it runs, not for its help."""

from __future__ import annotations

import click

from pytest_test_observer._cli.commands import CONTEXT, Commands
from pytest_test_observer._cli.doctor import doctor
from pytest_test_observer._cli.flaky import flaky
from pytest_test_observer._cli.replay import replay
from pytest_test_observer._cli.report import report
from pytest_test_observer._cli.run import run
from pytest_test_observer._cli.runs import runs
from pytest_test_observer._cli.schema import schema
from pytest_test_observer._cli.shells import register
from pytest_test_observer._cli.slow import slow
from pytest_test_observer._cli.test import test
from pytest_test_observer._version import __version__

__all__ = ["main"]

_EPILOG = """
\b
Examples:
  export PYTEST_OBSERVER_CH_URL=localhost:8123
  pytest-observer run latest
  pytest-observer flaky
  pytest-observer doctor

\b
Completion in bash, with zsh_source in zsh, and in fish:
  eval "$(_PYTEST_OBSERVER_COMPLETE=bash_source pytest-observer)"
  _PYTEST_OBSERVER_COMPLETE=fish_source pytest-observer | source
"""


@click.group(cls=Commands, context_settings=CONTEXT, epilog=_EPILOG)
@click.version_option(__version__, message="pytest-test-observer %(version)s")
def main() -> None:
    """Work with the results of pytest runs that pytest-test-observer recorded."""


register()
for _command in (runs, run, test, flaky, slow, doctor, report, replay, schema):
    main.add_command(_command)
