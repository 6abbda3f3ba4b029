"""The command line: help, usage errors in one line, and a reference that cannot rot."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import click
import pytest
from click.testing import CliRunner, Result

from pytest_test_observer._cli import main
from pytest_test_observer._settings import CLICKHOUSE, SETTINGS
from pytest_test_observer._version import __version__
from pytest_test_observer.replay import main as module_main

DOCS = Path(__file__).parents[1] / "docs"
COMMANDS = dict(main.commands)
UNSET = {row.env: None for row in SETTINGS}


@pytest.fixture
def buffers(tmp_path: Path) -> Path:
    """A cache directory with one kept file in it."""
    directory = tmp_path / "pytest-test-observer"
    directory.mkdir()
    (directory / "run.jsonl").write_text('{"run_id": "r", "nodeid": "n", "status": "passed"}\n')
    return directory


def replay(buffers: Path, *arguments: str, **env: str) -> Result:
    return CliRunner().invoke(main, ["replay", *arguments], env={**UNSET, "XDG_CACHE_HOME": str(buffers.parent), **env})


def the_one_line(result: Result) -> str:
    assert result.exit_code == 2, result.output
    (line,) = result.output.splitlines()
    return line


def test_the_version_is_told() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert (result.exit_code, result.output) == (0, f"pytest-test-observer {__version__}\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_with_examples(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    assert "Examples:\n" in result.output
    assert f"  pytest-observer {name} " in result.output
    assert all(parameter.help for parameter in COMMANDS[name].params if isinstance(parameter, click.Option))


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_stands_in_the_reference(name: str) -> None:
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert f"| `{name}` |" in page
    assert f"\n## {name}\n" in page or (DOCS / f"{name}.md").exists() or name == "schema"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_stands_on_the_page_of_its_command(name: str) -> None:
    path = DOCS / f"{name}.md"
    page = (path if path.exists() else DOCS / "cli.md").read_text(encoding="utf-8")
    options = [parameter for parameter in COMMANDS[name].params if isinstance(parameter, click.Option)]
    assert [option.opts[0] for option in options if f"`{option.opts[0]}`" not in page] == []


def test_replay_has_every_setting_of_clickhouse() -> None:
    flags = {option.opts[0] for option in COMMANDS["replay"].params}
    assert {row.flag for row in SETTINGS if row.way == CLICKHOUSE} <= flags


@pytest.mark.parametrize("module", ["pytest_test_observer.replay", "pytest_test_observer._cli"])
def test_help_loads_no_client_and_no_pytest(module: str) -> None:
    code = (
        f"import sys, {module}\n"
        "from pytest_test_observer._cli import main\n"
        "try: main(['replay', '--help'])\n"
        "finally: print('loaded', [name for name in ('clickhouse_connect', 'chdb', 'pytest', 'rich') "
        "if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded []"


def test_the_module_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest_test_observer.replay", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("Usage: python -m pytest_test_observer.replay [OPTIONS] [PATHS]...")


def test_the_module_can_be_called_and_returns_its_exit_code(
    buffers: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in UNSET:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(buffers.parent))
    monkeypatch.setattr(sys, "argv", ["replay", "--dry-run"])
    codes = [module_main(), module_main([]), module_main(["--nonsense"]), module_main(["-h"])]
    assert codes == [0, 2, 2, 0]
    out, err = capsys.readouterr()
    assert "1 to replay: 1 row," in out
    assert "nowhere to send to" in err


def test_the_script_is_installed() -> None:
    script = Path(sys.executable).with_name("pytest-observer")
    done = subprocess.run([script, "replay", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: pytest-observer replay")


@pytest.mark.parametrize("url", [(), ("--ch-url=",)])
def test_without_a_destination_both_ways_to_give_one_are_named(buffers: Path, url: tuple[str, ...]) -> None:
    line = the_one_line(replay(buffers, *url))
    assert "--ch-url" in line
    assert "PYTEST_OBSERVER_CH_URL" in line


def test_where_nothing_is_kept_no_destination_is_asked_for(tmp_path: Path) -> None:
    """A job without secrets replays what it has: mostly nothing, which is no error."""
    result = CliRunner().invoke(main, ["replay"], env={**UNSET, "XDG_CACHE_HOME": str(tmp_path)})
    assert (result.exit_code, result.output) == (0, "Nothing to replay: no results were kept on disk.\n")


def test_a_bad_value_of_the_command_line_is_named(buffers: Path) -> None:
    line = the_one_line(replay(buffers, "--ch-url=localhost:8123", "--ch-table=a;b"))
    assert "--ch-table cannot be 'a;b'" in line


def test_a_bad_value_of_the_environment_is_named_without_talk_of_a_run(buffers: Path) -> None:
    line = the_one_line(replay(buffers, PYTEST_OBSERVER_CH_URL="http://:8123"))
    assert "PYTEST_OBSERVER_CH_URL cannot be" in line
    assert "this run" not in line
    assert line.endswith("Correct the variable or unset it.")


def test_no_secret_is_shown(buffers: Path) -> None:
    line = the_one_line(replay(buffers, "--ch-url=http://user:hunter2@bad host:8123"))
    assert "hunter2" not in line


def test_a_path_that_does_not_exist_is_a_usage_error(buffers: Path) -> None:
    result = replay(buffers, "--ch-url=localhost", str(buffers / "missing.jsonl"))
    assert result.exit_code == 2
    assert "missing.jsonl' does not exist" in result.output


def test_memory_is_no_place_to_send_to(buffers: Path) -> None:
    assert "ends with this command" in the_one_line(replay(buffers, "--ch-url=chdb://memory"))
    assert (buffers / "run.jsonl").exists()


def test_an_empty_file_and_the_files_beside_a_run_are_no_rows(buffers: Path) -> None:
    for name in ("empty.jsonl", "gone.lock", "gone.log"):
        (buffers / name).touch()
    result = replay(buffers, "--dry-run", *(str(path) for path in sorted(buffers.iterdir())))
    assert result.exit_code == 0
    assert result.output.splitlines()[-1] == "1 to replay: 1 row, 51 bytes."


# What each shell is told to do: "asked" prints the words that it would offer, in the order in which it would.
SHELLS = {
    "bash --norc": """
        eval "$(_PYTEST_OBSERVER_COMPLETE=bash_source pytest-observer)"
        complete -p pytest-observer >/dev/null || exit 1
        asked() {
          local line="${*//=/ = }"
          COMPREPLY=(); COMP_WORDS=($line); [[ ${!#} ]] || COMP_WORDS+=(''); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
          _pytest_observer_completion "$1"; echo "${COMPREPLY[*]}"
        }
    """,
    "zsh -f": """
        compdef() { [[ $2 == pytest-observer ]] || exit 1 }
        _describe() { offered+=(${completions_with_descriptions%%:*}) }
        compadd() { offered+=($completions) }
        eval "$(_PYTEST_OBSERVER_COMPLETE=zsh_source pytest-observer)"
        asked() { offered=(); words=("$@"); CURRENT=$#; _pytest_observer_completion; echo $offered }
    """,
    "fish --no-config": """
        _PYTEST_OBSERVER_COMPLETE=fish_source pytest-observer | source
        function asked; echo (complete -C "$argv" | string split --fields 1 (printf '\\t')); end
    """,
}
ASKED = """
asked pytest-observer ru
asked pytest-observer run --va
asked pytest-observer run la
asked pytest-observer report --run=la
asked pytest-observer doctor --otlp-detail ''
"""


def in_shell(shell: str, script: str, home: Path) -> list[str]:
    program, *options = shell.split()
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**os.environ, "PATH": path, "HOME": str(home)}
    done = subprocess.run([program, *options, "-c", script], env=env, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_commands_options_and_what_options_take(shell: str, tmp_path: Path) -> None:
    *found, words = in_shell(shell, dedent(SHELLS[shell]) + ASKED, tmp_path)
    # bash alone completes what follows the "="
    assert found == ["run runs", "--variant", "latest", "latest" if shell.startswith("bash") else "--run=latest"]
    assert sorted(words.split()) == ["fixture", "phase", "test"]  # fish sorts


def test_fish_shows_the_whole_description(tmp_path: Path) -> None:
    script = dedent(SHELLS["fish --no-config"]) + "complete -C 'pytest-observer report --sin'"
    assert in_shell("fish --no-config", script, tmp_path) == [
        "--since\tHow far back: 12h, 30d, 8w, or a date. With --run: the runs before it."
    ]


@pytest.mark.parametrize("words", [(), ("schema",)], ids=["main", "schema"])
def test_lists_of_commands_are_not_cut_at_eighty_columns(words: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(main, [*words, "--help"], env={"COLUMNS": "80"}).output
    listed = shown.partition("\nCommands:\n")[2].partition("\n\n")[0].splitlines()
    assert listed
    assert [line for line in listed if not line.endswith(".") or line.endswith("...")] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_terminal_of_eighty_columns(name: str) -> None:
    shown = CliRunner().invoke(main, [name, "--help"], env={"COLUMNS": "80"}).output
    assert [line for line in shown.splitlines() if len(line) > 80] == []
