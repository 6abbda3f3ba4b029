"""Every line of the table of verdicts, serial and under pytest-xdist."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kit import TESTED_PYTEST
from tests.verdict_kit import FAILED, PASSED, Finished, Verdict, finished, observed_in, outlived

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.client import ClickHouse

SUITE = """
import pytest, unittest

RAN = {}


def first_time(name):
    RAN[name] = RAN.get(name, 0) + 1
    return RAN[name] == 1


@pytest.fixture
def bad_setup():
    raise RuntimeError("setup went wrong")


@pytest.fixture
def bad_teardown():
    yield
    raise OSError("teardown went wrong")


@pytest.fixture
def skipping():
    pytest.skip("no such device")


@pytest.fixture
def skipping_late():
    yield
    pytest.skip("too late")


@pytest.fixture
def expecting():
    pytest.xfail("known in setup")


@pytest.fixture
def flaky_setup():
    if first_time("setup"):
        raise RuntimeError("not yet")


@pytest.fixture
def flaky_teardown():
    yield
    if first_time("teardown"):
        raise RuntimeError("not clean")


def test_passed(): pass
def test_failed(): assert 1 == 2
def test_setup_failed(bad_setup): pass
def test_teardown_failed(bad_teardown): pass
def test_setup_and_teardown_failed(bad_teardown, bad_setup): pass
def test_call_and_teardown_failed(bad_teardown): assert 1 == 2
@pytest.mark.xfail(strict=True)
def test_xpass_strict(): pass
@pytest.mark.xfail(reason="some day")
def test_xpass(): pass
@pytest.mark.xfail(reason="bug 7")
def test_xfail(): assert 1 == 2
@pytest.mark.xfail(reason="do not touch", run=False)
def test_xfail_norun(): raise SystemExit
@pytest.mark.xfail(reason="bug 8")
def test_xfail_setup(bad_setup): pass
def test_xfail_imperative(): pytest.xfail("known in the body")
def test_xfail_fixture(expecting): pass
@pytest.mark.xfail(reason="bug 9")
def test_xfail_teardown(bad_teardown): assert 1 == 2
@pytest.mark.xfail(reason="bug 10")
def test_xpass_teardown(bad_teardown): pass
@pytest.mark.xfail(raises=OSError)
def test_xfail_other_error(): assert 1 == 2
@pytest.mark.skip(reason="by mark")
def test_skip_mark(): pass
@pytest.mark.skipif(True, reason="by condition")
def test_skip_if(): pass
def test_skip_setup(skipping): pass
def test_skip_body(): pytest.skip("in the body")
def test_skip_teardown(skipping_late): pass
def test_skip_body_bad_teardown(bad_teardown): pytest.skip("in the body")
def test_importorskip(): pytest.importorskip("no_such_module")
@pytest.mark.flaky(reruns=2)
def test_rerun_call(): assert not first_time("call")
@pytest.mark.flaky(reruns=2)
def test_rerun_setup(flaky_setup): pass
@pytest.mark.flaky(reruns=2)
def test_rerun_teardown(flaky_teardown): pass
@pytest.mark.flaky(reruns=1)
def test_rerun_in_vain(): assert 1 == 2
@pytest.mark.flaky(reruns=1)
def test_rerun_unneeded(): pass
@pytest.mark.flaky(reruns=1)
def test_rerun_then_skip():
    assert not first_time("skip")
    pytest.skip("enough")


class TestUnit(unittest.TestCase):
    def test_unit_passed(self): pass
    def test_unit_failed(self): self.fail("no")
    @unittest.expectedFailure
    def test_unit_xfail(self): self.fail("known")
    @unittest.expectedFailure
    def test_unit_unexpected(self): pass
    @unittest.skip("by decorator")
    def test_unit_skip(self): pass
    def test_unit_skip_body(self): self.skipTest("in the body")


@unittest.skip("the whole class")
class TestUnitSkipped(unittest.TestCase):
    def test_unit_skip_class(self): pass


class TestUnitSetup(unittest.TestCase):
    def setUp(self): raise RuntimeError("setUp went wrong")
    def test_unit_setup(self): pass


class TestUnitTeardown(unittest.TestCase):
    def tearDown(self): raise RuntimeError("tearDown went wrong")
    def test_unit_teardown(self): pass


class TestUnitClass(unittest.TestCase):
    @classmethod
    def setUpClass(cls): raise RuntimeError("setUpClass went wrong")
    def test_unit_class(self): pass
"""

SUBTESTS = """
import unittest


def test_subtest_failed(subtests):
    with subtests.test("good"): pass
    with subtests.test("bad", i=3): assert 3 == 4
    with subtests.test("worse"): raise ValueError("worse")


def test_subtests_passed(subtests):
    with subtests.test("good"): pass


class TestUnit(unittest.TestCase):
    def test_unit_subtest_failed(self):
        for i in range(3):
            with self.subTest(i=i):
                self.assertNotEqual(i, 1)
"""

CRASHES = """
import os, pytest


@pytest.fixture
def dying():
    os._exit(1)


@pytest.fixture
def dying_late():
    yield
    os._exit(1)


