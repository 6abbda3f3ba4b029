"""The table of settings, its four layers, and what is said of values that cannot be used."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.config import _prepareconfig

from pytest_test_observer import _settings
from pytest_test_observer._settings import (
    SETTINGS,
    EnvironmentValueError,
    SettingError,
    Settings,
    given_on_command_line,
    on,
    resolve,
    resolve_layers,
    shown,
)
from pytest_test_observer._settings_docs import document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_test_observer._setting import Setting

ROOT = Path(__file__).parent.parent
ON = {"ch_url": "host"}

# flag, environment, ini key, default, another value, and what that one becomes
Row = tuple[str, str, str, object, str, object]
TABLE: list[Row] = [
    ("--ch-url", "PYTEST_OBSERVER_CH_URL", "ch_url", "", "localhost:8123", "localhost:8123"),
    ("--ch-user", "PYTEST_OBSERVER_CH_USER", "ch_user", "default", "me", "me"),
    ("--ch-password", "PYTEST_OBSERVER_CH_PASSWORD", "ch_password", "", "s3cret ", "s3cret "),
    ("--ch-db", "PYTEST_OBSERVER_CH_DB", "ch_db", "default", "_Db9", "_Db9"),
    ("--ch-table", "PYTEST_OBSERVER_CH_TABLE", "ch_table", "pytest_results", "t" * 128, "t" * 128),
    ("--ch-send-from", "PYTEST_OBSERVER_CH_SEND_FROM", "ch_send_from", "any", "CI", "ci"),
    ("--ch-auto-migrate", "PYTEST_OBSERVER_CH_AUTO_MIGRATE", "ch_auto_migrate", True, "No", False),
    ("--ch-cluster", "PYTEST_OBSERVER_CH_CLUSTER", "ch_cluster", "", "main", "main"),
    ("--custom-events", "PYTEST_OBSERVER_CUSTOM_EVENTS", "custom_events", False, "1", True),
    ("--otlp", "PYTEST_OBSERVER_OTLP", "otlp", False, "true", True),
    (
        "--otlp-endpoint",
        "PYTEST_OBSERVER_OTLP_ENDPOINT",
        "otlp_endpoint",
        "",
        "http://h:4317",
        "http://h:4317",
    ),
    ("--otlp-protocol", "PYTEST_OBSERVER_OTLP_PROTOCOL", "otlp_protocol", "", "grpc", "grpc"),
    ("--otlp-trace", "PYTEST_OBSERVER_OTLP_TRACE", "otlp_trace", "auto", "module", "module"),
    ("--otlp-detail", "PYTEST_OBSERVER_OTLP_DETAIL", "otlp_detail", "test", "fixture", "fixture"),
    ("--observer-nest", "PYTEST_OBSERVER_NEST", "observer_nest", False, "on", True),
    ("--observer-errors", "PYTEST_OBSERVER_ERRORS", "observer_errors", "full", "none", "none"),
    ("--observer-variant", "PYTEST_OBSERVER_VARIANT", "observer_variant", "", "x y", "x y"),
    ("--observer-exit-timeout", "PYTEST_OBSERVER_EXIT_TIMEOUT", "observer_exit_timeout", 3.0, "0.5", 0.5),
]
rows = pytest.mark.parametrize("row", TABLE, ids=[row[2] for row in TABLE])


class OnlyOptions:
    """A plugin that registers the settings and nothing else."""

    @staticmethod
    def pytest_addoption(parser: pytest.Parser) -> None:
        _settings.add_options(parser)


@contextlib.contextmanager
def configured(*args: str) -> Iterator[pytest.Config]:
    """Yield pytest's own configuration for a command line in the working directory."""
    config = _prepareconfig(list(args), [OnlyOptions()])
    try:
        yield config
    finally:
        config._ensure_unconfigure()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty project, the working directory, untouched by plugins and variables from outside."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", *(row.env for row in SETTINGS)):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def test_the_table_is_the_documented_one() -> None:
    assert [(row.flag, row.env, row.name, row.parse(row.default)) for row in SETTINGS] == [row[:4] for row in TABLE]
    assert list(Settings.__annotations__) == [row.name for row in SETTINGS] + ["sources"]
    assert [row.name for row in SETTINGS if row.secret] == ["ch_password"]


