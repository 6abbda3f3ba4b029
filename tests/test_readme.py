"""README.md: what it tells a reader to type works, and what it shows is what comes out."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from pytest_test_observer._columns import RESULTS
from pytest_test_observer._settings import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit import Observed

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Of the developers' environment; without it, what pytest prints is what the README shows.
QUIET = ["-p", "no:asyncio", "-p", "no:cacheprovider"]


class Block(NamedTuple):
    """A fenced block: its language and its text."""

    language: str
    text: str


BLOCKS = [Block(*found) for found in re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)]


def _commands() -> list[str]:
    return [line for block in BLOCKS if block.language == "sh" for line in block.text.splitlines()]


class Reader:
    """Somebody who types what the README says, with the test's server for the one on port 8123."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed
        self._bench = observed.bench
        (self._bench.suite / "pytest.ini").unlink()
        temporary = self._bench.suite.parent / "tmp"  # what others kept in theirs would be replayed as well
        temporary.mkdir()
        self._environment = self._bench.environment({"TMPDIR": str(temporary)})

    def save(self, block: Block) -> None:
        """Write a file that the README shows; its first line is its name."""
        name = block.text.splitlines()[0].removeprefix("# ")
        (self._bench.suite / name).write_text(block.text, encoding="utf-8")

    def type(self, command: str) -> str:
        """Run a command and return what it prints."""
        program, *arguments = shlex.split(command.replace("localhost:8123", self._observed.server.url))
        if program == "export":
            return self._export(arguments[0])
        done = subprocess.run(
            [*_program(program, arguments), *self._database(command)],
            cwd=self._bench.suite,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not done.stderr, done.stderr
        return done.stdout

    def _export(self, assignment: str) -> str:
        name, _, _ = assignment.partition("=")
        values = {"USER": self._observed.server.user, "PASSWORD": self._observed.server.password}
        self._environment[name] = values[name.rpartition("_")[2]]
        return ""

    def _database(self, command: str) -> list[str]:
        return [f"--ch-db={self._observed.database}"] if "localhost:8123" in command else []

    def shape(self, text: str) -> str:
        """Return ``text`` without what differs from reader to reader."""
        here = {
            str(self._bench.suite): "/home/you/shop",
            str(self._bench.cache): "/home/you/.cache",
            self._observed.server.url: "http://localhost:8123",
            f"--ch-user={self._observed.server.user}": "--ch-user=ci",
        }
        for mine, yours in here.items():
            text = text.replace(mine, yours)
        text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", text)
        return re.sub(r"=* ?(\d.*) in [\d.]+s ?=*", r"\1", text)


def _program(program: str, arguments: list[str]) -> list[str]:
    modules = {
        "pytest": ["-m", "pytest", *QUIET],
        "pytest-observer": ["-m", "pytest_test_observer.replay"],
        "python": [],
    }
    if program == "pytest-observer" and arguments[0] != "replay":
        return [str(Path(sys.executable).with_name(program)), *arguments]
    if program == "pytest-observer":
        arguments = arguments[1:]
    return [sys.executable, *modules[program], *arguments]


def _usage() -> Iterator[Block]:
    """Yield the blocks of the chapter that shows how the plugin is used."""
    chapter = README[README.index("## Use it") : README.index("## Settings")]
    for found in re.findall(r"^```(\w+)\n(.*?)^```", chapter, re.MULTILINE | re.DOTALL):
        yield Block(*found)


def test_a_reader_who_types_it_all_sees_what_the_readme_shows(observed: Observed) -> None:
    reader = Reader(observed)
    printed = ""
    compared = 0
    for block in _usage():
        if block.language == "py":
            reader.save(block)
        elif block.language == "text":
            for line in reader.shape(block.text).splitlines():
                assert line in reader.shape(printed).splitlines()
                compared += 1
        elif not block.text.startswith("pip "):
            printed = "".join(reader.type(command) for command in block.text.splitlines())
    assert compared == 12
    assert len(observed.rows()) == 8


@pytest.mark.parametrize("command", [command for command in _commands() if command.startswith("make ")])
def test_a_verb_of_make_exists(command: str) -> None:
    assert re.search(rf"^{command.split()[1]}:", MAKEFILE, re.MULTILINE)


def test_the_installation_names_an_extra_that_exists() -> None:
    extras = [
        extra for command in _commands() if command.startswith("pip ") for extra in re.findall(r"\[(.*?)\]", command)
    ]
    assert extras == ["embedded"]
    assert set(extras) <= set(PROJECT["optional-dependencies"])


def test_settings_of_the_readme_exist() -> None:
    names = {row.name for row in SETTINGS}
    for block in BLOCKS:
        if block.language == "toml":
            assert set(tomllib.loads(block.text)["tool"]["pytest"]["ini_options"]) <= names
    flags, variables = {row.flag for row in SETTINGS}, {row.env for row in SETTINGS}
    mentioned = set(re.findall(r"`(--(?:ch|observer|otlp|custom)[a-z-]*)", README))
    assert mentioned <= flags
    assert set(re.findall(r"PYTEST_OBSERVER_\w+", README)) <= variables


def test_the_readme_counts_the_columns_right() -> None:
    assert f"{len(RESULTS.columns)} columns" in README


def test_every_command_of_the_readme_is_of_a_kind_that_is_checked() -> None:
    checked = ("make ", "pytest ", "pytest-observer ", "python ", "export ", "pip install ")
    assert all(command.startswith(checked) for command in _commands())


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_make_alone_lists_the_verbs() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(["make"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    listed = re.findall(r"^  make (\w+)", done.stdout, re.MULTILINE)
    assert {"demo", "test", "check", "bench", "faults", "e2e", "docs", "lint", "types", "format"} <= set(listed)
