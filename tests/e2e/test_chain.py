"""The whole chain: pytest, its helper, the real Collector, its ClickHouse exporter, views, and the rows at the end."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.e2e.chain import HOSTILE, PROTOCOLS, keep, replay, to_collector, to_database
from tests.e2e.test_collector import drain
from tests.kit import Observed, Workbench
from tests.parity import counts, differences, make_views
from tests.servers import telemetrygen
from tests.servers.client import ROOT
from tests.servers.collector import running_collector
from tests.test_verdict_matrix import BROKEN, CRASHED, CRASHES, EXPECTED, SUBTESTS, SUITE
from tests.verdict_kit import Finished

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.client import ClickHouse
    from tests.servers.collector import Collector

TESTS = 2_000
FEWER_TESTS = 200
# Runs whose journals are replayed, and about how many rows they have at least.
RUNS = 5
ROWS = TESTS + FEWER_TESTS + 2 * len(EXPECTED)
EVENTS = TESTS + FEWER_TESTS + 2 * 3_000


def bench_at(directory: Path, cache: Path) -> Workbench:
    """Return a bench whose journals lie with those of others."""
    directory.mkdir()
    bench = Workbench(directory)
    bench.cache, bench.buffers = cache, cache / "pytest-test-observer"
    return bench


def verdicts(bench: Workbench) -> Workbench:
    bench.write(test_suite=SUITE, test_subtests=SUBTESTS, test_broken=BROKEN)
    return bench


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """The journals of runs that nobody took."""
    home = tmp_path_factory.mktemp("kept")
    cache = home / "cache"
    matrix = verdicts(bench_at(home / "verdicts", cache))
    keep(matrix, "--continue-on-collection-errors")
    matrix.write(test_crashes=CRASHES)
    keep(matrix, "--continue-on-collection-errors", "-n2", "--otlp-detail=fixture", "--otlp-trace=module")
    allure = bench_at(home / "allure", cache)
    shutil.copytree(ROOT / "examples" / "allure", allure.suite, dirs_exist_ok=True)
    keep(allure)
    hostile = bench_at(home / "hostile", cache)
    hostile.write(test_hostile=HOSTILE.replace("TESTS)", f"{TESTS})"))
    keep(hostile)
    hostile.write(test_hostile=HOSTILE.replace("TESTS)", f"{FEWER_TESTS})"))
    keep(hostile, "-n2", "--otlp-trace=test", "--deselect=test_hostile.py::TestLone")
    return hostile


@pytest.fixture(scope="module")
def direct(kept: Workbench, clickhouse_server: ClickHouse, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database with the rows that are sent directly."""
    name = f"test_chain_{uuid.uuid4().hex[:8]}"
    clickhouse_server.execute(f"CREATE DATABASE {name}")
    flags = to_database(clickhouse_server, name)
    replay(kept, tmp_path_factory.mktemp("direct") / "cache", clickhouse_server.password, flags)
    yield name
    clickhouse_server.execute(f"DROP DATABASE {name} SYNC")


class Pipe(NamedTuple):
    """A Collector, and the database behind it."""

    collector: Collector
    server: ClickHouse
    database: str

    def drain(self) -> None:
        """Wait until all that the Collector has taken is stored, and end it."""
        drain(self.collector, self.server, self.database)

    def counts(self) -> dict[str, int]:
        return counts(self.server, self.database)


@pytest.fixture
def pipe(program: Path, tmp_path: Path, clickhouse_server: ClickHouse, database: str) -> Iterator[Pipe]:
    make_views(clickhouse_server, database)
    with running_collector(program, tmp_path / "collector", clickhouse_server, database) as collector:
        yield Pipe(collector, clickhouse_server, database)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_journal_gives_the_same_rows_both_ways(
    kept: Workbench, direct: str, pipe: Pipe, tmp_path: Path, protocol: str
) -> None:
    replay(kept, tmp_path / "cache", "", to_collector(pipe.collector, protocol))
    pipe.drain()
    found = pipe.counts()
    assert found["pytest_results"] >= ROWS
    assert found["pytest_results_events"] >= EVENTS
    assert found["pytest_results_runs"] == RUNS
    assert differences(pipe.server, direct, pipe.database) == {}


@pytest.mark.parametrize(("protocol", "workers"), [("grpc", 2), ("http/protobuf", 0)])
def test_the_table_of_verdicts_arrives_while_the_suite_runs(
    bench: Workbench, pipe: Pipe, protocol: str, workers: int
) -> None:
    verdicts(bench)
    if workers:
        bench.write(test_crashes=CRASHES)
    run = bench.run(*to_collector(pipe.collector, protocol), f"-n{workers}", "--continue-on-collection-errors")
    pipe.drain()
    arrived = Finished(Observed(bench, pipe.server, pipe.database), run, rows_of(pipe))
    crashed = {name: [verdict] for name, verdict in CRASHED.items()} if workers else {}
    assert arrived.verdicts == {**EXPECTED, **crashed}
    assert arrived.session["status"] == "failure"
    assert f": {len(arrived.rows)} results sent to http://127.0.0.1" in run.summary
    assert bench.buffered("") == []


def rows_of(pipe: Pipe) -> list[dict[str, Any]]:
    names = ("nodeid", "status", "outcome", "when_phase", "attempt", "flaky")
    rows = pipe.server.query(f"SELECT {', '.join(names)} FROM {pipe.database}.pytest_results ORDER BY nodeid, attempt")
    return [dict(zip(names, row, strict=True)) for row in rows]


def test_with_both_ways_rows_come_directly_while_the_collector_is_away_and_through_it_afterwards(
    bench: Workbench, pipe: Pipe
) -> None:
    bench.write(test_a="def test_a(record_event):\n    record_event('step', {'n': '1'})\n\ndef test_b(): pass\n")
    pipe.collector.kill()
    both = [*to_collector(pipe.collector, "grpc"), *to_database(pipe.server, pipe.database), "--custom-events=true"]
    secret = {"PYTEST_OBSERVER_CH_PASSWORD": pipe.server.password}
    away = bench.run(*both, env=secret)
    assert away.returncode == 0, away.stdout
    assert list(pipe.counts().values()) == [2, 1, 1, 0]
    pipe.collector.start()
    back = bench.run(*both, env=secret)
    pipe.drain()
    assert ": 2 results sent to" in away.summary
    assert ": 2 results sent to" in back.summary
    assert list(pipe.counts().values()) == [4, 2, 2, 3 + 1]
    assert bench.buffered("") == []


def test_spans_of_others_in_the_same_collector_give_no_rows(bench: Workbench, pipe: Pipe) -> None:
    bench.write(test_a="def test_a(): pass\n")
    foreign = [
        str(telemetrygen.binary()),
        "traces",
        "--traces=200",
        "--rate=0",
        "--otlp-insecure",
        "--status-code=Error",
    ]
    collector = pipe.collector
    generator = subprocess.Popen(
        [*foreign, f"--otlp-endpoint=127.0.0.1:{collector.grpc_port}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    run = bench.run(*to_collector(collector, "grpc"))
    said, _ = generator.communicate(timeout=60)
    pipe.drain()
    assert (generator.returncode, run.returncode) == (0, 0), said
    # each of its traces has two spans, the run has two, and one was the drain's
    assert list(pipe.counts().values()) == [1, 0, 1, 400 + 2 + 1]