def test_the_reference_page_is_current() -> None:
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == document()


# -- layers


@rows
def test_each_layer_gives_its_value_and_the_higher_one_wins(row: Row) -> None:
    _, env, name, default, text, value = row
    lower = "1"  # would be refused for most settings, were it looked at
    assert getattr(resolve_layers({}, {}, {}), name) == default
    for cli, environ, ini, source in (
        ({name: text}, {env: lower}, {name: lower}, "cli"),
        ({name: None}, {env: text}, {name: lower}, "env"),
        ({}, {env: ""}, {name: text}, "ini"),
    ):
        settings = resolve_layers(cli, environ, ini)
        assert getattr(settings, name) == value
        assert settings.sources[name] == source


@rows
def test_an_empty_variable_or_ini_value_counts_as_not_set(row: Row) -> None:
    settings = resolve_layers({}, {row[1]: ""}, {row[2]: ""})
    assert getattr(settings, row[2]) == row[3]
    assert settings.sources[row[2]] == "default"


def test_surrounding_whitespace_is_cut_and_from_the_password_only_the_line_break_of_a_secret_of_ci() -> None:
    environ = {"PYTEST_OBSERVER_CH_URL": " host:1\n", "PYTEST_OBSERVER_CH_PASSWORD": " pass word \r\n"}
    settings = resolve_layers({}, environ, {"ch_db": " \n"})
    assert (settings.ch_url, settings.ch_password, settings.ch_db) == ("host:1", " pass word ", "default")
    settings = resolve_layers({}, {"PYTEST_OBSERVER_CH_PASSWORD": "\n"}, {"ch_password": "of the file"})
    assert settings.ch_password == "of the file"


@pytest.mark.parametrize("word", ["true", "1", "yes", "on", "TRUE", "On"])
@pytest.mark.parametrize("name", ["ch_auto_migrate", "custom_events", "otlp", "observer_nest"])
def test_booleans_are_understood_in_any_case(name: str, word: str) -> None:
    opposite = {"true": "false", "1": "0", "yes": "no", "on": "off"}[word.lower()]
    assert getattr(resolve_layers({}, {}, {name: word}), name) is True
    assert getattr(resolve_layers({}, {}, {name: opposite.title()}), name) is False


def test_a_relative_database_starts_at_the_rootdir_in_an_ini_file_and_else_at_the_working_directory() -> None:
    url = "chdb://sub/x"
    for settings, expected in (
        (resolve_layers({"ch_url": url}, {}, {}, "/cwd", "/root"), "chdb:///cwd/sub/x"),
        (resolve_layers({}, {"PYTEST_OBSERVER_CH_URL": url}, {}, "/cwd", "/root"), "chdb:///cwd/sub/x"),
        (resolve_layers({}, {}, {"ch_url": url}, "/cwd", "/project"), "chdb:///project/sub/x"),
        (resolve_layers({}, {}, {"ch_url": "chdb://memory"}, "/cwd", "/root"), "chdb://memory"),
    ):
        assert settings.ch_url == expected


# -- on and off


