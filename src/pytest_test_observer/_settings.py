"""The settings: one table, four layers (command line, environment, ini file, default).

The flags, their help, the resolving and docs/settings.md derive from the table. pytest imports this module in
every run, so it imports next to nothing, and its class is plain (to make a NamedTuple of twenty fields takes 0.4 ms).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NoReturn

from pytest_test_observer._ini import ini_type, ini_values
from pytest_test_observer._setting import Setting

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest

BOTH, CLICKHOUSE, OTLP = "both", "ClickHouse", "OTLP"
CLI, ENV, INI, DEFAULT = "cli", "env", "ini", "default"
_LAYERS = (CLI, ENV, INI, DEFAULT)

SETTINGS = (
    Setting("ch_url", "clickhouse_url", "", CLICKHOUSE, "URL",
            "Address of ClickHouse: host, host:port, http://..., https://..., or chdb:///path for "
            "the embedded engine. Empty on the command line: plugin off."),
    Setting("ch_user", "text", "default", CLICKHOUSE, "NAME",
            "ClickHouse user; wins over a user in the URL."),
    Setting("ch_password", "text", "", CLICKHOUSE, "TEXT",
            "ClickHouse password; wins over one in the URL. Prefer the environment variable: other users of "
            "the machine can see a command line.", secret=True),
    Setting("ch_db", "identifier", "default", CLICKHOUSE, "NAME", "ClickHouse database."),
    Setting("ch_table", "identifier", "pytest_results", CLICKHOUSE, "NAME",
            "Table of the results; the names of those for events and runs add _events and _runs."),
    Setting("ch_send_from", "choice", "any", BOTH, "any|ci",
            "Where to send from: anywhere, or only where a CI system is recognised."),
    Setting("ch_auto_migrate", "bool", "true", CLICKHOUSE, "true|false",
            "Create missing tables and columns."),
    Setting("ch_cluster", "identifier", "", CLICKHOUSE, "NAME", "Cluster to create tables on (ON CLUSTER)."),
    Setting("custom_events", "bool", "false", BOTH, "true|false",
            "Send what tests report with record_event."),
    Setting("otlp", "bool", "false", OTLP, "",
            "Send results as OpenTelemetry spans over OTLP; the OTEL_* variables say where to."),
    Setting("otlp_endpoint", "otlp_url", "", OTLP, "URL",
            "OTLP endpoint, as in http://localhost:4317. Implies --otlp and wins over "
            "OTEL_EXPORTER_OTLP_*ENDPOINT."),
    Setting("otlp_protocol", "choice", "", OTLP, "grpc|http/protobuf",
            "OTLP protocol; without it OTEL_EXPORTER_OTLP_(TRACES_)PROTOCOL, else grpc."),
    Setting("otlp_trace", "choice", "auto", OTLP, "auto|session|module|test",
            "What makes one trace; auto: the session up to 2,000 tests, else each module."),
    Setting("otlp_detail", "choice", "test", OTLP, "test|phase|fixture",
            "Spans for tests only, for their phases too, or for fixtures too."),
    Setting("observer_nest", "bool", "off", BOTH, "on|off",
            "Make a test's span current while the test runs: spans of the tested program nest under it."),
    Setting("observer_errors", "choice", "full", BOTH, "full|message|none",
            "How much of an error leaves the machine: message and stack, the message, or neither."),
    Setting("observer_variant", "text", "", BOTH, "TEXT",
            "What tells the cells of a CI matrix apart; without it <os>-<arch>-py<major.minor>."),
    Setting("observer_exit_timeout", "seconds", "3", BOTH, "SECONDS",
            "How long sending may take at the end of the run; what is left stays on disk."),
)  # fmt: skip

# Naming one of these turns the plugin on, so a bad value of theirs matters also while it is off.
SWITCHES = ("ch_url", "otlp", "otlp_endpoint")


class Settings:
    """The resolved settings, one read-only attribute for each row of the table.

    A relative path of ``ch_url`` is made absolute. ``otlp`` is true also for an ``otlp_endpoint`` alone.
    ``observer_exit_timeout`` is in seconds. ``sources`` has the layer of each: ``cli``, ``env``, ``ini``,
    ``default``.
    """

    ch_url: str
    ch_user: str
    ch_password: str
    ch_db: str
    ch_table: str
    ch_send_from: str
    ch_auto_migrate: bool
    ch_cluster: str
    custom_events: bool
    otlp: bool
    otlp_endpoint: str
    otlp_protocol: str
    otlp_trace: str
    otlp_detail: str
    observer_nest: bool
    observer_errors: str
    observer_variant: str
    observer_exit_timeout: float
    sources: Mapping[str, str]

    __slots__ = ("sources", *(row.name for row in SETTINGS))

    def __init__(self, values: Mapping[str, Any], sources: Mapping[str, str]) -> None:
        object.__setattr__(self, "sources", sources)
        for row in SETTINGS:
            object.__setattr__(self, row.name, values[row.name])

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"settings are read-only: {name}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Settings) and self.as_dict() == other.as_dict()

    __hash__ = None  # type: ignore[assignment] # holds mappings

    def as_dict(self) -> dict[str, Any]:
        """Return the values by name, secrets included: plain data for the helper process."""
        return {row.name: getattr(self, row.name) for row in SETTINGS}

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value!r}' for name, value, _ in shown(self))})"


class SettingError(ValueError):
    """A value that cannot be used; the message names setting, value (no secret) and what is accepted."""


class EnvironmentValueError(SettingError):
    """A value of the environment that cannot be used: said once, and the plugin stays off.

    ``cause`` is the message without what it means for a run of pytest.
    """

    def __init__(self, cause: str) -> None:
        super().__init__(
            f"{cause} pytest-test-observer stays off: this run is not recorded. Correct the variable or unset it."
        )
        self.cause = cause


def add_options(parser: pytest.Parser) -> None:
    """Register the flag and the ini key of every setting."""
    group = parser.getgroup("test-observer", "test-observer (results to ClickHouse and OpenTelemetry)")
    for row in SETTINGS:
        text = f"{row.help} Also {row.env} in the environment, {row.name} in an ini file. Default: "
        text += row.default or "none"
        value: dict[str, Any] = {"metavar": row.metavar}
        if not row.metavar:
            value = {"action": "store_const", "const": "true"}
        group.addoption(row.flag, dest=row.name, default=None, help=text, **value)
        parser.addini(row.name, row.help, type=ini_type(row.kind), default="")


def resolve(config: pytest.Config, environ: Mapping[str, str]) -> Settings:
    """Return the settings of a pytest run.

    Raises ``pytest.UsageError`` for a value of the command line or the ini file that cannot be used, and
    ``EnvironmentValueError`` for one of the environment.
    """
    cli = {row.name: config.getoption(row.name, None) for row in SETTINGS}
    ini = ini_values(config, [row.name for row in SETTINGS])
    try:
        return resolve_layers(cli, environ, ini, str(config.invocation_params.dir), str(config.rootpath))
    except EnvironmentValueError:
        raise
    except SettingError as error:
        import pytest  # noqa: PLC0415 # replay resolves settings too, without pytest

        raise pytest.UsageError(str(error)) from None


def resolve_layers(
    cli: Mapping[str, str | None],
    environ: Mapping[str, str],
    ini: Mapping[str, object],
    cwd: str = "",
    rootdir: str = "",
) -> Settings:
    """Return the settings that three layers give, each a mapping of names (``environ``: of variables).

    Relative paths start at ``cwd``, those of ``ini`` at ``rootdir``; empty is the working directory. Raises
    ``SettingError`` for a bad value of ``cli`` or ``ini``, its subclass ``EnvironmentValueError`` for one of
    ``environ`` that would be used.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    problems: dict[str, str] = {}
    for row in SETTINGS:
        source, given = _first_given(row, cli, environ, ini)
        sources[row.name] = source
        try:
            values[row.name] = row.parse(_as_text(row, given), rootdir if source == INI else cwd)
        except ValueError as error:
            message = f"{_origin(row, source)} cannot be {_quoted(row, given)}: {error}."
            if source != ENV:
                raise SettingError(message) from None
            problems[row.name] = message
            values[row.name] = row.parse(row.default)
    _settle_switches(values, sources, problems)
    settings = Settings(values, sources)
    _complain(settings, problems)
    return settings


