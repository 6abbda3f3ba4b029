"""Blocks of the documentation: each is run, here or in the test of its page; recipes for CI do what they say."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml
from click.testing import CliRunner

from pytest_test_observer._cli import main
from pytest_test_observer._settings import SETTINGS
from tests.kit import Run, Workbench
from tests.test_context import GITHUB
from tests.test_readme import MAKEFILE, PROJECT, QUIET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.kit import Observed
    from tests.servers.client import ClickHouse

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_SETTING = re.compile(r"[A-Z][A-Z_]+=")
# Which test runs the programs, queries and recipes of a page: that of the page, or one below.
HERE = "test_docs_blocks"
RUN_BY = {
    ("cli", "yaml"): HERE,
    ("clickhouse-cloud", "sql"): HERE,
    ("collector", "yaml"): HERE,
    ("forks", "yaml"): HERE,
    ("github-actions", "yaml"): HERE,
    ("gitlab", "yaml"): HERE,
    ("moving", "sql"): "test_moving",
    ("nesting", "python"): HERE,
    ("opentelemetry", "py"): "test_docs_opentelemetry",
    ("queries", "py"): HERE,
    ("queries", "sql"): "test_queries",
    ("schema", "sql"): "test_docs",
    ("shards", "sql"): HERE,
    ("shards", "yaml"): HERE,
}
# Programs of others that pages start.
FOREIGN = ("docker", "eval", "otelcol-contrib", "python")
TWO = "def test_one(): pass\ndef test_two(): pass\n"
# Options of plugins that are not ours: a recipe is run without them.
SPLIT = ("--splits", "--group")


class Block(NamedTuple):
    """A fenced block, without the indentation of a list that it stands in."""

    page: str
    language: str
    text: str


class Step(NamedTuple):
    """A command of a recipe, and the environment that the recipe gives it."""

    command: str
    env: dict[str, str]


def _blocks() -> Iterator[Block]:
    for page in sorted((ROOT / "docs").glob("*.md")):
        for _, language, text in _FENCE.findall(page.read_text(encoding="utf-8")):
            yield Block(page.stem, language, dedent(text))


BLOCKS = list(_blocks())


def of(page: str, language: str) -> list[str]:
    return [block.text for block in BLOCKS if (block.page, block.language) == (page, language)]


def commands(block: Block) -> list[str]:
    """Return what is typed in a block of shell, or in the steps of a recipe."""
    if block.language == "console":
        text = re.sub(r"\\\n\s*", "", block.text)
        return [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]
    if block.language == "yaml":
        return [step.command for step in steps(block.text)]
    if block.language == "sh":
        return block.text.splitlines()
    return [line for line in block.text.splitlines() if not block.language and line.startswith("pytest --")]


def steps(text: str, **context: str) -> list[Step]:
    """Return the commands of a workflow of GitHub or of a job of GitLab, with expressions filled in."""
    found = []
    for job in _jobs(yaml.safe_load(text)):
        cells = {f"matrix.{name}": str(values[0]) for name, values in _matrix(job).items()}
        filled = {**cells, "github.token": "t", "github.event.workflow_run.id": "1", **context}
        env = {name: str(value) for name, value in job.get("variables", {}).items()}
        for step in job.get("steps", []):
            if "run" in step:
                own = {name: _filled(str(value), filled) for name, value in step.get("env", {}).items()}
                found.append(Step(_filled(step["run"], filled), own))
        found += [Step(line, env) for line in job.get("script", [])]
    return found


def _jobs(recipe: Any) -> list[dict[str, Any]]:
    if isinstance(recipe, list):  # the steps alone
        return [{"steps": recipe}]
    jobs = recipe.get("jobs", recipe)
    return [job for job in jobs.values() if isinstance(job, dict) and ("steps" in job or "script" in job)]


def _matrix(job: dict[str, Any]) -> dict[str, list[Any]]:
    matrix: dict[str, list[Any]] = job.get("strategy", {}).get("matrix", {})
    return matrix


def _filled(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\$\{\{ *([\w.]+) *\}\}", lambda found: values.get(found[1], f"<{found[1]}>"), text)


COMMANDS = [(block.page, command) for block in BLOCKS for command in commands(block) if command.strip()]


def test_every_program_query_and_recipe_is_run_by_a_test() -> None:
    found = {(block.page, block.language) for block in BLOCKS if block.language in ("py", "python", "sql", "yaml")}
    assert found - set(RUN_BY) == set(), "run by no test"
    assert set(RUN_BY) - found == set(), "not there any more"
    assert all((ROOT / "tests" / f"{name}.py").exists() for name in RUN_BY.values())
    assert {block.language for block in BLOCKS} <= {"py", "python", "sql", "yaml", "sh", "console", "toml", "text", ""}


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_a_command_of_the_documentation_can_be_typed(page: str, command: str) -> None:
    """Programs, verbs, flags and variables exist; recipes are run below."""
    words = shlex.split(command)
    while words and _SETTING.match(words[0]):
        _check_variable(words.pop(0).partition("=")[0])
    if not words:
        return
    program, *arguments = words
    if program == "export":
        for assignment in arguments:
            _check_variable(assignment.partition("=")[0])
    elif program == "pip":
        named = {word.partition(">=")[0] for word in arguments[1:] if word.startswith("pytest-test-observer")}
        assert named == {"pytest-test-observer"} == {PROJECT["name"]}
    elif program == "pytest-observer":
        _check_click(arguments)
    elif program == "make":
        assert re.search(rf"^{arguments[0]}:", MAKEFILE, re.MULTILINE)
    elif program == "pytest":
        ours = {row.flag for row in SETTINGS}
        flags = [word.partition("=")[0] for word in arguments if word.startswith("--")]
        assert set(flags) <= ours | set(SPLIT)
    else:
        assert program in FOREIGN, command


def _check_variable(name: str) -> None:
    ours = {row.env for row in SETTINGS} | {"PYTEST_OBSERVER_RUN_ID"}
    assert name in ours or not name.startswith("PYTEST_OBSERVER"), name


def _check_click(arguments: list[str]) -> None:
    command: Any = main
    while arguments and not arguments[0].startswith("-") and arguments[0] in getattr(command, "commands", {}):
        command = command.commands[arguments.pop(0)]
    options = {option for parameter in command.params for option in parameter.opts}
    flags = {word.partition("=")[0] for word in arguments if word.startswith("-")}
    assert flags <= options | {"--help"}, flags - options


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "toml"], ids=lambda block: block.page)
def test_settings_in_files_exist(block: Block) -> None:
    assert set(tomllib.loads(block.text)["tool"]["pytest"]["ini_options"]) <= {row.name for row in SETTINGS}


# ------------------------------------------------------------------ recipes, run


class Machine:
    """Runs the steps of a recipe as a CI system does: in a checkout, with what it sets, against the test's server."""

    def __init__(self, observed: Observed) -> None:
        self.observed = observed
        self.suite = observed.bench.suite
        observed.bench.write(test_a=TWO)
        self.context = {
            "vars.CLICKHOUSE_URL": observed.server.url,
            "secrets.CLICKHOUSE_PASSWORD": observed.server.password,
            "secrets.CLICKHOUSE_FORKS_PASSWORD": observed.server.password,
        }

    def run(self, step: Step, system: dict[str, str], *more: str) -> Run:
        """Run one step, as the user of the test's server, where ``system`` is what the CI system sets."""
        words = shlex.split(step.command)
        env = {**self.observed.bench.environment(), **system, **step.env}
        while _SETTING.match(words[0]):
            name, _, value = words.pop(0).partition("=")
            env[name] = value
        assert words[0] == "pytest"
        arguments = [word for word in words[1:] if not word.startswith(SPLIT)]
        if "PYTEST_OBSERVER_CH_USER" in env:
            env["PYTEST_OBSERVER_CH_USER"] = self.observed.server.user
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *QUIET, f"--ch-db={self.observed.database}", *arguments, *more],
            cwd=self.suite,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        return Run(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def machine(observed: Observed) -> Machine:
    return Machine(observed)


def test_the_recipe_for_github_sends_and_knows_the_job(machine: Machine) -> None:
    [recipe] = of("github-actions", "yaml")
    install, tests = steps(recipe, **machine.context)
    assert install.command.startswith("pip install ")
    assert machine.run(tests, GITHUB).summary.startswith("test-observer: 2 results sent to ")
    rows = machine.observed.rows("ci_provider, ci_run_id, ci_job, ci_attempt, change_id")
    assert rows[0] == {"ci_provider": "github", "ci_run_id": "77", "ci_job": "test", "ci_attempt": 2, "change_id": "12"}
    assert list((machine.suite / "observer" / "pytest-test-observer").iterdir()) == []


def test_the_steps_for_github_show_the_summary_of_the_run(machine: Machine, tmp_path: Path) -> None:
    tests, show = steps(of("cli", "yaml")[0], **{"github.run_id": "77", "github.run_attempt": "2"})
    system = {**GITHUB, **machine.observed.env, "PYTEST_OBSERVER_CH_URL": machine.observed.server.url}
    assert machine.run(tests, system).returncode == 0
    summary = tmp_path / "summary.md"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    given = {"PYTEST_OBSERVER_CH_DB": machine.observed.database, "GITHUB_STEP_SUMMARY": str(summary), "PATH": path}
    env = {**machine.observed.bench.environment(), **system, **given, **show.env}
    subprocess.run(["sh", "-c", show.command], env=env, check=True)
    assert summary.read_text().startswith("## ✅ 2 tests: success\n")
    # nor does a server that is away, or a secret that a fork lacks, fail the job there
    [_, step] = yaml.safe_load(of("cli", "yaml")[0])
    assert step["continue-on-error"] is True


def test_without_its_variable_the_recipe_for_github_records_nothing_and_passes(machine: Machine) -> None:
    _, tests = steps(of("github-actions", "yaml")[0], **{**machine.context, "vars.CLICKHOUSE_URL": ""})
    run = machine.run(tests, GITHUB)
    assert (run.returncode, run.summary) == (0, "")


def test_what_the_recipe_for_gitlab_uploads_is_what_could_not_be_sent(machine: Machine) -> None:
    [recipe] = of("gitlab", "yaml")
    _, tests = steps(recipe)
    system = {"GITLAB_CI": "true", "CI_PIPELINE_ID": "9", "CI_JOB_NAME": "tests 1/4"}
    tests = tests._replace(env={**tests.env, "PYTEST_OBSERVER_CH_URL": "http://127.0.0.1:9"})
    run = machine.run(tests, system)
    assert run.returncode == 0
    [uploaded] = yaml.safe_load(recipe)["tests"]["artifacts"]["paths"]
    [kept] = [path for path in (machine.suite / uploaded).glob("*.jsonl") if not path.name.endswith(".meta.jsonl")]
    assert kept.read_text().count('"ci_provider":"gitlab"') == 2


def test_results_of_a_fork_get_into_a_table_of_their_own(machine: Machine, tmp_path: Path) -> None:
    first, second = of("forks", "yaml")
    _, tests = steps(first, **machine.context)
    assert "2 kept on disk" in machine.run(tests, GITHUB).summary
    upload = yaml.safe_load(first)["jobs"]["tests"]["steps"][-1]["with"]["path"]
    download = yaml.safe_load(second)["jobs"]["replay"]["steps"][0]["with"]["path"]
    shutil.copytree(machine.suite / upload, tmp_path / download)
    _, replay = steps(second, **machine.context)
    program, verb, *arguments = shlex.split(replay.command)
    assert (program, verb) == ("pytest-observer", "replay")
    arguments = [str(tmp_path / word) if word == f"{download}/" else word for word in arguments]
    env = {**replay.env, "PYTEST_OBSERVER_CH_USER": machine.observed.server.user}
    replayer_env = {"PYTEST_OBSERVER_CH_DB": machine.observed.database, **env}
    done = CliRunner().invoke(main, [verb, *arguments], env=replayer_env)
    assert done.exit_code == 0, done.output
    assert len(machine.observed.rows("nodeid", "pytest_results_forks", "nodeid")) == 2


def test_shards_are_named_and_belong_together(machine: Machine, query: Callable[[str], list[tuple[Any, ...]]]) -> None:
    _, tests = steps(of("shards", "yaml")[0], **machine.context)
    assert [flag.split("=")[0] for flag in shlex.split(tests.command)[1:]] == list(SPLIT)
    machine.run(tests, GITHUB, "-k", "one")
    [variant] = of("shards", "sh")
    machine.run(Step(variant.strip(), tests.env), GITHUB, "-k", "two")
    rows = machine.observed.rows("ci_job, variant")
    assert {row["ci_job"] for row in rows} == {"tests-1"}
    assert rows[1]["variant"] == "py3.13-postgres17"
    [(provider, run, jobs, passed, not_good, not_run, seconds)] = query(of("shards", "sql")[0])
    assert (provider, run, jobs, passed, not_good, not_run) == ("github", "77", 2, 2, 0, 0)
    assert 0 < seconds < 120
    assert query("SELECT DISTINCT partial FROM pytest_results_runs") == [(True,)]


def test_projects_of_one_repository_are_told_apart(machine: Machine) -> None:
    first, second = of("monorepo", "sh")
    for name in ("billing", "shipping"):
        (machine.suite / name).mkdir()
        (machine.suite / name / "test_api.py").write_text("def test_get(): pass\n")
    env = {**machine.observed.env, "PYTEST_OBSERVER_CH_URL": machine.observed.server.url}
    machine.run(Step(first.splitlines()[0], env), {})
    export, line = second.splitlines()
    name, _, value = export.removeprefix("export ").partition("=")
    machine.run(Step(line.replace("billing", "shipping"), {**env, name: value}), {})
    assert [row["service"] for row in machine.observed.rows("service")] == ["billing", "shipping"]
    [_, run] = machine.observed.rows("service, attributes", "pytest_results_runs", "service")
    assert run["attributes"]["team"] == "payments"


def test_an_embedded_database_answers_the_program_of_the_page(bench: Workbench) -> None:
    [command] = [line for line in of("moving", "sh")[0].splitlines() if line]
    bench.write(test_a=TWO)
    run = bench.run(*shlex.split(command)[1:])
    assert "2 results sent" in run.summary
    [program] = of("queries", "py")
    assert "/path/to/observer.db" in program
    program = program.replace("/path/to/", f"{bench.suite}/")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[('passed', 2)]\n"


def test_the_ways_to_nest_that_the_page_shows_work(bench: Workbench, tmp_path: Path) -> None:
    markers, thread, child = of("nesting", "python")
    program = tmp_path / "my-command"
    program.write_text('#!/bin/sh\necho "$TRACEPARENT" > traceparent\n')
    program.chmod(0o755)
    bench.write(
        test_a="import pytest\n" + markers,
        test_b="done = []\ndef work(): done.append(1)\n"
        + thread
        + "    thread.start()\n    thread.join()\n    assert done",
        test_c=child,
    )
    env = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "PYTEST_OBSERVER_NEST": "on"}
    run = bench.run("--ch-url=http://127.0.0.1:9", "--strict-markers", env=env)
    assert "4 passed" in run.stdout
    [row] = [row for row in bench.kept_rows() if row["function"] == "test_command"]
    assert (bench.suite / "traceparent").read_text() == f"00-{row['trace_id']}-{row['span_id']}-01\n"


@pytest.mark.parametrize(
    "statement", [line for line in "".join(of("clickhouse-cloud", "sql")).split(";") if line.strip()]
)
def test_statements_for_users_are_clickhouses(statement: str, clickhouse_server: ClickHouse) -> None:
    assert clickhouse_server.execute(f"EXPLAIN AST {statement.strip()}")


def test_what_is_added_to_a_collector_is_what_this_projects_own_has() -> None:
    [added] = map(yaml.safe_load, of("collector", "yaml"))
    own = yaml.safe_load((ROOT / "otel-collector" / "config.yaml").read_text(encoding="utf-8"))
    assert added["exporters"] == {"clickhouse/pytest": own["exporters"]["clickhouse"]}
    assert added["extensions"].items() <= own["extensions"].items()
    received = added["receivers"]["otlp/pytest"]["protocols"]["grpc"]["max_recv_msg_size_mib"]
    assert received == own["receivers"]["otlp"]["protocols"]["grpc"]["max_recv_msg_size_mib"]
    [pipeline] = added["service"]["pipelines"].values()
    assert pipeline == {"receivers": ["otlp/pytest"], "exporters": ["clickhouse/pytest"]}
    assert added["service"]["extensions"] == list(added["extensions"])
