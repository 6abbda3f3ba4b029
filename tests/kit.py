"""What tests of the plugin are made with: suites on disk, pytest as a real process, rows out of a real engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from textwrap import dedent
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.beside import without_others

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.client import ClickHouse

# Of the run that tests us: nothing of it may reach the run that is tested.
_FOREIGN = ("PYTEST_", "COV", "GITHUB_", "GITLAB_", "CI", "OTEL_", "TRACEPARENT", "TRACESTATE", "BAGGAGE", "GIT_")
# Names the interpreter whose pytest runs the suites, where that is not the one that runs the tests: see noxfile.py.
TESTED_VARIABLE = "OBSERVER_TESTED_PYTHON"
TESTED_PYTHON = os.environ.get(TESTED_VARIABLE, sys.executable)
_VERSION = "import pytest; print(*pytest.version_tuple[:2])"
# Major and minor version of the pytest that runs the suites.
TESTED_PYTEST = (
    tuple(map(int, subprocess.run([TESTED_PYTHON, "-c", _VERSION], capture_output=True, check=True).stdout.split()))
    if TESTED_VARIABLE in os.environ
    else pytest.version_tuple[:2]
)
# No test of ours runs this long; it only ends what hangs.
_PATIENCE = 120


# A hook of suites whose tests die and are repeated. pytest-rerunfailures tells the controller of repetitions without
# waiting, and a death at once can be noticed first; what it is asked afterwards is answered after it has heard.
HEARD_OF_REPETITIONS = """
    def pytest_runtest_setup(item):
        item.config.failures_db.get_test_reruns(item.nodeid)
"""


class Run(NamedTuple):
    """A pytest run that has ended."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def summary(self) -> str:
        """The one line that the plugin prints at the end, empty if it printed none."""
        lines = [line for line in self.stdout.splitlines() if line.startswith("test-observer:")]
        assert len(lines) <= 1, lines
        return lines[0] if lines else ""


class Workbench:
    """A suite in ``suite``, and buffers in ``buffers``.

    Runs have those plugins of others that they name; with ``all_plugins`` all that are installed, as at a user's.
    """

    def __init__(self, directory: Path) -> None:
        self.suite = directory / "suite"
        self.suite.mkdir()
        self.all_plugins = False
        self.write(pytest_ini="[pytest]\n")
        self.cache = directory / "cache"
        self.buffers = self.cache / "pytest-test-observer"

    def write(self, **files: str) -> None:
        """Write files of the suite: ``test_a="..."`` is test_a.py, ``pytest_ini="..."`` is pytest.ini."""
        for name, text in files.items():
            stem, _, ending = name.rpartition("_")
            file = f"{stem}.{ending}" if ending in ("ini", "toml", "txt") else f"{name}.py"
            (self.suite / file).write_text(dedent(text), encoding="utf-8")

    def environment(self, extra: dict[str, str] | None = None) -> dict[str, str]:
        """Return the environment of a run: this one, without what belongs to the run that tests us."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        return {**kept, "XDG_CACHE_HOME": str(self.cache), "PYTHONDONTWRITEBYTECODE": "1", **(extra or {})}

    def start(
        self, *arguments: str, env: dict[str, str] | None = None, python: str = TESTED_PYTHON, **options: Any
    ) -> subprocess.Popen[str]:
        """Start pytest on the suite."""
        return subprocess.Popen(
            [python, "-m", "pytest", "-p", "no:cacheprovider", *self._plugins(arguments, env or {}), *arguments],
            cwd=self.suite,
            env=self.environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def _plugins(self, arguments: tuple[str, ...], env: dict[str, str]) -> list[str]:
        if "PYTEST_DISABLE_PLUGIN_AUTOLOAD" in env:
            return []
        flags = [] if self.all_plugins else without_others(arguments, self.suite)
        # pytest-asyncio warns without it, also in suites that have nothing asynchronous; that for pytest 7 does not
        # know it
        if "-pno:asyncio" not in flags and TESTED_PYTEST >= (8,):
            flags.append("--override-ini=asyncio_default_fixture_loop_scope=function")
        return flags

    def run(self, *arguments: str, env: dict[str, str] | None = None, **options: Any) -> Run:
        """Run pytest on the suite and wait for its end."""
        process = self.start(*arguments, env=env, **options)
        stdout, stderr = process.communicate(timeout=_PATIENCE)
        return Run(process.returncode, stdout, stderr)

    def buffered(self, ending: str = ".jsonl") -> list[Path]:
        """Return the files that are left in the buffer directory."""
        return sorted(path for path in self.buffers.glob("*") if path.name.endswith(ending))

    def kept_rows(self, ending: str = ".jsonl") -> list[dict[str, Any]]:
        """Return the rows of attempts that are left on disk."""
        files = [path for path in self.buffered(ending) if not path.name.endswith((".meta.jsonl", "_events.jsonl"))]
        return [json.loads(line) for path in files for line in path.read_bytes().splitlines() if line.strip()]


class Observed:
    """A workbench whose runs send to ``database`` of ``server``."""

    def __init__(self, bench: Workbench, server: ClickHouse, database: str) -> None:
        self.bench = bench
        self.server = server
        self.database = database

    @property
    def flags(self) -> list[str]:
        """The command line that turns the plugin on."""
        return [f"--ch-url={self.server.url}", f"--ch-db={self.database}"]

    @property
    def env(self) -> dict[str, str]:
        """Credentials, where they belong; and patience, for what is no test of its end."""
        return {
            "PYTEST_OBSERVER_CH_USER": self.server.user,
            "PYTEST_OBSERVER_CH_PASSWORD": self.server.password,
            "PYTEST_OBSERVER_EXIT_TIMEOUT": "60",
        }

    def run(self, *arguments: str, env: dict[str, str] | None = None, **options: Any) -> Run:
        """Run pytest on the suite, observed."""
        return self.bench.run(*self.flags, *arguments, env={**self.env, **(env or {})}, **options)

    def start(self, *arguments: str, env: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[str]:
        """Start pytest on the suite, observed."""
        return self.bench.start(*self.flags, *arguments, env={**self.env, **(env or {})}, **options)

    def rows(
        self, columns: str = "*", table: str = "pytest_results", order: str = "nodeid, attempt"
    ) -> list[dict[str, Any]]:
        """Return rows of a table as dictionaries."""
        sql = f"SELECT {columns} FROM {table} ORDER BY {order} FORMAT JSONEachRow"
        settings = {"output_format_json_quote_64bit_integers": "0"}
        answer = self.server.execute(sql, b"", database=self.database, **settings)
        return [json.loads(line) for line in answer.splitlines()]

    def verdicts(self) -> dict[str, list[tuple[str, str, str, int, bool]]]:
        """Return (status, outcome, when_phase, attempt, flaky) of all attempts, by the node id's last part."""
        found: dict[str, list[tuple[str, str, str, int, bool]]] = {}
        for row in self.rows("nodeid, status, outcome, when_phase, attempt, flaky"):
            verdict = (row["status"], row["outcome"], row["when_phase"], row["attempt"], bool(row["flaky"]))
            found.setdefault(row["nodeid"].rpartition("::")[2], []).append(verdict)
        return found
