"""Suites that others wrote, with the plugin and without it: nothing may differ, and each result must be a row.

Each suite comes from a source distribution of PyPI and runs in an environment of its own under ``build/realworld``,
serial and with two workers. A witness in the run writes down what pytest told of each test; the rows must say the same,
none missing and none twice. The first time takes minutes, to install; any difference makes the exit status 1.

usage: python -m bench.realworld [names of suites]
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import pytest
from rich.console import Console
from rich.table import Table

from tests.servers.client import ClickHouse, running_clickhouse

if TYPE_CHECKING:
    from collections.abc import Iterator

_Item = TypeVar("_Item")

ROOT = Path(__file__).parent.parent
PLACE = ROOT / "build" / "realworld"


class Suite(NamedTuple):
    """A suite: its source distribution, and what its tests need beside pytest and pytest-xdist."""

    name: str
    version: str
    needs: tuple[str, ...] = ()

    @property
    def place(self) -> Path:
        """Directory of all that belongs to it."""
        return PLACE / f"{self.name}-{self.version}"

    @property
    def archive(self) -> Path:
        """Its source distribution."""
        (found,) = (self.place / "source").iterdir()
        return found

    @property
    def python(self) -> Path:
        """Interpreter of its environment."""
        return self.place / "environment" / "bin" / "python"


SUITES = (
    Suite("attrs", "26.1.0", ("cloudpickle", "hypothesis", "pympler")),
    Suite("packaging", "26.4", ("hypothesis", "pip", "pretend", "tomli_w")),
    Suite("click", "8.5.1"),
    Suite("more-itertools", "11.2.1"),
    Suite("python-dateutil", "4.0.0", ("attrs", "freezegun", "hypothesis", "pytest-cov")),
)
MODES = {"serial": (), "-n 2": ("-n", "2")}

# Writes one line for each report that pytest counts, in the process that prints the summary.
WITNESS = """
import json, os

def pytest_configure(config):
    if hasattr(config, "workerinput"):
        return
    class Witness:
        def pytest_runtest_logreport(self, report):
            category, _, _ = config.hook.pytest_report_teststatus(report=report, config=config)
            if category:
                print(json.dumps([report.nodeid, category]), file=file)
        def pytest_collectreport(self, report):
            if report.failed:
                print(json.dumps([report.nodeid, "error"]), file=file)
    file = open(os.environ["WITNESS"], "w", encoding="utf-8")
    config.add_cleanup(file.close)
    config.pluginmanager.register(Witness())
"""

# What differs between any two runs: times (hypothesis has its own, in a property), addresses, and which of two workers
# a test runs on, where a traceback names its temporary directory.
_CHANGING = re.compile(
    r' (?:time|timestamp|hostname)="[^"]*"|<property name="hypothesis-statistics-[^>]*/>|(?<= at )0x[0-9a-f]+|'
    r"(?<=/popen-gw)\d+"
)
_COUNTS = re.compile(r"=+ (.*) in \d[\d.]*s.* =+$|^(\d.*) in \d[\d.]*s", re.MULTILINE)


class Seen(NamedTuple):
    """A run: exit status, pytest's own counts, JUnit XML without times, (node id, category) of each test, seconds."""

    status: int
    counts: str
    junit: str
    told: Counter[tuple[str, str]]
    seconds: float
    output: str


def prepare(suite: Suite, wheel: Path) -> None:
    """Make the environment of a suite if it is missing, and put the plugin as it is now into it."""
    packages = [f"pytest=={pytest.__version__}", "pytest-xdist", *suite.needs]
    mark = suite.place / "installed"
    if not mark.exists() or mark.read_text() != repr(packages):
        shutil.rmtree(suite.place, ignore_errors=True)
        options = ["--quiet", "--no-deps", "--no-binary", ":all:", "--dest", str(suite.place / "source")]
        _run(sys.executable, "-m", "pip", "download", *options, f"{suite.name}=={suite.version}")
        _run(sys.executable, "-m", "uv", "venv", "--quiet", "--python", sys.executable, str(suite.python.parents[1]))
        _install(suite, *packages, str(suite.archive), str(wheel))
        mark.write_text(repr(packages))
    _install(suite, "--no-deps", "--reinstall-package", "pytest-test-observer", str(wheel))


def _install(suite: Suite, *arguments: str) -> None:
    _run(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(suite.python), *arguments)