@pytest.mark.parametrize(
    ("cli", "environ", "ini", "url", "otlp"),
    [
        ({}, {}, {}, "", False),
        ({"otlp": "true"}, {}, {}, "", True),
        ({}, {}, {"otlp_endpoint": "h:1"}, "", True),
        ({"ch_url": ""}, {"CH_URL": "host"}, {"ch_url": "other"}, "", False),
        ({"ch_url": ""}, {"CH_URL": "host", "OTLP": "true"}, {"otlp_endpoint": "h:1"}, "", False),
        ({"ch_url": "", "otlp": "true"}, {"CH_URL": "host", "OTLP_ENDPOINT": "h:1"}, {}, "", True),
        ({"ch_url": "", "otlp_endpoint": "h:1"}, {"CH_URL": "host"}, {}, "", True),
        ({"otlp_endpoint": ""}, {}, {"otlp_endpoint": "h:1", "ch_url": "host"}, "host", False),
        ({}, {"OTLP": "false"}, {"otlp_endpoint": "h:1"}, "", False),
        ({}, {"OTLP": "false", "OTLP_ENDPOINT": "h:1"}, {}, "", True),
        ({}, {"OTLP_ENDPOINT": "h:1"}, {"otlp": "false"}, "", True),
    ],
)
def test_what_turns_the_two_ways_on_and_off(
    cli: dict[str, str], environ: dict[str, str], ini: dict[str, str], url: str, otlp: bool
) -> None:
    variables = {f"PYTEST_OBSERVER_{name}": value for name, value in environ.items()}
    settings = resolve_layers(cli, variables, ini)
    assert (settings.ch_url, settings.otlp, on(settings)) == (url, otlp, bool(url) or otlp)


def test_switched_off_by_an_empty_url_nothing_of_the_environment_is_complained_of() -> None:
    environ = dict.fromkeys([row.env for row in SETTINGS], "///")
    settings = resolve_layers({"ch_url": ""}, environ, {})
    assert not on(settings)
    assert {settings.sources[name] for name in ("ch_url", "otlp", "otlp_endpoint")} == {"cli"}


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], False),
        (["--ch-url=host"], True),
        (["-q", "--ch-url", "host", "tests"], True),
        (["--otlp"], True),
        (["--otlp-endpoint=h:1"], True),
        (["--otlp-endpoint", "h:1"], True),
        (["--ch-url="], False),
        (["--ch-url", ""], False),
        (["--ch-url=host", "--ch-url="], False),
        (["--ch-url=", "--otlp"], True),
        (["--ch-table=t", "--otlp-trace=test"], False),
        (["-k", "ch-url"], False),
        (["--", "--otlp"], False),
    ],
)
def test_only_its_own_command_line_turns_an_inner_pytest_on(
    args: list[str], expected: bool, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "pytest.ini").write_text("[pytest]\naddopts = --otlp\nch_url = host\n")
    monkeypatch.setenv("PYTEST_ADDOPTS", "--ch-url=host --otlp-endpoint h:1")
    with configured(*args) as config:
        assert given_on_command_line(config) is expected


# -- values that cannot be used

BAD = [
    ("ch_url", "http://:8123", "no host"),
    ("ch_url", "ftp://host", "host:port"),
    ("ch_db", "a-b", "[A-Za-z_][A-Za-z0-9_]{0,127}"),
    ("ch_table", "1st", "[A-Za-z_][A-Za-z0-9_]{0,127}"),
    ("ch_table", "t" * 129, "[A-Za-z_][A-Za-z0-9_]{0,127}"),
    ("ch_table", "t" * 300, "[A-Za-z_][A-Za-z0-9_]{0,127}"),
    ("ch_cluster", "a b", "[A-Za-z_][A-Za-z0-9_]{0,127}"),
    ("ch_db", "naïve", "[A-Za-z_][A-Za-z0-9_]{0,127}"),
    ("ch_send_from", "laptop", "any or ci"),
    ("ch_auto_migrate", "maybe", "true, 1, yes, on, false, 0, no or off"),
    ("custom_events", "2", "true, 1, yes, on, false, 0, no or off"),
    ("otlp", "grpc", "true, 1, yes, on, false, 0, no or off"),
    ("otlp_endpoint", "localhost", "host:port"),
    ("otlp_protocol", "http/json", "grpc or http/protobuf"),
    ("otlp_trace", "file", "auto, session, module or test"),
    ("otlp_detail", "all", "test, phase or fixture"),
    ("observer_nest", "maybe", "true, 1, yes, on, false, 0, no or off"),
    ("observer_errors", "some", "full, message or none"),
    ("observer_exit_timeout", "-1", "seconds"),
    ("observer_exit_timeout", "inf", "seconds"),
    ("observer_exit_timeout", "nan", "seconds"),
    ("observer_exit_timeout", "3s", "seconds"),
    ("observer_variant", "caf\udce9", "UTF-8"),
    ("ch_user", "\udcff", "UTF-8"),
    ("ch_url", "chdb:///caf\udce9", "UTF-8"),
]
bad = pytest.mark.parametrize(("name", "text", "accepted"), BAD)