def on(settings: Settings) -> bool:
    """Tell whether a destination is configured."""
    return bool(settings.ch_url) or settings.otlp


def given_on_command_line(config: pytest.Config) -> bool:
    """Tell whether the command line itself, not ``addopts``, turns the plugin on."""
    # Read by hand: what the parser has seen is merged with addopts.
    given = {"--otlp": "", "--ch-url": "", "--otlp-endpoint": ""}
    arguments = [os.fspath(argument) for argument in config.invocation_params.args]
    arguments = arguments[: arguments.index("--")] if "--" in arguments else arguments
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=False):
        flag, equals, value = argument.partition("=")
        if flag in given:
            given[flag] = flag if flag == "--otlp" else (value if equals else following).strip()
    return any(given.values())


def shown(settings: Settings) -> list[tuple[str, str, str]]:
    """Return (name, value without secrets, source) of every setting, in the order of the table."""
    return [(row.name, row.shown(getattr(settings, row.name)), settings.sources[row.name]) for row in SETTINGS]


def _first_given(
    row: Setting, cli: Mapping[str, str | None], environ: Mapping[str, str], ini: Mapping[str, object]
) -> tuple[str, object]:
    """Return the layer that sets a row and what it gives; only the command line can set an empty value."""
    if (given := cli.get(row.name)) is not None:
        return CLI, given
    layers: tuple[tuple[str, object], ...] = ((ENV, environ.get(row.env)), (INI, ini.get(row.name)))
    for source, value in layers:
        empty = isinstance(value, str) and not _stripped(row, value)
        if value is not None and not empty:
            return source, value
    return DEFAULT, row.default


