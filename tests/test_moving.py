"""Version 0.2.0 and this one write to the same tables, in turns; the page about moving is right about its rows.

The rows are those of ``tests/data/0.2.0``, which 0.2.0 wrote itself; tables and inserts are made as its source does.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from pytest_test_observer._cli import main
from pytest_test_observer._settings import SETTINGS
from tests.clickhouse.kit import OLD_EVENTS, OLD_RESULTS
from tests.kit import Observed, Workbench

if TYPE_CHECKING:
    from tests.servers.client import ClickHouse

DATA = Path(__file__).parent / "data" / "0.2.0"
PAGE = (Path(__file__).resolve().parents[1] / "docs" / "moving.md").read_text(encoding="utf-8")
SHOP = {
    "OTEL_SERVICE_NAME": "shop",
    "OTEL_RESOURCE_ATTRIBUTES": "vcs.repository.url.full=https://github.com/acme/shop",
}
TABLES = (("pytest_results", OLD_RESULTS, "checkout-417"), ("pytest_results_events", OLD_EVENTS, "checkout-417_events"))
ORDER = {"pytest_results": "nodeid, timestamp", "pytest_results_events": "nodeid, timestamp, seq"}


def run_of_0_2_0(observed: Observed) -> None:
    """Make the tables if they are not there, look at their types, and insert columns by name: what 0.2.0 does."""
    for table, columns, file in TABLES:
        create = (
            f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(columns)}) ENGINE = MergeTree "
            f"ORDER BY ({ORDER[table]}) PARTITION BY toYYYYMM(timestamp)"
        )
        observed.server.execute(create, database=observed.database)
        sql = f"SELECT name, type FROM system.columns WHERE database = '{observed.database}' AND table = '{table}'"
        found = {name: re.sub(r"\s", "", kind) for name, kind in observed.server.query(sql)}
        wanted = dict(column.split(" ", 1) for column in columns)
        assert {name: found[name] for name in wanted} == {n: k.replace(" ", "") for n, k in wanted.items()}
        insert = f"INSERT INTO {table} ({', '.join(wanted)}) FORMAT JSONEachRow"
        data = (DATA / f"{file}.jsonl").read_bytes()
        observed.server.execute(insert, data, database=observed.database, date_time_input_format="best_effort")


@pytest.fixture
def moved(tmp_path: Path, clickhouse_server: ClickHouse, database: str) -> Observed:
    """Tables that 0.2.0 made, a run of it, one of ours, and one more of it."""
    bench = Workbench(tmp_path)
    bench.write(test_checkout="def test_pay(record_event):\n    record_event('paid', {'cents': '100'})\n")
    observed = Observed(bench, clickhouse_server, database)
    run_of_0_2_0(observed)
    run = observed.run("--custom-events=true", env=SHOP)
    assert run.summary.startswith("test-observer: 1 result sent to")
    run_of_0_2_0(observed)
    return observed


def ask(observed: Observed, *arguments: str) -> str:
    env = {**{row.env: None for row in SETTINGS}, **observed.env}
    result = CliRunner().invoke(main, [*arguments, "--since=2026-01-01", *observed.flags], env=env)
    assert result.exit_code == 0, result.output
    return result.output


def test_both_versions_write_to_the_same_tables_in_turns(moved: Observed) -> None:
    rows = moved.rows("span_id = '' AS old, count() AS n", order="old", table="pytest_results GROUP BY old")
    assert rows == [{"old": 0, "n": 1}, {"old": 1, "n": 20}]
    events = moved.rows("span_id = '' AS old, count() AS n", order="old", table="pytest_results_events GROUP BY old")
    assert events == [{"old": 0, "n": 1}, {"old": 1, "n": 8}]


def test_a_teardown_that_failed_is_no_retry_although_0_2_0_wrote_two_rows(moved: Observed) -> None:
    now = int(time.time() * 1000)
    phases = [("passed", "call"), ("broken", "teardown")]
    for number, rows in enumerate((phases, phases[::-1])):  # of one millisecond, in either order
        values = ", ".join(f"('r', 't.py::{number}', now64(3), {now}, '{status}', '{phase}')" for status, phase in rows)
        sql = f"INSERT INTO pytest_results (run_id, nodeid, timestamp, finished_at, status, when_phase) VALUES {values}"
        moved.server.execute(sql, database=moved.database)
    flaky = json.loads(ask(moved, "flaky", "--json"))
    assert [test["nodeid"].rpartition("::")[2] for test in flaky] == ["test_flaky"]


def test_a_test_that_has_rows_of_0_2_0_says_how_to_see_them(moved: Observed) -> None:
    chosen = ask(moved, "test", "test_checkout.py::test_pay", "--service=")
    assert "1 run, 100.0 % passed" in chosen
    shown = ask(moved, "test", "test_checkout.py::test_pay")
    assert "Also elsewhere: --service=''\n" in shown


def test_the_page_gives_rows_of_0_2_0_what_they_lack(moved: Observed) -> None:
    (block,) = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    moved.server.execute(block, database=moved.database, mutations_sync="1")
    history: dict[str, Any] = json.loads(ask(moved, "test", "test_checkout.py::test_pay", "--json"))
    assert (history["service"], history["runs"], history["also_in"]) == ("shop", 2, [])
    columns = "outcome, when_phase, attempt, file, duration = setup_duration + call_duration + teardown_duration AS sum"
    rows = moved.rows(f"DISTINCT {columns}", order="outcome, when_phase", table="pytest_results")
    assert [tuple(row.values()) for row in rows if row["sum"]] == [
        ("error", "setup", 1, "test_checkout.py", 1),
        ("error", "teardown", 1, "test_checkout.py", 1),
        ("failed", "call", 1, "test_checkout.py", 1),
        ("passed", "call", 1, "test_checkout.py", 1),
        ("skipped", "setup", 1, "test_checkout.py", 1),
    ]