def row_of(name: str) -> Setting:
    return next(row for row in SETTINGS if row.name == name)


@bad
def test_a_bad_value_of_command_line_or_ini_names_setting_value_and_what_is_accepted(
    name: str, text: str, accepted: str
) -> None:
    for cli, ini, origin in (({name: text}, {}, row_of(name).flag), ({}, {name: text}, f"ini value {name}")):
        with pytest.raises(SettingError) as caught:
            resolve_layers(cli, {}, ini)
        assert str(caught.value).startswith(f"{origin} cannot be {text[:200]!r}: ")
        assert accepted in str(caught.value)
        assert not isinstance(caught.value, EnvironmentValueError)


@bad
def test_a_bad_variable_that_would_be_used_is_told_apart_and_says_what_follows(
    name: str, text: str, accepted: str
) -> None:
    with pytest.raises(EnvironmentValueError) as caught:
        resolve_layers({}, {row_of(name).env: text}, {**ON, "otlp": "true"})
    message = str(caught.value)
    assert message.startswith(f"{row_of(name).env} cannot be {text[:200]!r}: ")
    assert accepted in message
    assert "stays off" in message
    assert "not recorded" in message
    assert "unset it" in message


def test_all_bad_variables_are_named_in_one_message() -> None:
    environ = {"PYTEST_OBSERVER_CH_DB": "a-b", "PYTEST_OBSERVER_ERRORS": "x"}
    with pytest.raises(EnvironmentValueError, match=r"(?s)CH_DB cannot.*ERRORS cannot"):
        resolve_layers(ON, environ, {})


@pytest.mark.parametrize(
    ("cli", "environ"),
    [
        ({}, {"PYTEST_OBSERVER_CH_TABLE": "a-b", "PYTEST_OBSERVER_EXIT_TIMEOUT": "x"}),
        (ON, {"PYTEST_OBSERVER_OTLP_TRACE": "a-b"}),
        ({"otlp": "true"}, {"PYTEST_OBSERVER_CH_TABLE": "a-b"}),
        ({**ON, "ch_table": "t"}, {"PYTEST_OBSERVER_CH_TABLE": "a-b", "PYTEST_OBSERVER_CH_URL": "http://:1"}),
    ],
)
def test_a_bad_variable_nobody_uses_is_not_complained_of(cli: dict[str, str], environ: dict[str, str]) -> None:
    assert on(resolve_layers(cli, environ, {})) is bool(cli)


@pytest.mark.parametrize("name", ["ch_url", "otlp", "otlp_endpoint"])
def test_a_bad_variable_that_would_turn_the_plugin_on_is_complained_of(name: str) -> None:
    with pytest.raises(EnvironmentValueError):
        resolve_layers({}, {row_of(name).env: "http://:1"}, {})


def test_a_bad_flag_is_an_error_before_a_bad_variable_is_and_while_the_plugin_is_off() -> None:
    with pytest.raises(SettingError, match="--observer-errors") as caught:
        resolve_layers({"observer_errors": "x"}, {"PYTEST_OBSERVER_CH_URL": "http://:1"}, {})
    assert not isinstance(caught.value, EnvironmentValueError)


@pytest.mark.parametrize("name", ["ch_db", "ch_table", "ch_auto_migrate", "otlp_trace", "observer_exit_timeout"])
def test_an_empty_flag_is_an_error_where_nothing_is_no_value(name: str) -> None:
    with pytest.raises(SettingError, match=r"cannot be '': .*accepted"):
        resolve_layers({name: ""}, {}, {})