def _run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def run(suite: Suite, arguments: tuple[str, ...], env: dict[str, str], scratch: Path) -> Seen:
    """Run the tests of a suite that is unpacked in ``scratch/source``."""
    (scratch / "realworld_witness.py").write_text(WITNESS, encoding="utf-8")
    (source,) = (scratch / "source").iterdir()
    junit, witness = scratch / "junit.xml", scratch / "witness.jsonl"
    own = ("-p", "no:cacheprovider", "-p", "realworld_witness", f"--junitxml={junit}", f"--basetemp={scratch / 'tmp'}")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYT")}
    more = {
        "PYTHONPATH": str(scratch),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HYPOTHESIS_STORAGE_DIRECTORY": str(scratch / "hypothesis"),
        "XDG_CACHE_HOME": str(scratch / "cache"),
        "WITNESS": str(witness),
    }
    started = time.perf_counter()
    done = subprocess.run(
        [suite.python, "-m", "pytest", *own, *arguments, "tests"],
        cwd=source,
        env={**kept, **more, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - started
    if not junit.exists():
        raise SystemExit(f"{suite.name} did not run:\n{done.stdout[-5000:]}{done.stderr}")
    found = [" ".join(filter(None, match)) for match in _COUNTS.findall(done.stdout)]
    told = Counter((nodeid, category) for nodeid, category in map(json.loads, witness.read_text().splitlines()))
    text = _CHANGING.sub("", junit.read_text(encoding="utf-8"))
    return Seen(done.returncode, found[-1] if found else "", text, told, seconds, done.stdout + done.stderr)


def observed(server: ClickHouse, suite: Suite, mode: str, scratch: Path) -> Compared:
    """Run a suite without the plugin and with it."""
    database = f"realworld_{uuid.uuid4().hex[:16]}"
    server.execute(f"CREATE DATABASE {database}")
    flags = (f"--ch-url={server.url}", f"--ch-db={database}", "--observer-exit-timeout=60", *MODES[mode])
    credentials = {"PYTEST_OBSERVER_CH_USER": server.user, "PYTEST_OBSERVER_CH_PASSWORD": server.password}
    without = run(suite, ("-p", "no:test_observer", *MODES[mode]), {}, scratch)
    with_us = run(suite, flags, credentials, scratch)
    rows = Counter(
        (row[0], row[1]) for row in server.query("SELECT nodeid, outcome FROM pytest_results", database=database)
    )
    left = [path.name for path in scratch.glob("cache/pytest-test-observer/*")]
    return Compared(suite, mode, without, with_us, rows, left)


class Compared(NamedTuple):
    """A suite in one mode: both runs, the (node id, outcome) of the rows that arrived, and files left on disk."""

    suite: Suite
    mode: str
    without: Seen
    with_us: Seen
    rows: Counter[tuple[str, str]]
    left: list[str]

    def differences(self) -> Iterator[str]:
        """Yield what is not as it must be."""
        without, with_us = self.without, self.with_us
        if not without.told:
            yield f"no test ran: {without.output[-2000:]}"
        if without.status != with_us.status:
            yield f"exit status {without.status} without us, {with_us.status} with us"
        if without.counts != with_us.counts:
            yield f"pytest counts {without.counts!r} without us, {with_us.counts!r} with us"
        if without.told != with_us.told:
            yield f"outcomes differ: {_first(without.told, with_us.told)}"
        if _cases(without.junit, self.mode) != _cases(with_us.junit, self.mode):
            difference = _first(Counter(_split(without.junit)), Counter(_split(with_us.junit)))
            yield f"JUnit XML differs: {difference or 'the order of its cases'}"
        # Passed subtests are counted for themselves; a row is an attempt of a test.
        wanted = Counter({key: times for key, times in with_us.told.items() if not key[1].startswith("subtests ")})
        if wanted != self.rows:
            yield f"rows are not what pytest told: {_first(wanted, self.rows)}"
        if self.left:
            yield f"left on disk: {self.left}"


def _split(junit: str) -> list[str]:
    return re.split(r"(?=<testcase)|(?=</testsuite)", junit)


def _cases(junit: str, mode: str) -> list[str]:
    """Cases of a JUnit file; two workers finish them in any order."""
    cases = _split(junit)
    return cases if mode == "serial" else sorted(cases)


def _first(wanted: Counter[_Item], found: Counter[_Item]) -> str:
    """Name the first that is missing and the first that is too much."""
    missing, more = list((wanted - found).elements()), list((found - wanted).elements())
    told = [
        f"{len(items)} {what}, such as {items[0]!r}"
        for items, what in ((missing, "missing"), (more, "too many"))
        if items
    ]
    return "; ".join(told)


def table(all_compared: list[Compared]) -> Table:
    """Return a row for each suite and mode."""
    result = Table(title=f"pytest {pytest.__version__}, Python {sys.version.split()[0]}")
    for column in ("suite", "mode", "pytest counts", "rows", "rows by outcome", "without", "with", "differences"):
        result.add_column(column, justify="right" if column in ("rows", "without", "with") else "left")
    for compared in all_compared:
        outcomes: Counter[str] = Counter()
        for (_, outcome), times in compared.rows.items():
            outcomes[outcome] += times
        result.add_row(
            f"{compared.suite.name} {compared.suite.version}",
            compared.mode,
            compared.with_us.counts,
            str(compared.rows.total()),
            ", ".join(f"{times} {outcome}" for outcome, times in sorted(outcomes.items())),
            f"{compared.without.seconds:.1f} s",
            f"{compared.with_us.seconds:.1f} s",
            str(len(list(compared.differences())) or "none"),
        )
    return result


def main() -> None:
    """Run the suites and print the table."""
    chosen = [suite for suite in SUITES if not sys.argv[1:] or suite.name in sys.argv[1:]]
    if len(chosen) < len(sys.argv[1:]):
        raise SystemExit(f"suites are: {', '.join(suite.name for suite in SUITES)}")
    all_compared: list[Compared] = []
    with tempfile.TemporaryDirectory() as name, running_clickhouse(Path(name)) as server:
        _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", name)
        (wheel,) = Path(name).glob("*.whl")
        for suite in chosen:
            prepare(suite, wheel)
            for mode in MODES:
                # Not below this project: pytest looks for its configuration in all directories above.
                scratch = Path(name) / f"{suite.name} {mode}"
                with tarfile.open(suite.archive) as archive:
                    archive.extractall(scratch / "source", filter="data")
                all_compared.append(observed(server, suite, mode, scratch))
                print(suite.name, mode, *all_compared[-1].differences(), sep="\n  ", flush=True)
    Console(width=160).print(table(all_compared))
    if any(difference for compared in all_compared for difference in compared.differences()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
