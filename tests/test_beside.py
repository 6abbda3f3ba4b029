"""Runs of suites have the plugins that they name, and none besides."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import pytest

from tests.beside import PLUGINS, without_others

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit import Workbench

OURS = "test_observer"


def test_every_plugin_that_is_installed_is_known() -> None:
    assert {found.name for found in entry_points(group="pytest11")} - {OURS} <= PLUGINS.keys()


@pytest.mark.parametrize(
    ("arguments", "text", "named"),
    [
        ((), "def test_a(): pass\n", set()),
        (("-n2",), "", {"xdist"}),
        (("-n", "2", "--dist=loadfile"), "", {"xdist"}),
        (("--reruns=1", "--observer-exit-timeout=1", "-p", "no:xdist"), "", {"rerunfailures"}),
        (("--timeout=5",), "@pytest.mark.asyncio\n", {"timeout", "asyncio"}),
        ((), "import allure\n@pytest.mark.flaky(reruns=1)\n", {"allure_pytest", "rerunfailures"}),
    ],
)
def test_what_the_command_line_or_a_file_names_stays(
    tmp_path: Path, arguments: tuple[str, ...], text: str, named: set[str]
) -> None:
    (tmp_path / "test_a.py").write_text(text)
    left_out = {flag.removeprefix("-pno:") for flag in without_others(arguments, tmp_path)}
    assert left_out == PLUGINS.keys() - named


@pytest.mark.parametrize("all_plugins", [False, True])
def test_a_run_of_a_workbench_has_ours_and_those_or_all(bench: Workbench, *, all_plugins: bool) -> None:
    bench.all_plugins = all_plugins
    bench.write(test_a="import anyio\ndef test_a(): pass\n")
    run = bench.run("-W", "error")
    [listed] = re.findall(r"^plugins: (.*)$", run.stdout, re.MULTILINE)
    names = {plugin.rpartition("-")[0] for plugin in listed.split(", ")}
    assert run.returncode == 0
    assert (names == {"anyio", "test-observer"}) != all_plugins
    assert {"anyio", "test-observer"} <= names