def test_an_empty_flag_takes_back_what_lower_layers_set() -> None:
    names = ("ch_user", "ch_password", "ch_cluster", "otlp_protocol", "observer_variant")
    environ = {row_of(name).env: "grpc" for name in names}
    settings = resolve_layers(dict.fromkeys(names, ""), environ, {})
    assert [getattr(settings, name) for name in names] == ["default", "", "", "", ""]


@pytest.mark.parametrize("name", ["ch_url", "otlp_endpoint"])
@pytest.mark.parametrize("url", ["http://me:hun#ter2@host", "http://me:hunter2@:1", "ftp://me:hunter2@host?x"])
def test_no_message_repeats_user_or_password_of_a_url(name: str, url: str) -> None:
    for cli, environ, ini in (
        ({name: url}, {}, {}),
        ({}, {row_of(name).env: url}, {}),
        ({}, {}, {name: url}),
    ):
        with pytest.raises(SettingError) as caught:
            resolve_layers(cli, environ, ini)
        assert not re.search("hun|ter2|me:", str(caught.value))


def test_a_list_or_table_is_refused_without_showing_it() -> None:
    for value in (["hunter2"], {"a": "hunter2"}):
        with pytest.raises(SettingError, match=r"ini value ch_password cannot be a .*one value") as caught:
            resolve_layers({}, {}, {"ch_password": value})
        assert "hunter2" not in str(caught.value)


# -- what is shown


def test_the_repr_and_the_shown_values_hold_no_secret_but_the_data_does() -> None:
    settings = resolve_layers(
        {"ch_url": "https://me:pw1@host/x", "otlp_endpoint": "http://me:pw2@h:1"},
        {"PYTEST_OBSERVER_CH_PASSWORD": "pw3"},
        {"observer_nest": "on"},
    )
    for text in (repr(settings), str(shown(settings)), f"{settings}"):
        assert not re.search("pw|me:", text)
        assert "host/x" in text
    assert ("ch_password", "***", "env") in shown(settings)
    assert ("observer_nest", "true", "ini") in shown(settings)
    assert settings.as_dict()["ch_password"] == "pw3"


def test_settings_are_read_only_plain_data() -> None:
    settings = resolve_layers(ON, {}, {})
    with pytest.raises(AttributeError, match="read-only"):
        settings.ch_url = "other"
    assert Settings(json.loads(json.dumps(settings.as_dict())), settings.sources) == settings
    assert copy.copy(settings.as_dict()) == settings.as_dict()
    assert settings != resolve_layers({"ch_url": "other"}, {}, {})


def test_the_help_never_shows_a_current_value(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_OBSERVER_CH_PASSWORD", "hunter2")
    with configured("--ch-password=hunter2", "-o", "ch_password=hunter2") as config:
        text = " ".join(config._parser.optparser.format_help().split())
    assert "hunter2" not in text
    for row in SETTINGS:
        assert row.flag in text
        assert row.env in text
        assert row.help.split(". ")[0] in text


# -- pytest's own configuration

NATIVE = """
ch_auto_migrate = false
otlp = true
custom_events = 1
ch_password = 12345
observer_variant = 3.11
observer_exit_timeout = 7
ch_table = "from_file"
"""
FROM_NATIVE = {
    "ch_auto_migrate": False,
    "otlp": True,
    "custom_events": True,
    "ch_password": "12345",
    "observer_variant": "3.11",
    "observer_exit_timeout": 7.0,
    "ch_table": "from_file",
}
NEEDS_9 = pytest.mark.skipif(pytest.version_tuple < (9,), reason="[tool.pytest] is new in pytest 9")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        pytest.param("pyproject.toml", "[tool.pytest]" + NATIVE, marks=NEEDS_9, id="tool.pytest"),
        pytest.param("pyproject.toml", "[tool.pytest.ini_options]" + NATIVE, id="tool.pytest.ini_options"),
        pytest.param("pytest.ini", "[pytest]" + NATIVE.replace('"', ""), id="pytest.ini"),
        pytest.param("setup.cfg", "[tool:pytest]" + NATIVE.replace('"', ""), id="setup.cfg"),
    ],
)
def test_toml_types_work_like_their_strings_in_every_kind_of_file(file: str, text: str, project: Path) -> None:
    (project / "pytest.ini").unlink()
    (project / file).write_text(text)
    with configured() as config:
        settings = resolve(config, {})
    assert {name: getattr(settings, name) for name in FROM_NATIVE} == FROM_NATIVE
    assert {settings.sources[name] for name in FROM_NATIVE} == {"ini"}


