"""docs/queries.md: each query on the real engine, with data whose answers are known."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_test_observer._columns import TABLES
from pytest_test_observer._destinations.schema import Place, create_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.client import ClickHouse

PAGE = Path(__file__).resolve().parents[1] / "docs" / "queries.md"
QUERIES = dict(
    re.findall(r"^## (.+?)\n.*?^```sql\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
)
NOW_MS = int(time.time() * 1000)
HOUR_MS = 3_600_000
PAY, SEARCH, REPORT, GONE, SKIPPED = (
    f"test_shop.py::test_{name}" for name in ("pay", "search", "report", "gone", "later")
)

# run id, hours ago, branch, commit, variant, partial
RUNS = (
    ("r1", 60, "main", "aaa", "py3.10", False),
    ("r2", 30, "main", "bbb", "py3.10", False),
    ("r3", 20, "main", "bbb", "py3.10", False),
    ("r4", 3, "feature", "ccc", "py3.10", True),
    ("r5", 2, "feature", "ccc", "py3.14", True),
)
# run id, test, attempt, status, outcome, seconds of the call, error
ATTEMPTS: tuple[tuple[str, str, int, str, str, float, str], ...] = (
    ("r1", PAY, 1, "failed", "rerun", 1.0, "no answer"),
    ("r1", PAY, 2, "passed", "passed", 1.0, ""),
    ("r2", PAY, 1, "passed", "passed", 1.0, ""),
    ("r3", PAY, 1, "failed", "rerun", 1.0, "no answer"),
    ("r3", PAY, 2, "failed", "failed", 1.0, "no answer\nat all"),
    ("r4", PAY, 1, "passed", "passed", 1.0, ""),
    ("r1", SEARCH, 1, "passed", "passed", 2.0, ""),
    ("r2", SEARCH, 1, "passed", "passed", 2.0, ""),
    ("r3", SEARCH, 1, "passed", "passed", 3.5, ""),
    ("r1", REPORT, 1, "passed", "passed", 0.5, ""),
    ("r2", REPORT, 1, "broken", "crashed", 0.0, "the process died"),
    ("r3", REPORT, 1, "failed", "failed", 0.5, "assert 1 == 2"),
    ("r4", REPORT, 1, "failed", "failed", 0.5, "assert 1 == 2"),
    ("r5", REPORT, 1, "passed", "passed", 0.5, ""),
    ("r1", GONE, 1, "passed", "passed", 0.0, ""),
    ("r3", SKIPPED, 1, "skipped", "skipped", 0.0, "not before December"),
)
COUNTS = {
    "r1": (4, 0, 0, 0, 1),
    "r2": (2, 0, 1, 0, 0),
    "r3": (1, 2, 0, 1, 0),
    "r4": (1, 1, 0, 0, 0),
    "r5": (1, 0, 0, 0, 0),
}
EVENTS = (("r3", PAY, 2, 0, "asked", {"cents": "5"}), ("r2", PAY, 1, 0, "asked", {"cents": "7"}))

ANSWERS: dict[str, list[list[Any]]] = {
    "Flaky within a run": [["shop", PAY, 1, 4, "no answer"]],
    "Flaky between runs": [["shop", PAY, "bbb", "py3.10", 1, 1]],
    "Failing now, and since when": [
        ["shop", REPORT, "failed", 2, "bbb", "assert 1 == 2"],
        ["shop", PAY, "failed", 1, "bbb", "no answer\nat all"],
    ],
    "Failing by branch": [["feature", 2, 1, 33.3], ["main", 3, 2, 30.0]],
    "Pass rate of the last runs": [
        ["r3", "bbb", "failure", 1, 2, 0, 1, 0, 33.3],
        ["r2", "bbb", "aborted", 2, 0, 1, 0, 0, 66.7],
        ["r1", "aaa", "success", 4, 0, 0, 0, 1, 100],
    ],
    "Slowest tests": [
        ["shop", SEARCH, 2.1, 3.6, 3],
        ["shop", PAY, 1.1, 1.1, 6],
        ["shop", REPORT, 0.6, 0.6, 4],
        ["shop", GONE, 0.1, 0.1, 1],
    ],
    "Slower than before": [["shop", SEARCH, 2.1, 3.6, 1.71]],
    "Share of time by file": [["shop", "test_shop.py", 1.5, 15.5, 100]],
    "Time lost to repetitions": [["shop", 17, 2.2, 2]],
    "Tests that vanished": [[GONE]],
    "Commonest errors": [
        ["AssertionError", "no answer", 3, 1],
        ["AssertionError", "assert 1 == 2", 2, 1],
        ["crashed", "the process died", 1, 1],
    ],
    "Skipped, and why": [["not before December", 1, [SKIPPED]]],
    "Cells of a matrix that disagree": [["shop", REPORT, "ccc", ["py3.10"], ["py3.14"]]],
    "History of one test": [
        ["r4", 1, "passed", 1, "feature", "ccc"],
        ["r3", 2, "failed", 1, "main", "bbb"],
        ["r3", 1, "rerun", 1, "main", "bbb"],
        ["r2", 1, "passed", 1, "main", "bbb"],
        ["r1", 2, "passed", 1, "main", "aaa"],
        ["r1", 1, "rerun", 1, "main", "aaa"],
    ],
    "Events before a failure": [[PAY, 2, 0, "asked", {"cents": "5"}]],
    "Runs that did not end well": [["r2", "aborted", 2, 4, 1, ""]],
}
# Columns that hold times of this very run.
TIMES = ("started_at", "last_seen", "timestamp")


def _context(run: tuple[str, int, str, str, str, bool]) -> dict[str, Any]:
    run_id, hours, branch, commit, variant, _ = run
    at = NOW_MS - hours * HOUR_MS
    facts = {
        "run_id": run_id,
        "git_branch": branch,
        "git_commit": commit,
        "variant": variant,
        "service": "shop",
    }
    return {**facts, "timestamp": str(at), "started_at": at, "finished_at": at}


def _results() -> Iterator[dict[str, Any]]:
    contexts = {run[0]: _context(run) for run in RUNS}
    for run_id, nodeid, attempt, status, outcome, seconds, error in ATTEMPTS:
        bad = status in ("failed", "broken")
        yield {
            **contexts[run_id],
            "nodeid": nodeid,
            "file": "test_shop.py",
            "attempt": attempt,
            "status": status,
            "outcome": outcome,
            "flaky": status == "passed" and attempt > 1,
            "when_phase": "setup" if outcome == "skipped" else "call",
            "setup_duration": 0.0 if outcome == "crashed" else 0.1,
            "call_duration": seconds,
            "error_message": error,
            "error_type": ("crashed" if outcome == "crashed" else "AssertionError") if bad else "",
        }


def _runs() -> Iterator[dict[str, Any]]:
    statuses = {"r1": "success", "r2": "aborted", "r3": "failure", "r4": "failure", "r5": "success"}
    for run in RUNS:
        names = ("passed", "failed", "broken", "skipped", "flaky")
        counts = dict(zip(names, COUNTS[run[0]], strict=True))
        lost = run[0] == "r2"
        ended = {"exit_status": 2 if lost else 0, "collected": 4 if lost else 3, "not_run": int(lost)}
        yield {**_context(run), **counts, **ended, "partial": run[5], "status": statuses[run[0]]}


def _events() -> Iterator[dict[str, Any]]:
    for run_id, nodeid, attempt, seq, name, payload in EVENTS:
        facts = {"run_id": run_id, "nodeid": nodeid, "attempt": attempt, "seq": seq}
        yield {**facts, "event_name": name, "payload": payload, "timestamp": str(NOW_MS)}


@pytest.fixture(scope="module")
def filled(clickhouse_server: ClickHouse) -> Iterator[str]:
    """Name of a database with the data above."""
    name = "test_queries"
    clickhouse_server.execute(f"DROP DATABASE IF EXISTS {name}")
    clickhouse_server.execute(f"CREATE DATABASE {name}")
    rows = {"results": _results(), "runs": _runs(), "events": _events()}
    place = Place(name, "pytest_results")
    for key, table in TABLES.items():
        clickhouse_server.execute(create_table(table, place))
        lines = "\n".join(json.dumps(row) for row in rows[key])
        clickhouse_server.execute(f"INSERT INTO {place.of(table)} FORMAT JSONEachRow", lines.encode())
    yield name
    clickhouse_server.execute(f"DROP DATABASE {name} SYNC")


@pytest.mark.parametrize("title", QUERIES)
def test_a_query_of_the_page_gives_the_answer_that_its_title_promises(
    title: str, clickhouse_server: ClickHouse, filled: str
) -> None:
    settings = {"output_format_json_quote_64bit_integers": "0"}
    sql = f"{QUERIES[title]} FORMAT JSONEachRow"
    answer = clickhouse_server.execute(sql, b"", database=filled, **settings).splitlines()
    rows = [[_plain(value) for name, value in json.loads(line).items() if name not in TIMES] for line in answer]
    assert rows == ANSWERS[title]


def test_every_query_of_the_page_has_its_answer_here() -> None:
    assert list(QUERIES) == list(ANSWERS)


def _plain(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value
