"""Where the plugin is off, blocked or inside another run, it is as if it were not there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.verdict_kit import PASSED, finished

if TYPE_CHECKING:
    from tests.kit import Observed, Workbench

ANYWHERE = "--ch-url=http://127.0.0.1:9"

NO_TESTS = ["--collect-only", "--setup-only", "--setup-plan", "--fixtures", "--help", "--version", "--markers"]

# Says at the end of the configuration which hooks are ours and which modules came with us.
LOOKING = """
    import json, pathlib, sys

    def pytest_collection_finish(session):
        manager = session.config.pluginmanager
        ours = {
            name: sorted(caller.name for caller in manager.get_hookcallers(plugin) or [])
            for name, plugin in manager.list_name_plugin()
            if plugin is not None and "test_observer" in name
        }
        roots = sorted({name.partition(".")[0] for name in sys.modules})
        told = {"hooks": ours, "modules": roots}
        (pathlib.Path(__file__).parent / "seen.json").write_text(json.dumps(told))
"""

# Of what we need while on; Allure and xdist load some modules of their own.
HEAVY = {"msgspec", "clickhouse_connect", "chdb", "opentelemetry", "click", "rich", "urllib3"}

NESTING = """
    import os, subprocess, sys

    pytest_plugins = ["pytester"]

    INNER = "def test_inner(): pass"

    def test_in_process(pytester):
        pytester.makepyfile(INNER)
        pytester.runpytest_inprocess().assert_outcomes(passed=1)
    def test_in_subprocess(pytester):
        pytester.makepyfile(INNER)
        pytester.runpytest_subprocess().assert_outcomes(passed=1)
    def test_child(tmp_path):
        (tmp_path / "test_x.py").write_text(INNER)
        assert subprocess.run([sys.executable, "-m", "pytest"], cwd=tmp_path).returncode == 0
"""

TURNED_ON = """
    import os, subprocess, sys

    def test_outer(tmp_path):
        (tmp_path / "test_x.py").write_text("def test_inner(): pass")
        url = os.environ["PYTEST_OBSERVER_CH_URL"]
        database = os.environ["PYTEST_OBSERVER_CH_DB"]
        command = [sys.executable, "-m", "pytest", "--ch-url=" + url, "--ch-db=" + database]
        assert subprocess.run(command, cwd=tmp_path).returncode == 0
"""


def _looked(bench: Workbench, *arguments: str, env: dict[str, str] | None = None) -> dict[str, dict[str, list[str]]]:
    bench.write(conftest=LOOKING, test_a="def test_one(): pass\n")
    run = bench.run(*arguments, env=env)
    assert run.returncode == 0, run.stdout
    seen: dict[str, dict[str, list[str]]] = json.loads((bench.suite / "seen.json").read_text())
    return seen


def test_off_means_no_hook_that_runs_and_no_file(bench: Workbench) -> None:
    assert _looked(bench)["hooks"] == {"test_observer": ["pytest_addoption", "pytest_configure"]}
    assert not bench.cache.exists()


def test_off_means_no_module_beyond_pytest_and_the_standard_library(bench: Workbench) -> None:
    quiet = ("-p", "no:allure_pytest", "-p", "no:xdist", "-p", "no:rerunfailures", "-p", "no:asyncio")
    without = _looked(bench, "-p", "no:test_observer", *quiet)
    with_us = _looked(bench, *quiet)
    assert set(with_us["modules"]) - set(without["modules"]) == {"pytest_test_observer"}
    assert not HEAVY & set(with_us["modules"])


def test_on_means_no_client_library_in_the_tests_process(bench: Workbench) -> None:
    seen = _looked(bench, ANYWHERE, "--observer-exit-timeout=0.1")
    assert HEAVY & set(seen["modules"]) == {"msgspec"}


def test_a_blocked_plugin_is_not_there(bench: Workbench) -> None:
    assert _looked(bench, "-p", "no:test_observer")["hooks"] == {}
    run = bench.run("-p", "no:test_observer", ANYWHERE)
    assert run.returncode == pytest.ExitCode.USAGE_ERROR
    assert "unrecognized arguments: --ch-url" in run.stderr


@pytest.mark.parametrize(
    "flag", ["--collect-only", "--setup-only", "--setup-plan", "--fixtures", "--help", "--version", "--markers"]
)
def test_what_runs_no_tests_leaves_no_trace(bench: Workbench, flag: str) -> None:
    bench.write(test_a="def test_one(): pass\n")
    run = bench.run(ANYWHERE, flag)
    assert run.returncode == 0
    assert "test-observer:" not in run.stdout
    assert not bench.cache.exists()


def test_it_works_by_module_name_where_nothing_is_loaded_by_itself(observed: Observed) -> None:
    observed.bench.write(pytest_ini="[pytest]\n", test_a="def test_one(record_event): record_event('seen', {})\n")
    done = finished(
        observed,
        observed.run("-p", "pytest_test_observer.plugin", env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}),
    )
    assert done.verdicts == {"test_one": [PASSED]}


def test_runs_inside_an_observed_test_are_not_observed(observed: Observed) -> None:
    observed.bench.write(test_nesting=NESTING)
    settings = {"PYTEST_OBSERVER_CH_URL": observed.server.url, "PYTEST_OBSERVER_CH_DB": observed.database}
    observed_run = observed.bench.run(env={**observed.env, **settings})
    done = finished(observed, observed_run)
    assert observed_run.returncode == 0, observed_run.stdout
    assert done.verdicts == {name: [PASSED] for name in ("test_in_process", "test_in_subprocess", "test_child")}
    assert "3 results sent" in done.run.summary


def test_a_run_inside_an_observed_test_is_observed_if_it_says_so_itself(observed: Observed) -> None:
    observed.bench.write(test_turned_on=TURNED_ON)
    settings = {"PYTEST_OBSERVER_CH_URL": observed.server.url, "PYTEST_OBSERVER_CH_DB": observed.database}
    done = finished(observed, observed.bench.run(env={**observed.env, **settings}))
    assert done.verdicts == {"test_outer": [PASSED], "test_inner": [PASSED]}
    assert len({row["run_id"] for row in done.rows}) == 2


@pytest.mark.parametrize("flags", [("-W", "error"), ("-W", "ignore")])
def test_why_a_run_is_not_recorded_is_said_also_where_warnings_are_not_shown(
    bench: Workbench, flags: tuple[str, ...]
) -> None:
    bench.write(test_a="def test_ok(): pass\n")
    run = bench.run(*flags, env={"PYTEST_OBSERVER_CH_URL": "http://:8123"})
    assert run.returncode == 0
    assert run.summary.startswith("test-observer: off. PYTEST_OBSERVER_CH_URL cannot be")