def test_a_toml_boolean_is_text_where_text_is_asked_for() -> None:
    assert resolve_layers({}, {}, {"observer_variant": True}).observer_variant == "true"


@pytest.mark.skipif(pytest.version_tuple < (9, 2), reason="ini keys of several types are new in pytest 9.2")
def test_where_pytest_can_it_is_asked_for_toml_types_by_its_public_way(project: Path) -> None:
    (project / "pytest.ini").unlink()
    (project / "pyproject.toml").write_text("[tool.pytest]" + NATIVE)
    with configured() as config:
        values = [config.getini(name) for name in ("ch_auto_migrate", "ch_password", "observer_variant")]
    assert values == [False, 12345, 3.11]


@pytest.mark.parametrize("table", [pytest.param("[tool.pytest]", marks=NEEDS_9), "[tool.pytest.ini_options]"])
@pytest.mark.parametrize("value", ['["hunter2"]', "1979-05-27", '{a = "hunter2"}'])
def test_other_toml_types_are_usage_errors_without_a_warning(value: str, table: str, project: Path) -> None:
    (project / "pytest.ini").unlink()
    (project / "pyproject.toml").write_text(f"{table}\nch_table = {value}\n")
    with configured() as config, pytest.raises(pytest.UsageError, match="ini value ch_table") as caught:
        resolve(config, {})
    assert "accepted" in str(caught.value)


def test_an_override_is_an_ini_value_and_an_empty_one_hides_the_file(project: Path) -> None:
    (project / "pytest.ini").write_text("[pytest]\nch_url = host\nch_table = from_file\n")
    with configured("-o", "ch_url=", "-o", "ch_table=other") as config:
        settings = resolve(config, {})
    assert (settings.ch_url, settings.ch_table, settings.sources["ch_table"]) == ("", "other", "ini")


def test_addopts_are_command_line_and_the_last_flag_wins(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "pytest.ini").write_text("[pytest]\naddopts = --ch-url=one --ch-table=one --ch-db=one\n")
    monkeypatch.setenv("PYTEST_ADDOPTS", "--ch-table=two --ch-db=two --otlp")
    with configured("--ch-db=three", "--custom-events=true", "--ch-user", "me") as config:
        settings = resolve(config, {"PYTEST_OBSERVER_CH_URL": "env"})
    assert (settings.ch_url, settings.ch_table, settings.ch_db) == ("one", "two", "three")
    assert (settings.otlp, settings.custom_events, settings.ch_user) == (True, True, "me")


def test_relative_paths_of_a_real_run_start_where_documented(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "pytest.ini").write_text("[pytest]\nch_url = chdb://x\n")
    (project / "sub").mkdir()
    monkeypatch.chdir(project / "sub")
    with configured() as config:
        assert resolve(config, {}).ch_url == f"chdb://{project}/x"
    with configured("--ch-url=chdb://x") as config:
        assert resolve(config, {}).ch_url == f"chdb://{project}/sub/x"


def test_usage_errors_and_variables_are_told_apart_for_pytest(project: Path) -> None:
    with configured("--ch-table=a-b") as config, pytest.raises(pytest.UsageError, match="--ch-table"):
        resolve(config, {})
    with configured("-o", "ch_table=a-b") as config, pytest.raises(pytest.UsageError, match="ch_table"):
        resolve(config, {})
    with configured() as config, pytest.raises(EnvironmentValueError):
        resolve(config, {"PYTEST_OBSERVER_CH_URL": "http://:8123"})


