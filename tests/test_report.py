"""The report's data on the real engine: what was planted is found, and nothing that a test says becomes markup."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from pytest_test_observer._report.document import Document, Sheet, Strings
from pytest_test_observer._report.page import render
from tests import report_data as data
from tests.report_kit import Read, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.client import ClickHouse

DATABASE = "test_report"


@pytest.fixture(scope="module")
def filled(clickhouse_server: ClickHouse) -> Iterator[str]:
    """Name of a database with the runs of ``tests/report_data.py``."""
    clickhouse_server.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
    clickhouse_server.execute(f"CREATE DATABASE {DATABASE}")
    data.store(clickhouse_server, DATABASE)
    yield DATABASE
    clickhouse_server.execute(f"DROP DATABASE {DATABASE} SYNC")


def page(server: ClickHouse, database: str, file: Path, *arguments: str) -> str:
    result = write(server, database, file, *arguments)
    assert result.exit_code == 0, result.output
    return file.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def of_span(clickhouse_server: ClickHouse, filled: str, tmp_path_factory: pytest.TempPathFactory) -> Read:
    """The report of thirty days."""
    return Read(page(clickhouse_server, filled, tmp_path_factory.mktemp("span") / "report.html"))


@pytest.fixture(scope="module")
def of_run(clickhouse_server: ClickHouse, filled: str, tmp_path_factory: pytest.TempPathFactory) -> Read:
    """The report of the last run."""
    return Read(page(clickhouse_server, filled, tmp_path_factory.mktemp("run") / "report.html", "--run", "latest"))


# --- a span of time


def test_every_run_and_test_is_there(of_span: Read) -> None:
    assert [row["id"] for row in of_span.rows("runs")] == [data.run_id(run) for run in reversed(range(data.RUNS))]
    assert set(of_span.tests()) == set(data.nodeids())


def test_a_test_is_counted_once_a_run_by_its_last_attempt(of_span: Read) -> None:
    counts = {
        name: [row[key] for key in ("runs", "passed", "failed", "broken", "skipped")]
        for name, row in of_span.tests().items()
        if name in data.PLANTED
    }
    assert counts == {
        data.HOSTILE: [12, 0, 12, 0, 0],
        data.FLAKY: [12, 12, 0, 0, 0],
        data.BOTH_WAYS: [12, 11, 1, 0, 0],
        data.BROKEN: [12, 0, 0, 12, 0],
        data.NEWLY_FAILING: [12, 11, 1, 0, 0],
        data.FIXED: [12, 1, 11, 0, 0],
        data.LONG_POLE: [12, 12, 0, 0, 0],
        data.SKIPPED: [12, 0, 0, 0, 12],
    }


def test_exactly_the_flaky_tests_are_flaky_with_their_dates(of_span: Read) -> None:
    flaky = {name: row for name, row in of_span.tests().items() if row["flaky"]}
    assert {name: row["flaky"] for name, row in flaky.items()} == {data.FLAKY: 3, data.BOTH_WAYS: 1}
    days = [round((flaky[data.FLAKY][key] - data.started(0)) / data.DAY_MS) for key in ("flaky_since", "flaky_last")]
    assert days == [3, 11]


def test_the_history_is_of_the_last_runs_the_newest_last(of_span: Read) -> None:
    tests = of_span.tests()
    assert tests[data.FLAKY]["history"] == "pppypppypppy"
    assert tests[data.FIXED]["history"] == "fffffffffffp"
    assert tests[data.BROKEN]["history"] == "b" * 12


def test_failing_is_what_the_last_run_of_a_branch_and_variant_says(of_span: Read) -> None:
    failing = {name: row["failing"] for name, row in of_span.tests().items() if row["failing"]}
    assert failing == {
        data.HOSTILE: "main · py3.10, main · py3.14",
        data.BROKEN: "main · py3.10, main · py3.14",
        data.NEWLY_FAILING: "main · py3.14",
        # it was fixed in the last run, which is the other variant's
        data.FIXED: "main · py3.10",
    }


def test_the_slowest_test_is_the_long_pole(of_span: Read) -> None:
    slowest = max(of_span.rows("tests"), key=lambda row: row["median"] or 0)
    assert slowest["nodeid"] == data.LONG_POLE
    assert slowest["median"] == pytest.approx(9.0)
    assert slowest["total"] == pytest.approx(9.0 * data.RUNS)
    assert of_span.tests()[data.SKIPPED]["median"] is None


def test_failures_are_grouped_by_error_without_what_differs_each_time(of_span: Read) -> None:
    found = {(row["type"], row["text"]): (row["tests"], row["attempts"]) for row in of_span.rows("groups")}
    assert found == {
        ("AssertionError", "assert 1611 == 1612"): (2, 12),
        ("ConnectionError", "warehouse.test does not answer"): (1, 12),
        ("<b>Error</b>", data.HOSTILE_ERROR): (1, 12),
        ("TimeoutError", "no answer within … s at …"): (1, 3),
        ("AssertionError", "assert 23 == 0"): (1, 1),
    }


def test_each_test_shows_its_last_failure_with_each_error(of_span: Read) -> None:
    names = of_span.rows("tests")
    found = sorted((names[row["test"]]["nodeid"], row["message"]) for row in of_span.rows("failures"))
    assert found == sorted(
        [
            (data.HOSTILE, data.HOSTILE_ERROR),
            (data.BROKEN, "warehouse.test does not answer"),
            (data.NEWLY_FAILING, "assert 1611 == 1612"),
            (data.FIXED, "assert 1611 == 1612"),
            (data.FLAKY, "no answer within 11.25 s at 0x7f11"),
            (data.BOTH_WAYS, "assert 23 == 0"),
        ]
    )


def test_the_newest_whole_run_of_each_variant_has_a_timeline(of_span: Read) -> None:
    rows = [timeline["run"] for timeline in of_span.all["timelines"]]
    assert [of_span.rows("runs")[row]["id"] for row in rows] == [data.run_id(11), data.run_id(10)]
    ends = {
        row["worker"]: row["start"] + row["length"] for row in sorted(of_span.timelines[0], key=lambda r: r["start"])
    }
    assert sorted(ends) == ["gw0", "gw1", "gw2", "gw3"]
    assert max(ends, key=lambda worker: ends[worker]) == "gw3"


def test_filters_narrow_what_is_read(clickhouse_server: ClickHouse, filled: str, tmp_path: Path) -> None:
    read = Read(page(clickhouse_server, filled, tmp_path / "r.html", "--variant=py3.10", "--since=5d"))
    assert [row["id"] for row in read.rows("runs")] == [data.run_id(run) for run in (10, 8)]
    assert {row["runs"] for row in read.rows("tests")} == {2}
    assert read.about["filters"] == ["variant py3.10"]


# --- one run


def test_a_run_is_compared_with_the_last_whole_run_of_its_kind(of_run: Read) -> None:
    # run 9 is of the same variant and partial, so that 7 is the one before
    changes = {name: row["change"] for name, row in of_run.tests().items() if row["change"]}
    assert changes == {data.NEWLY_FAILING: "failing", data.FIXED: "fixed"}
    assert of_run.rows("runs")[of_run.about["run"]]["id"] == data.run_id(11)
    assert {row["variant"] for row in of_run.rows("runs")} == {"py3.14"}


def test_a_run_shows_its_own_failures_only(of_run: Read) -> None:
    assert {(row["text"], row["attempts"]) for row in of_run.rows("groups")} == {
        ("assert 1611 == 1612", 1),
        ("warehouse.test does not answer", 1),
        (data.HOSTILE_ERROR, 1),
        ("no answer within … s at …", 1),
    }
    assert len(of_run.timelines) == 1
    assert len(of_run.timelines[0]) == data.TESTS + 1


def test_a_run_is_found_by_the_beginning_of_its_id(clickhouse_server: ClickHouse, filled: str, tmp_path: Path) -> None:
    read = Read(page(clickhouse_server, filled, tmp_path / "r.html", "--run=05-"))
    assert read.rows("runs")[0]["id"] == data.run_id(5)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--run=nothing"], "no run whose id is or begins with 'nothing'"),
        (["--run=0"], "names several runs"),
        (["--run=latest", "--attempt=7"], "there is no attempt 7 of it"),
        (["--branch=other"], "there are no results of that time"),
    ],
)
def test_what_cannot_be_reported_is_said(
    clickhouse_server: ClickHouse, filled: str, tmp_path: Path, arguments: list[str], said: str
) -> None:
    result = write(clickhouse_server, filled, tmp_path / "r.html", *arguments)
    assert result.exit_code == 1
    assert said in result.output
    assert not (tmp_path / "r.html").exists()


def test_tables_that_are_not_there_are_said(clickhouse_server: ClickHouse, database: str, tmp_path: Path) -> None:
    result = write(clickhouse_server, database, tmp_path / "r.html")
    assert result.exit_code == 1
    assert "--ch-db" in result.output


@pytest.mark.parametrize(
    "option", ["--since=0d", "--since=soon", "--trace-url=javascript:{trace_id}", "--trace-url=https://x"]
)
def test_a_bad_value_is_a_usage_error(clickhouse_server: ClickHouse, tmp_path: Path, option: str) -> None:
    result = write(clickhouse_server, "default", tmp_path / "r.html", option)
    assert result.exit_code == 2
    assert "accepted: " in result.output


def test_a_place_that_cannot_be_written_is_said(clickhouse_server: ClickHouse, filled: str, tmp_path: Path) -> None:
    result = write(clickhouse_server, filled, tmp_path / "missing" / "r.html")
    assert result.exit_code == 1
    assert "cannot be written" in result.output


def test_a_dash_prints_the_page(clickhouse_server: ClickHouse, filled: str) -> None:
    assert write(clickhouse_server, filled, "-").output.startswith("<!doctype html>")


# --- the page


def test_no_text_ends_the_element_it_stands_in(clickhouse_server: ClickHouse, filled: str, tmp_path: Path) -> None:
    text = page(clickhouse_server, filled, tmp_path / "r.html")
    assert len(re.findall("<script", text)) == len(re.findall("</script", text)) == 2
    assert "<!--" not in text
    assert data.HOSTILE in Read(text).tests()


def test_a_hostile_title_is_text(tmp_path: Path) -> None:
    empty = Sheet({"id": [], "service": [], "nodeid": []})
    text = render(Document({}, Strings(), empty, empty, empty, empty, []), "<b>@DATA@</b>")
    assert "<title>&lt;b&gt;@DATA@&lt;/b&gt;</title>" in text


def test_the_file_names_no_other_and_has_the_licence_of_the_library(
    clickhouse_server: ClickHouse, filled: str, tmp_path: Path
) -> None:
    text = page(clickhouse_server, filled, tmp_path / "r.html")
    assert not re.findall(r"<(?:link|img|iframe|script src)\b|@import|url\(", text)
    assert "default-src 'none'" in text
    assert "Permission is hereby granted, free of charge" in text


def test_a_text_that_repeats_is_written_once() -> None:
    strings = Strings()
    sheet = Sheet.of({"a": ["x", "y", "x"], "n": [1, 2, 3]}, strings, ["a"])
    assert (sheet.columns["a"], sheet.texts, strings.table) == ([0, 1, 0], ("a",), ["x", "y"])
