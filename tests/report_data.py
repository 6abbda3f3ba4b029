"""A suite of 120 tests on four workers, twelve runs of it, and what a report must find in them."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_test_observer._columns import TABLES
from pytest_test_observer._destinations.schema import Place, create_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.client import ClickHouse

DAY_MS = 86_400_000
NOW_MS = int(time.time() * 1000) - 60_000
SHOP, REPOSITORY, VARIANTS = "shop", "https://git.example/shop", ("py3.10", "py3.14")
RUNS, TESTS, WORKERS = 12, 120, 4

# Each would end an element, begin a comment or another element, or be taken for a mark of the template.
HOSTILE = (
    "tests/test_x.py::test_</script><script>alert(1)</script><!--<img src=x onerror=alert(1)>[@DATA@&amp;\u2028'\"]"
)
HOSTILE_ERROR = "</script><script>alert('error')</script><b onclick=alert(1)>"
FLAKY = "tests/test_net.py::test_download"
BOTH_WAYS = "tests/test_clock.py::test_midnight"
BROKEN = "tests/test_stock.py::test_stock_is_reserved"
NEWLY_FAILING = "tests/test_cart.py::test_discount"
FIXED = "tests/test_cart.py::test_total"
LONG_POLE = "tests/test_slow.py::test_index_is_built"
SKIPPED = "tests/test_gift.py::test_gift_card"
PLANTED = (HOSTILE, FLAKY, BOTH_WAYS, BROKEN, NEWLY_FAILING, FIXED, LONG_POLE, SKIPPED)


class Attempt(NamedTuple):
    """What became of an attempt."""

    status: str = "passed"
    outcome: str = "passed"
    message: str = ""
    type: str = ""
    flaky: bool = False


_REFUSED = Attempt("failed", "failed", "assert 1611 == 1612", "AssertionError")
_ALWAYS = {
    HOSTILE: Attempt("failed", "failed", HOSTILE_ERROR, "<b>Error</b>"),
    BROKEN: Attempt("broken", "error", "warehouse.test does not answer", "ConnectionError"),
    SKIPPED: Attempt("skipped", "skipped", "not before December"),
}


def attempts(nodeid: str, run: int) -> list[Attempt]:
    """Return the attempts of a test in a run; the last run is ``RUNS - 1``."""
    if nodeid == FLAKY and run % 4 == 3:
        lost = Attempt("failed", "rerun", f"no answer within {run}.25 s at 0x7f{run:02}", "TimeoutError")
        return [lost, Attempt(flaky=True)]
    # runs 4 and 6 have one commit under one variant
    if nodeid == BOTH_WAYS and run == 6:
        return [Attempt("failed", "failed", "assert 23 == 0", "AssertionError")]
    if (nodeid == NEWLY_FAILING and run == RUNS - 1) or (nodeid == FIXED and run < RUNS - 1):
        return [_REFUSED]
    return [_ALWAYS.get(nodeid, Attempt())]


def nodeids() -> list[str]:
    """Return all tests, the planted ones last."""
    plain = [f"tests/test_area_{number % 7}.py::test_case_{number}" for number in range(TESTS - len(PLANTED))]
    return [*plain, *PLANTED]


def _context(run: int) -> dict[str, Any]:
    return {
        "run_id": run_id(run),
        "service": SHOP,
        "repository": REPOSITORY,
        "variant": VARIANTS[run % 2],
        "git_branch": "main",
        "git_commit": f"commit-{4 if run == 6 else run}",
        "ci_provider": "github",
        "ci_run_id": str(100 + run),
        "ci_url": f"https://ci.example/{100 + run}" if run % 2 else "javascript:alert(1)",
        "trace_id": f"{run:032x}",
    }


def run_id(run: int) -> str:
    """Name a run."""
    return f"{run:02}-run-of-the-suite"


def started(run: int) -> int:
    """Return when a run began, in milliseconds."""
    return NOW_MS - (RUNS - run) * DAY_MS


def results(run: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of a run: worker 3 has the long pole last, the others are idle by then."""
    clocks = [started(run)] * WORKERS
    for number, nodeid in enumerate(nodeids()):
        worker = WORKERS - 1 if nodeid == LONG_POLE else number % (WORKERS - 1 if number > TESTS - 12 else WORKERS)
        for attempt, what in enumerate(attempts(nodeid, run), 1):
            length = 9_000 if nodeid == LONG_POLE else 40 + number
            begin, clocks[worker] = clocks[worker], clocks[worker] + length
            yield {
                **_context(run),
                "timestamp": str(begin + length),
                "started_at": begin,
                "finished_at": begin + length,
                "nodeid": nodeid,
                "attempt": attempt,
                "status": what.status,
                "outcome": what.outcome,
                "flaky": what.flaky,
                "when_phase": "setup" if what.outcome == "error" else "call",
                "setup_duration": length / 10_000,
                "call_duration": length * 0.9 / 1000,
                "worker_id": f"gw{worker}",
                "error_type": what.type,
                "error_message": what.message,
                "error_stacktrace": f"Traceback\n{what.message}" if what.type else "",
            }


def summary(run: int) -> dict[str, Any]:
    """Return the row of a run; the third from the end is a partial one."""
    last = [attempts(nodeid, run)[-1] for nodeid in nodeids()]
    counts = {name: sum(one.status == name for one in last) for name in ("passed", "failed", "broken", "skipped")}
    return {
        **_context(run),
        **counts,
        "timestamp": str(started(run) + 20_000),
        "started_at": started(run),
        "finished_at": started(run) + 20_000,
        "duration": 20.0 + run,
        "status": "failure",
        "exit_status": 1,
        "collected": TESTS,
        "partial": run == RUNS - 3,
        "flaky": sum(one.flaky for one in last),
        "reruns": sum(len(attempts(nodeid, run)) - 1 for nodeid in nodeids()),
        "workers": WORKERS,
    }


def store(server: ClickHouse, database: str, runs: int = RUNS) -> None:
    """Make the tables and fill them."""
    for table in TABLES.values():
        server.execute(create_table(table, Place(database, "pytest_results")))
    rows = {
        "pytest_results": (row for run in range(runs) for row in results(run)),
        "pytest_results_runs": (summary(run) for run in range(runs)),
    }
    for name, found in rows.items():
        data = "\n".join(map(json.dumps, found)).encode()
        server.execute(f"INSERT INTO {name} FORMAT JSONEachRow", data, database=database)