# -- real runs

PROBE = """
import os, sys
import pytest
from pytest_test_observer import _settings

def pytest_addoption(parser):
    _settings.add_options(parser)

def pytest_configure(config):
    loaded = {"msgspec", "pytest_test_observer._target"} & set(sys.modules)
    settings = _settings.resolve(config, os.environ)
    print("PROBE", settings.ch_table, settings.ch_auto_migrate, _settings.on(settings), sorted(loaded))
"""


def run(project: Path, *args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run pytest with warnings as errors and a plugin that prints what the settings are."""
    (project / "settings_probe.py").write_text(textwrap.dedent(PROBE))
    (project / "test_nothing.py").write_text("def test_nothing(): pass\n")
    source = Path(_settings.__file__).parent.parent
    path = os.pathsep.join([str(source), str(project)])
    command = [sys.executable, "-W", "error", "-m", "pytest", "-p", "settings_probe", "-s", *args]
    return subprocess.run(
        command,
        cwd=project,
        env={**os.environ, "PYTHONPATH": path, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("table", "types"),
    [
        pytest.param("[tool.pytest]", {"addopts": '["-Werror"]', "filterwarnings": '["error"]'}, marks=NEEDS_9),
        ("[tool.pytest.ini_options]", {"addopts": '"-Werror"', "filterwarnings": '["error"]'}),
    ],
)
def test_a_real_run_reads_toml_without_a_warning(table: str, types: dict[str, str], project: Path) -> None:
    (project / "pytest.ini").unlink()
    lines = "\n".join(f"{key} = {value}" for key, value in types.items())
    (project / "pyproject.toml").write_text(f'{table}\n{lines}\nch_auto_migrate = false\nch_table = "t"\n')
    result = run(project)
    assert "PROBE t False False []" in result.stdout, result.stdout + result.stderr
    assert result.returncode == 0
    assert "warning" not in (result.stdout + result.stderr).lower()


@pytest.mark.parametrize("args", [["--ch-table=a-b"], ["-o", "ch_table=a-b"]])
def test_a_real_run_ends_with_exit_code_4_before_any_test(args: list[str], project: Path) -> None:
    result = run(project, *args)
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert "ch_table cannot be 'a-b'" in result.stderr.replace("--ch-table", "ch_table")
    assert "test_nothing" not in result.stdout


def test_a_real_run_takes_the_environment_and_pytest_addopts(project: Path) -> None:
    result = run(project, PYTEST_ADDOPTS="--ch-url=host", PYTEST_OBSERVER_CH_TABLE="t")
    assert "PROBE t True True []" in result.stdout, result.stdout + result.stderr


def test_the_settings_import_nothing_that_pytest_has_not_imported(project: Path) -> None:
    code = """
    import sys, pytest, pytest_test_observer
    before = set(sys.modules)
    import pytest_test_observer._settings
    print(sorted(set(sys.modules) - before))
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": str(Path(_settings.__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    ours = [f"pytest_test_observer.{name}" for name in ("_ini", "_setting", "_settings")]
    assert result.stdout.strip() == str(ours)


def test_pytest_is_not_needed_to_resolve_layers() -> None:
    code = """
    import sys
    from pytest_test_observer._settings import resolve_layers
    print(resolve_layers({"ch_url": "host"}, {}, {}).ch_url, "pytest" in sys.modules)
    """
    result: subprocess.CompletedProcess[Any] = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": str(Path(_settings.__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split() == ["host", "False"]


def test_a_password_that_is_no_text_is_refused_without_showing_it() -> None:
    with pytest.raises(
        EnvironmentValueError, match=r"CH_PASSWORD cannot be '\*\*\*': it holds bytes that are no UTF-8"
    ):
        resolve_layers(ON, {"PYTEST_OBSERVER_CH_PASSWORD": os.fsdecode(b"s\xffcret")}, {})
