"""A Collector that is killed again and again while pytest's helper sends to it; of use to ``bench/faults.py`` too."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.e2e.chain import run_replay, to_collector
from tests.e2e.test_collector import drain
from tests.kit import Run
from tests.parity import counts

if TYPE_CHECKING:
    from tests.kit import Workbench
    from tests.servers.client import ClickHouse
    from tests.servers.collector import Collector

# So long each insert takes, that a kill finds rows on their way to which no answer came yet.
SLOW_SECONDS = 0.4
# A batch of results is sent every 2 s, or when there are 1,000: some seconds of tests have several.
SUITE = """
import time, pytest
@pytest.mark.parametrize("number", range({tests}))
def test_one(number, record_event):
    record_event("step", {{"n": str(number)}})
    time.sleep(0.001)
"""


REFUSED = 503


class Survived(NamedTuple):
    """A run whose Collector was killed ``kills`` times; ``rows`` is what there is of it by table."""

    run: Run
    kills: int
    rows: dict[str, int]


def kill_while_pytest_sends(
    bench: Workbench, collector: Collector, server: ClickHouse, database: str, kills: int
) -> Survived:
    """Run the suite and kill the Collector; what is kept on disk in the end is replayed.

    It is killed in turns when it waits for the answer to an insert, and when an insert was refused: then rows that it
    has acknowledged are nowhere but in its queue.
    """
    server.delay(SLOW_SECONDS)
    flags = [*to_collector(collector, "grpc"), "--custom-events=true"]
    process = bench.start(*flags)
    done = seen = 0
    while process.poll() is None and done < kills:
        entries = server.requests()
        wanted = _was_refused if done % 2 else _is_inserting
        if any(map(wanted, entries[seen:])):
            collector.kill()
            done, seen = done + 1, len(entries)
            if done % 2:
                server.fail(REFUSED, keyword="INSERT")
            collector.start()
        time.sleep(0.01)
    stdout, stderr = process.communicate()
    server.reset()
    if bench.buffered(""):
        run_replay(bench, to_collector(collector, "grpc"))
    drain(collector, server, database)
    return Survived(Run(process.returncode, stdout, stderr), done, counts(server, database))


def _is_inserting(entry: dict[str, Any]) -> bool:
    return bool(entry["delayed"] and not entry["status"])


def _was_refused(entry: dict[str, Any]) -> bool:
    return bool(entry["status"] == REFUSED)
