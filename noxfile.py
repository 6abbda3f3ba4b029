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


@nox.session
@nox.parametrize(("python", "pytest"), MATRIX, ids=[f"python{python}-pytest{pytest}" for python, pytest in MATRIX])
def neighbours(session: nox.Session, pytest: str) -> None:
    """Run suites beside other plugins."""
    session.install("--require-hashes", "--no-deps", "-r", f"tests/neighbours/pytest-{pytest}.txt")
    session.install("--no-deps", "--reinstall-package", "pytest-test-observer", ".")
    session.run(
        *(str(Path(".venv/bin/python").absolute()), "-m", "pytest", "-q", "-n2", "tests/neighbours", *session.posargs),
        env={"OBSERVER_TESTED_PYTHON": str(Path(session.virtualenv.bin) / "python")},
        external=True,
    )