def _as_text(row: Setting, given: object) -> str:
    """Return a value of any layer as text; values of TOML types become what a user would type."""
    if isinstance(given, str):
        return _stripped(row, given)
    if isinstance(given, bool):
        return str(given).lower()
    if isinstance(given, (int, float)):
        return str(given)
    raise ValueError("it is not one value; accepted: a string, a boolean or a number")


def _stripped(row: Setting, text: str) -> str:
    # CI secrets often end in a line break; in a password a space can be meant.
    return text.rstrip("\r\n") if row.secret else text.strip()


def _origin(row: Setting, source: str) -> str:
    return {CLI: row.flag, ENV: row.env}.get(source, f"ini value {row.name}")


def _quoted(row: Setting, given: object) -> str:
    if not isinstance(given, (str, int, float)):
        return f"a {type(given).__name__}"
    return repr(row.shown(_as_text(row, given))[:200])


def _settle_switches(values: dict[str, Any], sources: dict[str, str], problems: dict[str, str]) -> None:
    """Apply what switches say of each other: an empty ``--ch-url``, an endpoint without ``--otlp``."""
    otlp_by_hand = any(values[name] and sources[name] == CLI for name in ("otlp", "otlp_endpoint"))
    if sources["ch_url"] == CLI and not values["ch_url"] and not otlp_by_hand:
        values.update(otlp=False, otlp_endpoint="")
        sources.update(otlp=CLI, otlp_endpoint=CLI)
        problems.clear()
    # PYTEST_OBSERVER_OTLP=false switches off an endpoint of the ini file, but not one of its own layer.
    overruled = _LAYERS.index(sources["otlp"]) < _LAYERS.index(sources["otlp_endpoint"])
    if values["otlp_endpoint"] and not values["otlp"] and not overruled:
        values["otlp"] = True
        sources["otlp"] = sources["otlp_endpoint"]


def _complain(settings: Settings, problems: Mapping[str, str]) -> None:
    """Raise for the problems of the environment that something would use."""
    used = {BOTH: on(settings), CLICKHOUSE: bool(settings.ch_url), OTLP: settings.otlp}
    heard = [row.name for row in SETTINGS if row.name in SWITCHES or used[row.way]]
    said = [problems[name] for name in heard if name in problems]
    if said:
        raise EnvironmentValueError(" ".join(said))
