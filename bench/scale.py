"""What 100,000 tests cost in memory and time, and whether all their rows arrive.

Runs suites of two sizes with plain pytest and with the plugin: to a test server, to the embedded engine and to an
OTLP receiver; serial and with pytest-xdist. Half of the tests are functions, half are parametrised, 100 a module, 20
modules a directory. Memory is over plain pytest of the same size and mode: of pytest itself (the controller) and of
the worker that has most. The helper's is its own peak, so it is to be compared between the sizes. Exits with 1 where
rows are missing or doubled, files are left, pytest has 64 MiB more than plain pytest, or the helper 160 MiB more than
with the fewest tests.

usage: python -m bench.scale [--sizes 10000 100000] [--workers 0 2] [--ways server embedded otlp]
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console
from rich.table import Table

from bench.cost import Measured, Variant, adopt_orphans, children, measure
from bench.peak import peak_mib
from tests.servers.client import ClickHouse, embedded_query, running_clickhouse
from tests.servers.otlp import Receiver, receiving

if TYPE_CHECKING:
    from collections.abc import Iterator

# MiB that pytest may have more than without the plugin.
ALLOWED = 64
# MiB that the helper may have more than with the fewest tests: an embedded engine keeps some 4 MB each time it is
# opened, and the helper opens it 30 times before it goes on as a fresh program.
HELPER_ALLOWED = 160
PLUGIN = ("-p", "pytest_test_observer.plugin")
WAYS = ("server", "embedded", "otlp")
_MODULE = 100
_DIRECTORY = 20
_PARAMETERS = 25
_LOOK_SECONDS = 0.05
_COUNT = "SELECT count() AS rows, uniqExact(span_id) AS different FROM pytest_results"


def write_suite(directory: Path, tests: int) -> Path:
    """Write a suite of trivial tests: of each module's hundred, half are parametrised."""
    suite = directory / f"suite_{tests}"
    functions = "".join(f"def test_{number}():\n    pass\n\n\n" for number in range(_MODULE // 2))
    many = f'@pytest.mark.parametrize("value", range({_PARAMETERS}))\n'
    cases = "".join(f"{many}def test_case_{number}(value):\n    pass\n\n\n" for number in range(2))
    for module in range(tests // _MODULE):
        place = suite / f"part_{module // _DIRECTORY:03}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"test_module_{module:04}.py").write_text(f"import pytest\n\n\n{functions}{cases}")
    (suite / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    return suite


class Seen(NamedTuple):
    """A run: what ``bench.cost`` measures, the helper's peak in MiB, rows that arrived, files that were left."""

    measured: Measured
    helper: float
    rows: int
    different: int
    left: int


@contextmanager
def watching_helpers() -> Iterator[list[float]]:
    """Give the peaks in MiB that helpers have had up to now; this process adopts them."""
    peaks = [0.0]
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_LOOK_SECONDS):
            peaks.extend(peak for pid in children() if _is_helper(pid) and (peak := peak_mib(pid)) is not None)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peaks
    finally:
        ended.set()
        thread.join()


def _is_helper(pid: int) -> bool:
    try:
        return b"_shipper.helper" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


class Bench:
    """Runs suites below ``directory``; the destinations are there as long as it is."""

    def __init__(self, directory: Path, server: ClickHouse, receiver: Receiver) -> None:
        self._server = server
        self._receiver = receiver
        self._database = directory / "observer.db"
        self._cache = directory / "cache"

    def run(self, way: str, suite: Path, workers: int) -> Seen:
        """Run a suite and see what arrived."""
        variant = self._variant(way)
        xdist = ["-p", "xdist", "-n", str(workers)] if workers else []
        with watching_helpers() as peaks:
            measured = measure(variant._replace(arguments=[*variant.arguments, *xdist]), suite, self._cache)
        rows, different = self._arrived(way)
        left = len(list(self._cache.glob("pytest-test-observer/*")))
        self._forget()
        return Seen(measured, max(peaks), rows, different, left)

    def _variant(self, way: str) -> Variant:
        server, url = self._server, self._receiver.endpoint("http/protobuf")
        credentials = {"PYTEST_OBSERVER_CH_USER": server.user, "PYTEST_OBSERVER_CH_PASSWORD": server.password}
        return {
            "plain": Variant("plain", [], {}),
            "server": Variant("server", [*PLUGIN, f"--ch-url={server.url}"], credentials),
            "embedded": Variant("embedded", [*PLUGIN, f"--ch-url=chdb://{self._database}"], {}),
            "otlp": Variant("otlp", [*PLUGIN, f"--otlp-endpoint={url}", "--otlp-protocol=http/protobuf"], {}),
        }[way]

    def _arrived(self, way: str) -> tuple[int, int]:
        """Return how many rows, or spans of tests, there are, and how many different ones."""
        if way == "server":
            ((rows, different),) = self._server.query(_COUNT)
        elif way == "embedded":
            ((rows, different),) = (found.values() for found in embedded_query(self._database, _COUNT))
        else:
            spans = [span.span_id for span in self._receiver.spans if "pytest.nodeid" in span.attributes]
            rows, different = len(spans), len(set(spans))
        return int(rows), int(different)

    def _forget(self) -> None:
        for table in ("pytest_results", "pytest_results_events", "pytest_results_runs"):
            self._server.execute(f"DROP TABLE IF EXISTS {table} SYNC")
        shutil.rmtree(self._database, ignore_errors=True)
        shutil.rmtree(self._cache, ignore_errors=True)
        self._receiver.reset()


def wrong(seen: Seen, plain: Seen, first: Seen, tests: int) -> list[str]:
    """Return what is not as promised; ``first`` is the same with the fewest tests."""
    found = []
    if (seen.rows, seen.different, seen.left) != (tests, tests, 0):
        found.append(f"{seen.rows} rows, {seen.different} different ones, of {tests} tests; {seen.left} files left")
    if _growth(seen, plain) > ALLOWED:
        found.append(f"pytest grew by more than {ALLOWED} MiB")
    if seen.helper - first.helper > HELPER_ALLOWED:
        found.append(f"the helper grew with the tests, from {first.helper:.0f} to {seen.helper:.0f} MiB")
    return found


def _growth(seen: Seen, plain: Seen) -> float:
    """Return what the process has more that grew most."""
    return max(seen.measured.memory - plain.measured.memory, _most(seen) - _most(plain))


def _most(seen: Seen) -> float:
    return max(seen.measured.workers, default=0.0)


def add_row(table: Table, labels: tuple[str, ...], seen: Seen, plain: Seen) -> None:
    """Add a run to the table, beside plain pytest."""
    more = seen.measured.wall - plain.measured.wall
    is_plain = seen is plain
    table.add_row(
        *labels,
        f"{seen.measured.wall:.1f} s" if is_plain else f"{more:+.1f} s",
        f"{seen.measured.memory:.0f}" if is_plain else f"{seen.measured.memory - plain.measured.memory:+.1f}",
        (f"{_most(seen):.0f}" if is_plain else f"{_most(seen) - _most(plain):+.1f}") if _most(seen) else "",
        "" if is_plain else f"{seen.helper:.0f}",
        "" if is_plain else f"{seen.rows:,}",
        "" if is_plain else f"{seen.different:,}",
        "" if is_plain else str(seen.left),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2], help="0 is serial")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    options = parser.parse_args()
    table = Table(title="over plain pytest; memory in MiB")
    for column in ("tests", "mode", "way", "wall", "pytest", "worker", "helper", "rows", "different", "left"):
        table.add_column(column, justify="left" if column in ("mode", "way") else "right")
    problems: list[str] = []
    firsts: dict[tuple[int, str], Seen] = {}
    adopt_orphans()
    with tempfile.TemporaryDirectory() as name, running_clickhouse(Path(name)) as server, receiving() as receiver:
        bench = Bench(Path(name), server, receiver)
        for tests in sorted(options.sizes):
            suite = write_suite(Path(name), tests)
            for workers in options.workers:
                mode = f"-n {workers}" if workers else "serial"
                plain = bench.run("plain", suite, workers)
                add_row(table, (f"{tests:,}", mode, "plain"), plain, plain)
                for way in options.ways:
                    seen = bench.run(way, suite, workers)
                    add_row(table, ("", "", way), seen, plain)
                    first = firsts.setdefault((workers, way), seen)
                    problems += [f"{tests:,} tests, {mode}, {way}: {what}" for what in wrong(seen, plain, first, tests)]
            shutil.rmtree(suite)
    console = Console(width=120)
    console.print(table)
    if problems:
        raise SystemExit("\n".join(problems))


if __name__ == "__main__":
    main()
