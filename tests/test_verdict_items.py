"""Tests of every kind: async ones, odd names, fixtures of every scope."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import pytest

from tests.verdict_kit import FAILED, PASSED, Finished, finished, observed_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit import Observed
    from tests.servers.client import ClickHouse

ASYNC = """
    import asyncio, pytest

    @pytest.mark.asyncio
    async def test_async(): await asyncio.sleep(0.01)
    @pytest.mark.asyncio
    async def test_async_bad(): assert 1 == 2
"""

ANYIO = """
    import anyio, pytest

    @pytest.fixture
    def anyio_backend(): return "asyncio"
    @pytest.mark.anyio
    async def test_anyio(): await anyio.sleep(0.01)
    @pytest.mark.anyio
    async def test_anyio_bad(): assert 1 == 2
"""

# Not one of them is a directory separator: what pytest does with those is its own affair.
NAMES = [
    "é",
    "日本語",
    "😀",
    "a::b",
    "[x]",
    "'",
    '"',
    "%s",
    "{}",
    "a@b",
    " ",
    "\\",
    "\udc80",
    "e\u0301",
    "\u202e",
]

NAMED = f"""
    import pytest

    @pytest.mark.parametrize("value", range({len(NAMES)}), ids={NAMES!a})
    def test_name(value): assert value != 1
"""

SCOPES = """
    import pytest

    @pytest.fixture(scope="session")
    def session():
        yield
        raise OSError("the session went wrong")
    @pytest.fixture(scope="module")
    def module(): raise OSError("the module went wrong")

    class TestOuter:
        class TestInner:
            def test_deep(self, session): pass
    def test_module_one(module): pass
    def test_module_two(module): pass
    def test_last(): pass
"""

ESCAPING = "disable_test_id_escaping_and_forfeit_all_rights_to_community_support = true\n"


@pytest.fixture(scope="module", params=[(), ("-n2",)], ids=["serial", "xdist"])
def items_run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, clickhouse_server: ClickHouse
) -> Iterator[Finished]:
    """A suite of odd tests, with node ids that pytest does not escape."""
    with observed_in(tmp_path_factory.mktemp("items"), clickhouse_server) as observed:
        ini = observed.bench.suite / "pytest.ini"
        # execnet, and so xdist, takes no lone surrogates
        names = NAMED if not request.param else NAMED.replace("\\udc80", "c")
        ini.write_text(ini.read_text() + ESCAPING + "markers =\n    anyio: of anyio\n")
        observed.bench.write(test_async=ASYNC, test_names=names, test_scopes=SCOPES)
        if importlib.util.find_spec("anyio"):
            observed.bench.write(test_anyio=ANYIO)
        yield finished(observed, observed.run("--dist=loadfile", *request.param))


def test_async_tests_are_tests(items_run: Finished) -> None:
    assert items_run.verdicts["test_async"] == [PASSED]
    assert items_run.verdicts["test_async_bad"] == [FAILED]
    assert items_run.one("test_async")["duration"] >= 0.01


@pytest.mark.skipif(not importlib.util.find_spec("anyio"), reason="anyio is not installed")
def test_tests_of_anyio_are_tests(items_run: Finished) -> None:
    assert items_run.verdicts["test_anyio"] == [PASSED]
    assert items_run.verdicts["test_anyio_bad"] == [FAILED]


def test_names_are_kept_as_they_are(items_run: Finished) -> None:
    rows = [row for row in items_run.rows if row["file"] == "test_names.py"]
    prefix = "test_names.py::test_name["
    found = {row["nodeid"].removeprefix(prefix).removesuffix("]") for row in rows}
    expected = {name.encode("utf-8", "backslashreplace").decode() for name in NAMES}
    lost = {r"\udc80"} if items_run.rows[0]["worker_id"] != "master" else set()
    assert found - {"c"} == expected - lost
    assert len(rows) == len(NAMES)
    assert {row["function"] for row in rows} == {"test_name"}
    assert sum(row["status"] == "failed" for row in rows) == 1


def test_an_error_of_a_wide_fixture_is_told_where_pytest_reports_it(items_run: Finished) -> None:
    broken = ("broken", "error", "setup", 1, False)
    assert items_run.verdicts["test_module_one"] == [broken]
    assert items_run.verdicts["test_module_two"] == [broken]
    # of a session: at the last test that its worker runs, whatever that came to itself
    assert sum("the session went wrong" in row["error_stacktrace"] for row in items_run.rows) == 1


def test_a_function_is_named_with_its_classes(items_run: Finished) -> None:
    row = items_run.one("test_deep")
    assert (row["file"], row["function"]) == ("test_scopes.py", "TestOuter.TestInner.test_deep")
    assert row["line"] == 13


RENAMING = """
    import pytest

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport():
        outcome = yield
        outcome.get_result().nodeid += " as told"
"""


def test_a_node_id_that_a_suite_changes_in_its_reports_counts_however_the_test_ends(observed: Observed) -> None:
    # not with workers: xdist insists on the node ids of the items
    observed.bench.write(conftest=RENAMING, test_a="def test_ok(): pass\ndef test_bad(): assert 1 == 2\n")
    run = finished(observed, observed.run())
    assert run.verdicts == {"test_ok as told": [PASSED], "test_bad as told": [FAILED]}


HOSTS = """
    import pytest

    class Host(pytest.Item):
        def runtest(self): assert self.name == "user@host"

    class Hosts(pytest.File):
        def collect(self):
            return [Host.from_parent(self, name=name) for name in self.path.read_text().split()]

    def pytest_collect_file(file_path, parent):
        return Hosts.from_parent(parent, path=file_path) if file_path.suffix == ".txt" else None
"""


def test_without_workers_nothing_of_a_node_id_is_taken_for_a_group(observed: Observed) -> None:
    observed.bench.write(conftest=HOSTS, hosts_txt="user@host user@other")
    run = finished(observed, observed.run("--dist=loadgroup"))
    assert run.verdicts == {"user@host": [PASSED], "user@other": [FAILED]}
