"""``pytest-observer replay``: send what was kept on disk."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

import click

from pytest_test_observer._cli.options import (
    CLICKHOUSE_SETTINGS,
    UsageProblem,
    setting_options,
    settings_from,
)
from pytest_test_observer._cli.visible import visible
from pytest_test_observer._settings import SETTINGS
from pytest_test_observer._target import MEMORY, parse_clickhouse
from pytest_test_observer._text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_test_observer._destinations.config import Destinations
    from pytest_test_observer._replay.find import Found
    from pytest_test_observer._replay.outcome import Outcome

_OTLP = tuple(row for row in SETTINGS if row.name in ("otlp_endpoint", "otlp_protocol"))
_NOWHERE = (
    "nowhere to send to: give --ch-url or --otlp-endpoint, or set PYTEST_OBSERVER_CH_URL or "
    "PYTEST_OBSERVER_OTLP_ENDPOINT."
)
_IN_MEMORY = "--ch-url=chdb://memory: what is sent there ends with this command; give a path."
# Batches that are on their way at a time: enough to keep two processors busy, and little memory.
_LANES = 2
_NO_FILE = "{} is neither a file nor a directory: put what comes through it into a file, and give that."
_NOTHING = "Nothing to replay: no results were kept on disk."

_EXAMPLES = """
\b
Examples:
  pytest-observer replay --dry-run
  pytest-observer replay --ch-url=localhost:8123
  pytest-observer replay --ch-url=chdb:///path/to/db artifacts/ run.jsonl
  pytest-observer replay --ch-url=https://ch.example:8443 --ch-user=ci --keep
  pytest-observer replay --otlp-endpoint=http://localhost:4317

\b
Exit codes: 0 all sent; 1 some not sent; 2 wrong usage; 3 lines set aside.
"""


@click.command(epilog=_EXAMPLES)
@click.argument("paths", nargs=-1, type=click.Path(exists=True), metavar="[PATHS]...")
@setting_options((*CLICKHOUSE_SETTINGS, *_OTLP))
@click.option("--dry-run", is_flag=True, help="List what would be sent, and send nothing.")
@click.option("--keep", is_flag=True, help="Leave the files as they are.")
def replay(paths: tuple[str, ...], *, dry_run: bool, keep: bool, **given: str | None) -> None:
    """Send results that a pytest run kept on disk.

    PATHS are buffer files or directories of such; without any, all that this user's runs have kept. What has
    arrived is deleted. What is there already is not sent again, so that a replay can be repeated. A password
    belongs into the environment: PYTEST_OBSERVER_CH_PASSWORD.
    """
    from pytest_test_observer._replay.outcome import INTERRUPTED  # noqa: PLC0415 - not for --help

    try:
        sys.exit(_dry_run(paths) if dry_run else _replay(paths, given, keep=keep))
    except KeyboardInterrupt:
        click.echo("Interrupted: what was not confirmed is still on disk.", err=True)
        sys.exit(INTERRUPTED)


def _found(paths: tuple[str, ...]) -> list[Found]:
    from pytest_test_observer._replay.find import buffer_directories, find  # noqa: PLC0415 - not for --help

    for path in paths:
        if not (os.path.isfile(path) or os.path.isdir(path)):
            raise UsageProblem(_NO_FILE.format(path))
    return find(paths or buffer_directories(os.environ))


def _nothing(paths: tuple[str, ...]) -> str:
    return f"Nothing to replay: no results are in {', '.join(map(visible, paths))}." if paths else _NOTHING


def _dry_run(paths: tuple[str, ...]) -> int:
    from pytest_test_observer._replay.survey import survey  # noqa: PLC0415 - not for --help

    surveys = [survey(thing) for thing in _found(paths)]
    for seen in surveys:
        _say(f"{seen.path}: {counted(seen.rows, 'row')}, {counted(seen.size, 'byte')}, {seen.state}")
    going = [seen for seen in surveys if seen.goes]
    rows, size = sum(seen.rows for seen in going), sum(seen.size for seen in going)
    total = f"{len(going)} to replay: {counted(rows, 'row')}, {counted(size, 'byte')}."
    click.echo(total if surveys else _nothing(paths))
    return 0


def _replay(paths: tuple[str, ...], given: dict[str, str | None], *, keep: bool) -> int:
    from pytest_test_observer._destinations.config import destinations_of  # noqa: PLC0415 - not for --help
    from pytest_test_observer._replay.outcome import exit_code  # noqa: PLC0415

    settings = settings_from(_chosen(given))
    destinations = destinations_of(settings)
    if settings.ch_url and parse_clickhouse(settings.ch_url).path == MEMORY:
        raise UsageProblem(_IN_MEMORY)
    found = _found(paths)
    if not found:  # also without a destination: a job whose secrets are missing must not fail where nothing is kept
        click.echo(_nothing(paths))
        return 0
    if not destinations:
        raise UsageProblem(_NOWHERE)
    return exit_code(_send(found, destinations, keep=keep))


def _chosen(given: dict[str, str | None]) -> dict[str, str | None]:
    """Let a way named on the command line stand alone: what the environment says is where the run was to send."""
    if given["ch_url"] and not given["otlp_endpoint"]:
        return {**given, "otlp": "false", "otlp_endpoint": ""}
    if given["otlp_endpoint"] and not given["ch_url"]:
        return {**given, "ch_url": ""}
    return given


def _send(found: list[Found], destinations: Destinations, *, keep: bool) -> list[Outcome]:
    from pytest_test_observer._destinations import Answer  # noqa: PLC0415 - not for --help
    from pytest_test_observer._destinations.build import build  # noqa: PLC0415
    from pytest_test_observer._replay.outcome import Outcome, describe, summarize  # noqa: PLC0415
    from pytest_test_observer._replay.session import Replay  # noqa: PLC0415

    with _progress(sum(thing.size for thing in found)) as (say, advance):
        # Only ClickHouse takes several batches at a time: a receiver has its rate, and a fallback looks at each answer.
        lanes = [build(destinations, on_wait=say) for _ in range(1 if destinations.otlp else _LANES)]
        session = Replay(lanes, keep=keep, advance=advance)
        try:
            reply = session.prepare()
            if reply.answer is not Answer.TAKEN:
                say(f"Nothing sent to {destinations.label}: {reply.message}")
                return [Outcome(thing.path, problem=reply.message) for thing in found]
            outcomes = []
            for thing in found:
                outcome = session.send(thing)
                if outcome is not None:
                    outcomes.append(outcome)
                    say(describe(outcome))
            for note in session.notes:
                say(f"Note: {note}")
            say(summarize(outcomes, destinations.label))
        finally:
            for lane in lanes:
                lane.close()
    return outcomes


@contextlib.contextmanager
def _progress(total: int) -> Iterator[tuple[Callable[[str], None], Callable[[int], None]]]:
    """Show a bar over ``total`` bytes on a terminal; gives what prints a line, and what advances."""
    if not sys.stdout.isatty():
        yield _say, lambda _size: None
        return
    from rich.console import Console  # noqa: PLC0415 - costs more than many a replay
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn  # noqa: PLC0415

    console = Console()
    columns = (BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total)
        yield (
            lambda line: console.print(visible(line), markup=False, highlight=False, soft_wrap=True),
            lambda size: bar.advance(task, size),
        )


def _say(line: str) -> None:
    click.echo(visible(line))
