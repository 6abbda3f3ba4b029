"""The examples and the report over them: what ``make demo`` shows, as the README quotes it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.kit import Workbench
from tests.servers.client import embedded_query

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = "SELECT nodeid, service, status, outcome, attempt, flaky FROM pytest_results"


class Demo(NamedTuple):
    """A demo that has run: its exit code, what it printed, and the database it filled."""

    returncode: int
    output: str
    database: Path


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The demo, run once on a copy of the examples."""
    directory = tmp_path_factory.mktemp("demo")
    shutil.copytree(ROOT / "examples", directory / "examples")
    command = [sys.executable, "examples/demo.py", ".demo/observer.db"]
    environment = Workbench(directory).environment()
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    return Demo(done.returncode, done.stdout + done.stderr, directory / ".demo" / "observer.db")


def test_tests_that_fail_on_purpose_do_not_fail_the_demo(demo: Demo) -> None:
    assert demo.returncode == 0, demo.output


def test_the_readme_quotes_the_report_as_it_is(demo: Demo) -> None:
    quoted = next(block for block in re.findall(r"```text\n(.*?)```", README, re.DOTALL) if "Slowest" in block)
    printed = demo.output[demo.output.index("$ python examples/report.py") :]
    assert _shape(printed) == _shape(quoted)


def test_one_command_after_the_demo_names_the_flaky_tests(demo: Demo) -> None:
    script = str(Path(sys.executable).with_name("pytest-observer"))
    command = [script, "flaky", f"--ch-url=chdb://{demo.database}", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    named = {(row["service"], row["nodeid"]) for row in json.loads(done.stdout)}
    assert named == {
        ("shop-allure", "test_account.py::test_forgotten_password"),
        ("shop-basic", "test_checkout.py::test_pay"),
        ("shop-xdist", "test_images.py::test_download"),
    }


def test_the_demo_leaves_nothing_unsent(demo: Demo) -> None:
    assert demo.output.count("results sent to chdb://") == 3
    assert "kept on disk" not in demo.output
    buffers = demo.database.parents[1] / "cache" / "pytest-test-observer"
    assert list(buffers.iterdir()) == []


def test_no_frame_of_the_plugin_stands_in_a_traceback_of_the_examples(demo: Demo) -> None:
    assert "pytest_test_observer/" not in demo.output


def test_each_example_shows_passing_failing_flaky_skipped_tests_and_events(demo: Demo) -> None:
    rows = embedded_query(demo.database, RESULTS)
    events = embedded_query(
        demo.database, "SELECT DISTINCT service FROM pytest_results_events JOIN pytest_results USING span_id"
    )
    services = {"shop-basic", "shop-xdist", "shop-allure"}
    for status in ("passed", "failed", "skipped"):
        assert {row["service"] for row in rows if row["status"] == status} == services
    assert {row["service"] for row in rows if row["flaky"]} == services
    assert {row["service"] for row in events} == services


def test_the_worker_that_dies_in_an_example_costs_only_its_own_test(demo: Demo) -> None:
    rows = [row for row in embedded_query(demo.database, RESULTS) if row["outcome"] == "crashed"]
    assert [(row["nodeid"], row["status"]) for row in rows] == [("test_images.py::test_broken_image", "broken")]
    runs = embedded_query(demo.database, "SELECT service, collected, not_run FROM pytest_results_runs ORDER BY service")
    assert [(run["collected"], run["not_run"]) for run in runs] == [(7, 0), (13, 0), (27, 0)]


def test_allure_titles_of_the_example_are_filled_in(demo: Demo) -> None:
    sql = "SELECT DISTINCT allure_title AS title FROM pytest_results WHERE title LIKE 'Sign in as %' ORDER BY 1"
    titles = [row["title"] for row in embedded_query(demo.database, sql)]
    assert titles == ["Sign in as ada", "Sign in as grace"]


def test_examples_run_without_the_projects_own_configuration() -> None:
    for example in ("basic", "xdist", "allure"):
        command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV"))}
        done = subprocess.run(
            command,
            cwd=ROOT / "examples" / example,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        assert "::test_" in done.stdout


def _shape(text: str) -> list[list[str]]:
    """Return the words of each line, numbers and widths of tables aside."""
    lines = [line.replace("─", "").split() for line in text.splitlines()]
    return [[re.sub(r"\d+", "#", word) for word in line] for line in lines if line]
