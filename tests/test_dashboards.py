"""The dashboards' queries on the real engine, with data whose answers are known and names that hurt."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_test_observer._columns import TABLES
from pytest_test_observer._destinations.schema import Place, create_table
from tests.grafana_data import BRANCH, EVERYTHING, FEATURE, HOSTILE, PLAIN, STORY, WEEK, events, results, runs
from tests.grafana_kit import Query, expanded, queries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.client import ClickHouse

QUERIES = queries()
OF_SHOP = {**EVERYTHING, "service": "shop"}
# Each would end a literal, or a macro, or begin something of its own.
INJECTIONS = ["' OR 1=1 -- ", "\\' OR 1=1 /*\"", "$__all'), (SELECT 1", "%27 OR 1=1", "\\", "${nodeid:raw}"]


def _make(server: ClickHouse, database: str) -> None:
    server.execute(f"DROP DATABASE IF EXISTS {database}")
    server.execute(f"CREATE DATABASE {database}")
    for table in TABLES.values():
        server.execute(create_table(table, Place(database, "pytest_results")))


@pytest.fixture(scope="module")
def filled(clickhouse_server: ClickHouse) -> Iterator[str]:
    """Name of a database with the data above."""
    name = "test_dashboards"
    _make(clickhouse_server, name)
    for key, rows in {"results": results(), "runs": runs(), "events": events()}.items():
        data = "\n".join(map(json.dumps, rows)).encode()
        table = TABLES[key].name("pytest_results")
        clickhouse_server.execute(f"INSERT INTO {table} FORMAT JSONEachRow", data, database=name)
    yield name
    clickhouse_server.execute(f"DROP DATABASE {name} SYNC")


@pytest.fixture(scope="module")
def empty(clickhouse_server: ClickHouse) -> Iterator[str]:
    """Name of a database with the tables and no row."""
    name = "test_dashboards_empty"
    _make(clickhouse_server, name)
    yield name
    clickhouse_server.execute(f"DROP DATABASE {name} SYNC")


@pytest.fixture
def ask(clickhouse_server: ClickHouse, filled: str) -> Any:
    """Answer a query of a dashboard: ``ask("overview", "Runs", service="shop")``."""

    def answer(board: str, title: str, /, **values: str) -> list[dict[str, Any]]:
        found = next(query for query in QUERIES if (query.board, query.title) == (board, title))
        return _rows(clickhouse_server, filled, found.sql, {**EVERYTHING, **values})

    return answer


def _rows(server: ClickHouse, database: str, sql: str, values: dict[str, str]) -> list[dict[str, Any]]:
    settings = {"output_format_json_quote_64bit_integers": "0"}
    text = f"{expanded(sql, values, WEEK)}\nFORMAT JSONEachRow"
    # Grafana's user can only read
    reader = "reader" if server.controllable else ""
    answer = server.execute(text, b"", user=reader, database=database, **settings)
    return [{name: _plain(value) for name, value in json.loads(line).items()} for line in answer.splitlines()]


def _plain(value: Any) -> Any:
    return round(value, 3) if isinstance(value, float) else value


def _named(query: Query) -> str:
    return f"{query.board}-{query.kind}-{query.title}"


# --- every query, whatever is chosen


@pytest.mark.parametrize("query", QUERIES, ids=_named)
def test_a_query_runs_and_finds_rows(query: Query, clickhouse_server: ClickHouse, filled: str) -> None:
    assert _rows(clickhouse_server, filled, query.sql, OF_SHOP)


@pytest.mark.parametrize("query", QUERIES, ids=_named)
def test_a_query_runs_on_empty_tables(query: Query, clickhouse_server: ClickHouse, empty: str) -> None:
    rows = _rows(clickhouse_server, empty, query.sql, EVERYTHING)
    assert query.title == "table" or not [row for row in rows if any(row.values())]


@pytest.mark.parametrize("query", [query for query in QUERIES if query.title != "table"], ids=_named)
def test_no_value_of_a_variable_breaks_a_query_or_widens_it(
    query: Query, clickhouse_server: ClickHouse, filled: str
) -> None:
    narrowed = "conditionalAll" in query.sql
    for value in INJECTIONS:
        values = {**dict.fromkeys(EVERYTHING, value), "table": "pytest_results"}
        rows = _rows(clickhouse_server, filled, query.sql, values)
        assert not narrowed or not [row for row in rows if any(row.values())]


def test_another_table_can_be_chosen(clickhouse_server: ClickHouse, filled: str) -> None:
    for table in TABLES.values():
        clickhouse_server.execute(create_table(table, Place(filled, "zoo")))
        copy = f"INSERT INTO zoo{table.suffix} SELECT * FROM pytest_results{table.suffix} WHERE run_id = 'other-run-5'"
        clickhouse_server.execute(copy, database=filled)
    try:
        offered = _rows(clickhouse_server, filled, _variable("overview", "table"), EVERYTHING)
        chosen = {**EVERYTHING, "table": "zoo"}
        tests = _rows(clickhouse_server, filled, _panel_sql("overview", "Tests"), chosen)
    finally:
        for table in TABLES.values():
            clickhouse_server.execute(f"DROP TABLE zoo{table.suffix}", database=filled)
    assert [row["table"] for row in offered] == ["pytest_results", "zoo"]
    assert sum(tests[0].values()) == 1


def _variable(board: str, name: str) -> str:
    return next(query.sql for query in QUERIES if (query.board, query.kind, query.title) == (board, "variable", name))


def _panel_sql(board: str, title: str) -> str:
    return next(query.sql for query in QUERIES if (query.board, query.title) == (board, title))


# --- answers


def test_tests_are_counted_once_a_run_by_their_last_attempt(ask: Any) -> None:
    everything = [{"passed": 8, "failed": 1, "broken": 1, "skipped": 1}]
    assert ask("overview", "Tests") == everything
    assert ask("overview", "Status") == everything


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        ({"branch": BRANCH}, [1, 0, 1, 0]),
        ({"service": "other"}, [1, 0, 0, 0]),
        ({"provider": "github"}, [6, 1, 0, 1]),
        ({"variant": "py3.14"}, [1, 0, 0, 0]),
        ({"marker": "slow"}, [3, 1, 1, 0]),
        ({"feature": FEATURE}, [3, 1, 1, 0]),
        ({"feature": "shop", "story": STORY}, [0, 0, 0, 0]),
        ({"repository": "r"}, [8, 1, 1, 1]),
    ],
)
def test_a_variable_narrows_what_is_counted(ask: Any, values: dict[str, str], counts: list[int]) -> None:
    assert list(ask("overview", "Tests", **values)[0].values()) == counts


def test_a_pipeline_run_is_several_runs_of_pytest(ask: Any) -> None:
    assert ask("overview", "Runs") == [{"runs": 6, "pipelines": 5}]


def test_flaky_tests_are_a_share_of_the_different_tests(ask: Any) -> None:
    assert ask("overview", "Flaky tests") == [{"flaky_tests": 25.0}]


def test_the_pass_rate_is_of_all_tests_and_no_mean_of_intervals(ask: Any) -> None:
    rates = [row["pass_rate"] for row in ask("overview", "Pass rate")]
    assert (
        rates
        == [
            100,
            100,
            83.333,
            75,
            77.778,
        ]
        or rates[-1] == 80
    )
    assert rates[-1] == 80


def test_durations_are_of_whole_runs_that_came_to_their_end(ask: Any) -> None:
    assert ask("overview", "Duration of a run") == [{"median": 30.0, "p90": 40.0}]


def test_pipeline_runs_are_listed_with_their_totals(ask: Any) -> None:
    rows = ask("overview", "Recent pipeline runs")
    found = [(row["provider"], row["number"], row["tests"], row["pass_rate"], row["flaky"]) for row in rows]
    assert found == [
        ("local", "other-run-5", 1, 100, 0),
        ("local", "local-run-4", 2, 50, 0),
        ("github", "103", 2, 50, 0),
        ("github", "102", 3, 100, 0),
        ("github", "101", 3, 100, 1),
    ]
    # from the start of the first attempt to the end of the last
    assert [row["duration"] for row in rows] == [1, 1, 2, 1, 2]


def test_bars_of_pipelines_are_in_the_order_of_time(ask: Any) -> None:
    labels = ["github 101", "github 102", "github 103", "local local-ru", "local other-ru"]
    assert [row["pipeline"] for row in ask("overview", "Tests per pipeline run")] == labels


def test_failing_now_is_what_the_last_run_on_a_branch_says(ask: Any) -> None:
    rows = ask("overview", "Failing now")
    assert [(row["nodeid"], row["branch"], row["outcome"], row["bad_runs"], row["runs"]) for row in rows] == [
        (HOSTILE, BRANCH, "crashed", 1, 1),
        (HOSTILE, "main", "failed", 1, 3),
    ]


def test_the_slowest_test_comes_first_with_its_runs(ask: Any) -> None:
    rows = ask("overview", "Slowest tests")
    assert [(row["service"], row["median"], row["p95"], row["runs"]) for row in rows] == [
        ("other", 9, 9, 1),
        ("shop", 3, 5, 3),
        ("shop", 0.5, 0.5, 5),
    ]


def test_flaky_within_runs_and_across_runs_are_told_apart(ask: Any) -> None:
    within = ask("overview", "Flakiest within runs")
    assert [(row["nodeid"], row["flaky_runs"], row["runs"], row["percent"]) for row in within] == [(HOSTILE, 1, 4, 25)]
    across = ask("overview", "Flaky across runs")
    assert [(row["nodeid"], row["commit"], row["good"], row["bad"]) for row in across] == [(HOSTILE, "bbb", 1, 1)]


def test_failed_attempts_show_error_trace_and_a_web_address_only(ask: Any) -> None:
    rows = ask("overview", "Attempts that failed")
    assert [(row["outcome"], row["ci_url"], int(row["trace_id"], 16)) for row in rows] == [
        ("crashed", "", 10),
        ("failed", "https://ci.example/103", 8),
        ("rerun", "https://ci.example/103", 7),
        ("rerun", "https://ci.example/101", 0),
    ]
    assert rows[0]["error"] == "crashed\nmore"


def test_runs_that_were_killed_are_listed(ask: Any) -> None:
    rows = ask("overview", "Runs that did not end well")
    assert [(row["run_id"], row["status"], row["not_run"]) for row in rows] == [("local-run-4", "aborted", 3)]


def test_events_are_counted_for_the_chosen_tests(ask: Any) -> None:
    def names(**values: str) -> list[str]:
        return [row["event_name"] for row in ask("overview", "Custom events", **values)]

    assert names() == ["paid", "paid", "refused", "elsewhere"]
    assert names(service="other") == ["elsewhere"]


def test_one_test_is_counted_by_its_last_attempts(ask: Any) -> None:
    assert ask("test", "Outcomes", service="shop") == [{"passed": 2, "failed": 1, "broken": 1, "skipped": 0}]
    assert ask("test", "Runs", service="shop") == [{"runs": 4, "attempts": 6}]
    assert ask("test", "Pass rate", service="shop") == [{"pass_rate": 50.0}]
    assert ask("test", "Flaky", service="shop") == [{"flaky": 25.0}]
    assert ask("test", "Duration", service="shop") == [{"median": 3.0, "p95": 5.0}]


def test_a_test_of_the_same_name_in_another_service_is_another_test(ask: Any) -> None:
    assert ask("test", "Outcomes", service="other") == [{"passed": 1, "failed": 0, "broken": 0, "skipped": 0}]
    assert [row["event"] for row in ask("test", "Events of the test", service="other")] == ["elsewhere"]


def test_every_attempt_of_a_test_is_listed(ask: Any) -> None:
    rows = ask("test", "Attempts", service="shop")
    assert [(row["run_id"], row["attempt"], row["outcome"], row["duration"]) for row in rows] == [
        ("local-run-4", 1, "crashed", 0),
        ("run-3", 2, "failed", 5),
        ("run-3", 1, "rerun", 4),
        ("run-2", 1, "passed", 3),
        ("run-1", 2, "passed", 2),
        ("run-1", 1, "rerun", 1),
    ]


def test_branches_are_compared_by_last_attempts(ask: Any) -> None:
    rows = ask("test", "Failures by branch", service="shop")
    assert [(row["branch"], row["runs"], row["bad_runs"], row["percent"]) for row in rows] == [
        (BRANCH, 1, 1, 100),
        ("main", 3, 1, 33.333),
    ]


def test_numbers_in_events_are_charted_by_event_and_key(ask: Any) -> None:
    rows = ask("test", "Numbers in events", service="shop")
    assert [(row["series"], row["value"]) for row in rows] == [
        ("paid cents", 5),
        ("paid cents", 7),
        ("paid o'key\\", 1000),
    ]


def test_events_of_a_test_are_in_their_order(ask: Any) -> None:
    rows = ask("test", "Events of the test", service="shop")
    assert [(row["run_id"], row["event"], row["seq"]) for row in rows] == [
        ("run-3", "paid", 0),
        ("run-3", "refused", 1),
        ("run-1", "paid", 0),
    ]
    assert json.loads(rows[2]["payload"]) == {"cents": "5", "by": "card"}


@pytest.mark.parametrize(
    ("name", "values", "found"),
    [
        ("branch", {}, ["main", BRANCH]),
        ("provider", {}, ["github", "local"]),
        ("variant", {}, ["py3.10", "py3.14"]),
        ("service", {}, ["other", "shop"]),
        ("feature", {}, [FEATURE, "shop"]),
        ("story", {}, [STORY]),
        ("story", {"feature": "shop"}, []),
        ("nodeid", {"search": "PAY"}, [PLAIN]),
        ("nodeid", {"search": "test_x['q\"\\'"}, [HOSTILE]),
        ("nodeid", {"feature": FEATURE}, [HOSTILE]),
    ],
)
def test_a_variable_offers_what_there_is(
    clickhouse_server: ClickHouse, filled: str, name: str, values: dict[str, str], found: list[str]
) -> None:
    rows = _rows(clickhouse_server, filled, _variable("test", name), {**EVERYTHING, **values})
    assert [value for row in rows for value in row.values()] == found