def test_crash_setup(dying): pass
def test_crash_call(): os._exit(1)
def test_crash_teardown(dying_late): pass
"""

BROKEN = "import no_such_module_at_all\n"


def _rerun(phase: str) -> list[Verdict]:
    status = "failed" if phase == "call" else "broken"
    return [(status, "rerun", phase, 1, False), ("passed", "passed", "call", 2, True)]


def _skipped(phase: str) -> list[Verdict]:
    return [("skipped", "skipped", phase, 1, False)]


def _xfailed(phase: str) -> list[Verdict]:
    return [("skipped", "xfailed", phase, 1, False)]


def _error(phase: str) -> list[Verdict]:
    return [("broken", "error", phase, 1, False)]


EXPECTED: dict[str, list[Verdict]] = {
    "test_passed": [PASSED],
    "test_failed": [FAILED],
    "test_setup_failed": _error("setup"),
    "test_teardown_failed": _error("teardown"),
    "test_setup_and_teardown_failed": _error("setup"),
    "test_call_and_teardown_failed": [FAILED],
    "test_xpass_strict": [FAILED],
    "test_xpass": [("passed", "xpassed", "call", 1, False)],
    "test_xfail": _xfailed("call"),
    "test_xfail_norun": _xfailed("setup"),
    "test_xfail_setup": _xfailed("setup"),
    "test_xfail_imperative": _xfailed("call"),
    "test_xfail_fixture": _xfailed("setup"),
    "test_xfail_teardown": _xfailed("call"),
    "test_xpass_teardown": _xfailed("teardown"),
    "test_xfail_other_error": [FAILED],
    "test_skip_mark": _skipped("setup"),
    "test_skip_if": _skipped("setup"),
    "test_skip_setup": _skipped("setup"),
    "test_skip_body": _skipped("call"),
    "test_skip_teardown": _skipped("teardown"),
    "test_skip_body_bad_teardown": _error("teardown"),
    "test_importorskip": _skipped("call"),
    "test_rerun_call": _rerun("call"),
    "test_rerun_setup": _rerun("setup"),
    "test_rerun_teardown": _rerun("teardown"),
    "test_rerun_in_vain": [("failed", "rerun", "call", 1, False), ("failed", "failed", "call", 2, False)],
    "test_rerun_unneeded": [PASSED],
    "test_rerun_then_skip": [("failed", "rerun", "call", 1, False), ("skipped", "skipped", "call", 2, False)],
    "test_unit_passed": [PASSED],
    "test_unit_failed": [FAILED],
    "test_unit_xfail": _xfailed("call"),
    "test_unit_unexpected": [FAILED],
    "test_unit_skip": _skipped("call"),  # unittest looks at the decorator when it runs the test
    "test_unit_skip_class": _skipped("setup" if TESTED_PYTEST >= (9,) else "call"),  # where pytest's report has it
    "test_unit_skip_body": _skipped("call"),
    "test_unit_setup": [FAILED],
    "test_unit_teardown": [FAILED],
    "test_unit_class": _error("setup"),
    "test_subtest_failed": [FAILED],
    "test_subtests_passed": [PASSED],
    "test_unit_subtest_failed": [FAILED],
    "test_broken.py": _error("collect"),
}
CRASHED = {f"test_crash_{phase}": ("broken", "crashed", phase, 1, False) for phase in ("setup", "call", "teardown")}


@pytest.fixture(scope="module", params=["serial", "xdist"])
def matrix(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, clickhouse_server: ClickHouse
) -> Iterator[Finished]:
    """The suite, run once; under xdist with the tests that kill their worker."""
    parallel = request.param == "xdist"
    with observed_in(tmp_path_factory.mktemp("matrix"), clickhouse_server) as observed:
        observed.bench.write(test_suite=SUITE, test_subtests=SUBTESTS, test_broken=BROKEN)
        if parallel:
            observed.bench.write(test_crashes=CRASHES)
        run = observed.run("--continue-on-collection-errors", *(["-n2"] if parallel else []))
        assert run.returncode == 1, run.stdout
        yield finished(observed, run, request.param)


@pytest.fixture(scope="module", params=["setup", "call", "teardown"])
def serial_crash(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, clickhouse_server: ClickHouse
) -> Iterator[tuple[str, Finished]]:
    """A serial run whose process ends in that phase of a test."""
    with observed_in(tmp_path_factory.mktemp("crash"), clickhouse_server) as observed:
        observed.bench.write(test_a="def test_before(): pass\n", test_crashes=CRASHES)
        name = f"test_crash_{request.param}"
        run = observed.run("-k", f"before or {name}")
        yield name, outlived(observed, run)


@pytest.mark.parametrize("name", EXPECTED)
def test_each_line_of_the_table_gives_its_verdict(matrix: Finished, name: str) -> None:
    assert matrix.verdicts.get(name) == EXPECTED[name]


def test_nothing_but_the_suite_has_rows(matrix: Finished) -> None:
    expected = EXPECTED.keys() | (CRASHED.keys() if matrix.mode == "xdist" else set())
    assert matrix.verdicts.keys() == expected


@pytest.mark.parametrize("phase", ["setup", "call", "teardown"])
@pytest.mark.parametrize("matrix", ["xdist"], indirect=True)
def test_a_worker_that_dies_leaves_the_row_of_its_test(matrix: Finished, phase: str) -> None:
    row = matrix.one(f"test_crash_{phase}")
    assert matrix.verdicts[f"test_crash_{phase}"] == [CRASHED[f"test_crash_{phase}"]]
    assert row["error_type"] == "crashed"
    assert "crashed while running" in row["error_message"]


def test_a_process_that_dies_leaves_the_row_of_its_test(serial_crash: tuple[str, Finished]) -> None:
    name, done = serial_crash
    assert done.verdicts == {"test_before": [PASSED], name: [CRASHED[name]]}
    assert done.session["status"] == "aborted"
