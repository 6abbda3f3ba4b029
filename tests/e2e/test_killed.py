"""The real Collector is killed while pytest's helper sends: every result is there, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e.killed import SUITE, kill_while_pytest_sends
from tests.parity import make_views
from tests.servers.collector import running_collector

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit import Workbench
    from tests.servers.client import ClickHouse

TESTS = 3_000
KILLS = 6


def test_a_collector_that_is_killed_while_pytest_sends_loses_nothing_and_stores_nothing_twice(
    bench: Workbench, program: Path, tmp_path: Path, controllable_clickhouse: ClickHouse, database: str
) -> None:
    make_views(controllable_clickhouse, database)
    bench.write(test_many=SUITE.format(tests=TESTS))
    directory = tmp_path / "collector"
    with running_collector(program, directory, controllable_clickhouse, database) as collector:
        done = kill_while_pytest_sends(bench, collector, controllable_clickhouse, database, KILLS)
    assert done.run.returncode == 0, done.run.stdout
    assert done.kills == KILLS
    results, events, runs, _ = done.rows.values()
    assert (results, events, runs) == (TESTS, TESTS, 1)
    assert bench.buffered("") == []
