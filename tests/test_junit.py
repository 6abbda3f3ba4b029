"""What other reporters write is the same with the plugin on as without it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.verdict_kit import observed_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kit import Run, Workbench
    from tests.servers.client import ClickHouse

SUITE = """
    import pytest, unittest, warnings

    TIMES = []

    @pytest.fixture
    def bad_teardown():
        yield
        raise OSError("teardown went wrong")

    def test_good(record_property, record_event):
        record_property("ticket", 7)
        record_property("ticket", "é")
        record_event("seen", {"a": "b"})
        print("said")
    def test_bad(): assert 1 == 2
    def test_teardown(bad_teardown): pass
    @pytest.mark.skip(reason="not now")
    def test_skip(): pass
    @pytest.mark.xfail
    def test_xfail(): assert 0
    @pytest.mark.xfail
    def test_xpass(): pass
    @pytest.mark.flaky(reruns=1)
    def test_flaky(record_property):
        TIMES.append(1)
        record_property("times", len(TIMES))
        assert len(TIMES) == 2
    def test_subtests(subtests):
        with subtests.test("one"): assert 0
        with subtests.test("two"): pass
    class TestUnit(unittest.TestCase):
        def test_unit(self):
            with self.subTest(i=1): self.fail("no")
"""

# A reporter that writes down all that it is given, as those that make JSON do.
PRYING = """
    import os, pathlib

    def pytest_runtest_logreport(report):
        if "PYTEST_XDIST_WORKER" not in os.environ:
            with (pathlib.Path(__file__).parent / "attributes").open("a") as file:
                file.write(f"{sorted(vars(report))}\\n")
"""

STRICT = """
    import pytest, unittest

    TIMES = []

    def test_good(record_event): record_event("seen", {"a": "b"})
    def test_bad(): assert 1 == 2
    @pytest.mark.flaky(reruns=1)
    def test_flaky():
        TIMES.append(1)
        assert len(TIMES) == 2
"""

# What differs between any two runs, and what we print on purpose.
_CHANGING = re.compile(r' (?:time|timestamp|hostname)="[^"]*"|(?<= at )0x[0-9a-f]+')
_PRINTED = re.compile(r"test-observer:.*\n|(?<= in )\d[\d.]*s|=|\[gw\d\]|gw\d")


class Reports(NamedTuple):
    """A run, its JUnit XML without times, and the end of its output without ours."""

    run: Run
    junit: str
    counts: list[str]
    attributes: str


def _reports(bench: Workbench, run: Run, junit: Path) -> Reports:
    end = _PRINTED.sub("", run.stdout).partition("short test summary info")[2]
    counts = sorted(line.strip() for line in end.splitlines())
    attributes = bench.suite / "attributes"
    seen = attributes.read_text() if attributes.exists() else ""
    attributes.unlink(missing_ok=True)
    return Reports(run, _CHANGING.sub("", junit.read_text()), counts, seen)


@pytest.fixture(scope="module", params=[(), ("-n2",)], ids=["serial", "xdist"])
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, clickhouse_server: ClickHouse
) -> Iterator[tuple[Reports, Reports]]:
    """The same suite with the plugin and without it."""
    with observed_in(tmp_path_factory.mktemp("junit"), clickhouse_server) as observed:
        bench = observed.bench
        bench.all_plugins = True
        bench.write(test_suite=SUITE, conftest=PRYING, test_broken="import no_such_module\n")
        flags = ("-ra", "--junitxml=junit.xml", "--continue-on-collection-errors", *request.param)
        with_us = _reports(bench, observed.run("--custom-events=true", *flags), bench.suite / "junit.xml")
        without = _reports(bench, bench.run(*flags), bench.suite / "junit.xml")
        yield with_us, without


def _cases(junit: str) -> list[str]:
    """Test cases of a JUnit file, in an order that does not depend on who was faster."""
    return sorted(re.split(r"(?=<testcase)|(?=</testsuite)", junit))


def test_the_junit_file_is_the_same(both: tuple[Reports, Reports]) -> None:
    with_us, without = both
    assert "ticket" in without.junit
    assert _cases(with_us.junit) == _cases(without.junit)


def test_other_reporters_see_nothing_of_ours(both: tuple[Reports, Reports]) -> None:
    with_us, without = both
    assert "outcome" in without.attributes
    assert set(with_us.attributes.splitlines()) == set(without.attributes.splitlines())


def test_the_terminal_counts_the_same(both: tuple[Reports, Reports]) -> None:
    with_us, without = both
    assert any("1 rerun" in line for line in without.counts)
    assert with_us.counts == without.counts


def test_the_exit_code_is_the_same(both: tuple[Reports, Reports]) -> None:
    with_us, without = both
    assert with_us.run.returncode == without.run.returncode == 1
    assert with_us.run.summary.startswith("test-observer: 11 results sent")
    assert without.run.summary == ""


@pytest.mark.parametrize(
    ("where", "parallel"), [("flag", ()), ("ini", ()), ("ini", ("-n2",))], ids=["flag", "ini", "ini-xdist"]
)
def test_nothing_changes_where_warnings_are_errors(
    tmp_path: Path, clickhouse_server: ClickHouse, parallel: tuple[str, ...], where: str
) -> None:
    with observed_in(tmp_path, clickhouse_server) as observed:
        bench = observed.bench
        bench.write(test_suite=STRICT)
        flags = ["-ra", "--junitxml=junit.xml", *parallel]
        if where == "ini":
            ini = bench.suite / "pytest.ini"
            ini.write_text(ini.read_text() + "filterwarnings = error\n")
        else:
            flags.append("-Werror")
        with_us = _reports(bench, observed.run(*flags), bench.suite / "junit.xml")
        without = _reports(bench, bench.run(*flags), bench.suite / "junit.xml")
        assert observed.rows("count() AS n", order="n") == [{"n": 4}]
    assert with_us.run.returncode == without.run.returncode == 1
    assert _cases(with_us.junit) == _cases(without.junit)
    assert with_us.counts == without.counts
    assert with_us.run.stderr == without.run.stderr == ""


def test_a_server_that_is_away_changes_nothing_where_warnings_are_errors(bench: Workbench) -> None:
    bench.write(test_suite=STRICT)
    flags = ["-ra", "--junitxml=junit.xml", "-Werror"]
    away = ["--ch-url=http://127.0.0.1:9", "--observer-exit-timeout=0.1"]
    with_us = _reports(bench, bench.run(*away, *flags), bench.suite / "junit.xml")
    without = _reports(bench, bench.run(*flags), bench.suite / "junit.xml")
    assert "4 kept on disk" in with_us.run.summary
    assert with_us.run.returncode == without.run.returncode == 1
    assert with_us.junit == without.junit
    assert with_us.counts == without.counts
