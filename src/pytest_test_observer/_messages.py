"""What the plugin says: one line at the end of a run, and a warning where something needs attention."""

from __future__ import annotations

import contextlib
import shlex
import warnings
from typing import TYPE_CHECKING, NamedTuple

import pytest

from pytest_test_observer._text import plural

if TYPE_CHECKING:
    from pytest_test_observer._settings import Settings

PREFIX = "test-observer:"
# Settings that a replay needs as the run had them; the password is not one for a command line.
_TOLD = ("ch_user", "ch_db", "ch_table", "ch_auto_migrate", "ch_cluster")


class ObserverWarning(pytest.PytestWarning):
    """Something about the results of this run needs attention; the tests themselves are not concerned."""


class Outcome(NamedTuple):
    """What became of a run's results; the numbers count attempts, ``not_run`` counts tests."""

    sent: int
    kept: int
    lost: int
    not_run: int
    destination: str
    path: str = ""
    command: str = ""
    reason: str = ""
    lost_reason: str = ""
    notes: tuple[str, ...] = ()

    @property
    def needs_attention(self) -> bool:
        """Whether anything is not where it should be."""
        return bool(self.kept or self.lost or self.reason or self.notes)


def summary(outcome: Outcome) -> str:
    """Return the one line that ends a run."""
    parts = [f"{outcome.sent} {plural(outcome.sent, 'result')} sent to {outcome.destination}"]
    if outcome.kept:
        parts.append(f"{outcome.kept} kept on disk")
    if outcome.lost:
        parts.append(f"{outcome.lost} lost ({outcome.lost_reason})")
    if outcome.not_run:
        said = "collected test not run" if outcome.not_run == 1 else "collected tests not run"
        parts.append(f"{outcome.not_run} {said}")
    if outcome.reason:
        parts[-1] += f" - {outcome.reason}"
    line = f"{PREFIX} {_sentence(', '.join(parts))}"
    if outcome.path:
        line += f" Kept in {outcome.path}; send with: {outcome.command}"
    return " ".join([line, *(_sentence(note) for note in outcome.notes)])


def replay_command(settings: Settings, path: str) -> str:
    """Return the command that sends a kept journal, without secrets: those it takes from the environment."""
    from pytest_test_observer._destinations.config import destinations_of  # noqa: PLC0415 - only where something was kept
    from pytest_test_observer._settings import SETTINGS  # noqa: PLC0415 - likewise
    from pytest_test_observer._target import parse_clickhouse, parse_otlp  # noqa: PLC0415 - likewise

    flags = [f"--ch-url={parse_clickhouse(settings.ch_url).label}"] if settings.ch_url else []
    otlp = destinations_of(settings).otlp
    if otlp is not None and otlp.endpoint:
        given = settings.otlp_endpoint
        flags.append(f"--otlp-endpoint={parse_otlp(given).label if given else otlp.endpoint}")
        if otlp.protocol != "grpc":  # what replay takes by itself
            flags.append(f"--otlp-protocol={otlp.protocol}")
    told = [
        row for row in SETTINGS if settings.ch_url and row.name in _TOLD and settings.sources[row.name] != "default"
    ]
    flags += [f"{row.flag}={row.shown(getattr(settings, row.name))}" for row in told]
    return shlex.join(["pytest-observer", "replay", *flags, path])


def warn(config: pytest.Config, message: str) -> None:
    """Issue a pytest warning that changes nothing, also where warnings are errors or limited in number."""
    limit = getattr(config.option, "max_warnings", None)
    if limit is None and "max_warnings" in config._parser._inidict:  # noqa: SLF001 - pytest 9.2 and later
        limit = config.getini("max_warnings")
    if limit is not None:
        return
    with contextlib.suppress(ObserverWarning):
        warnings.warn(ObserverWarning(message), stacklevel=2)


class _Line:
    """Hooks that print one line with pytest's summary."""

    def __init__(self, line: str) -> None:
        self._line = line

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """See pytest_terminal_summary."""
        terminalreporter.write_line(self._line)


def announce(config: pytest.Config, message: str) -> None:
    """Say why a run is not recorded, as a warning and as a line: many suites hide warnings, or make them errors."""
    warn(config, message)
    config.pluginmanager.register(_Line(message))


def _sentence(text: str) -> str:
    """Return what another part says as a sentence of its own: it does not know what it will stand behind."""
    text = text.strip()
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!')) else '.'}"
