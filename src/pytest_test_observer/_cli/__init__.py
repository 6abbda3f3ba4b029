"""The command line: ``pytest-observer``. A command's libraries are loaded when it runs, not for its help."""

from __future__ import annotations

import click

from pytest_test_observer._cli.replay import replay
from pytest_test_observer._cli.report import report
from pytest_test_observer._cli.schema import schema
from pytest_test_observer._version import __version__

__all__ = ["main"]


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Examples: pytest-observer replay --dry-run; pytest-observer replay --ch-url=localhost:8123",
)
@click.version_option(__version__, message="pytest-test-observer %(version)s")
def main() -> None:
    """Work with the results of pytest runs that pytest-test-observer recorded."""


main.add_command(replay)
main.add_command(report)
main.add_command(schema)
