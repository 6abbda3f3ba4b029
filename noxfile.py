"""Tests of what must hold beside other plugins and with other versions, each in an environment of its own.

The tests themselves run in ``.venv``; only the pytest processes that they start are of the environment, which has the
plugin as a wheel, pytest and the neighbours. So an environment takes seconds and needs no database. What it has is
pinned in ``tests/neighbours/pytest-*.txt``. A version of Python that the machine lacks is left out.
"""

from __future__ import annotations

import os
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv"
nox.options.error_on_missing_interpreters = False
nox.options.reuse_venv = "yes"

PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
# Each version of pytest with one of Python, each version of Python with the newest pytest.
MATRIX = [("3.10", "7"), ("3.11", "8"), *((python, "9") for python in PYTHONS)]
# Interpreters that pyenv has are not in PATH by their versions.
_pyenv = sorted(Path.home().glob(".pyenv/versions/3.*/bin"))
os.environ["PATH"] = os.pathsep.join([os.environ["PATH"], *map(str, _pyenv)])
# What must be the same with every version: verdicts, attempts, workers, times, events, spans.
CORE = (
    "test_verdict_matrix",
    "test_verdict_items",
    "test_subtests",
    "test_reruns",
    "test_xdist",
    "test_times",
    "test_events",
    "test_interrupts",
    "test_selection",
    "test_junit",
    "test_inert",
    "test_otlp_runs",
)
# Not with pytest 7: pytest-asyncio for it leaves sockets of its loops open, and warnings are errors in that suite.
CORE_FROM_8 = ("test_nest",)
# What uses a dependency of ours, or might use what Python has only since 3.11.
USES_OTHERS = (
    "clickhouse",
    "test_allure_meta.py",
    "test_cli.py",
    "test_doctor.py",
    "test_exporter.py",
    "test_fallback.py",
    "test_first_light.py",
    "test_otlp_delivery.py",
    "test_otlp_destination.py",
    "test_reading.py",
    "test_replay.py",
    "test_replay_lanes.py",
    "test_report.py",
    "test_schema.py",
    "test_spans.py",
)


@nox.session
@nox.parametrize(("python", "pytest"), MATRIX, ids=[f"python{python}-pytest{pytest}" for python, pytest in MATRIX])
def neighbours(session: nox.Session, pytest: str) -> None:
    """Run suites beside other plugins."""
    run(session, pytest, "tests/neighbours", *session.posargs)


@nox.session
@nox.parametrize(("python", "pytest"), MATRIX, ids=[f"python{python}-pytest{pytest}" for python, pytest in MATRIX])
def core(session: nox.Session, pytest: str) -> None:
    """Run the tests of what the plugin records, or those that are named."""
    names = CORE if pytest == "7" else CORE + CORE_FROM_8
    tests = session.posargs or [f"tests/{name}.py" for name in names]
    run(session, pytest, "--dist=loadfile", *tests, without=("pytest-randomly",))


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """Run tests in an environment with the lowest versions of what we depend on; pytest has its own sessions."""
    project = nox.project.load_toml("pyproject.toml")["project"]
    extras = project["optional-dependencies"]
    # of a package that is named twice the last bound counts
    wanted = [*project["dependencies"], *extras["embedded"], *extras["allure"]]
    bounds = dict(requirement.split(">=") for requirement in wanted)
    pins = [f"{name}=={version}" for name, version in bounds.items() if name not in ("pytest", "pluggy")]
    session.install("--require-hashes", "--no-deps", "-r", "requirements-dev.txt")
    session.run_install("uv", "pip", "uninstall", "chdb", "chdb-core", silent=True)  # versions share files
    session.install("--compile-bytecode", *pins)
    session.install("--no-deps", "--reinstall-package", "pytest-test-observer", ".")
    tests = session.posargs or [f"tests/{name}" for name in USES_OTHERS]
    session.run("python", "-m", "pytest", "-q", "-n2", *tests)


def run(session: nox.Session, pytest: str, *tests: str, without: tuple[str, ...] = ()) -> None:
    """Run tests whose suites run in the session's environment, which lacks the packages ``without``."""
    compiled = "--compile-bytecode"  # the tests' own processes keep nothing that they compile, nor the next line's
    session.install(compiled, "--require-hashes", "--no-deps", "-r", f"tests/neighbours/pytest-{pytest}.txt")
    session.install(compiled, "--no-deps", "--reinstall-package", "pytest-test-observer", ".")
    if without:
        session.run_install("uv", "pip", "uninstall", *without, silent=True)
    basic = ("-c", "examples/basic/pytest.ini", "--collect-only", "examples/basic")
    session.run("python", "-m", "pytest", "-q", *basic, env={"PYTHONDONTWRITEBYTECODE": ""}, silent=True)
    session.run(
        *(str(Path(".venv/bin/python").absolute()), "-m", "pytest", "-q", "-n2", *tests),
        env={"OBSERVER_TESTED_PYTHON": str(Path(session.virtualenv.bin) / "python")},
        external=True,
    )
