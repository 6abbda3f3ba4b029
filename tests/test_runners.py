"""Plugins that run tests, or tell of them, in ways of their own: each attempt that pytest hears of is one row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kit import TESTED_PYTEST

if TYPE_CHECKING:
    from tests.kit import Observed

SUITE = """
import pytest

@pytest.fixture
def skipping(): pytest.skip("not here")

@pytest.mark.slow
def test_good(record_property, record_event):
    record_property("ticket", "7")
    record_event("seen", {"by": "good"})

@pytest.mark.slow
def test_bad(record_event):
    record_event("seen", {"by": "bad"})
    assert 1 == 2

def test_skipping(skipping): pass

@pytest.mark.xfail(reason="known")
def test_expected(): assert 1 == 2
"""
INI = """
[pytest]
markers = slow: takes long
"""
ONCE = {
    "test_good": [("passed", "passed", "call", 1, False)],
    "test_bad": [("failed", "failed", "call", 1, False)],
    "test_skipping": [("skipped", "skipped", "setup", 1, False)],
    "test_expected": [("skipped", "xfailed", "call", 1, False)],
}

# As pytest-asyncio-concurrent and pytest-asyncio-cooperative do: first the setups of all tests, then all calls.
IN_TURNS = """
import pytest
from _pytest.runner import CallInfo

def phase(item, when, run):
    call = CallInfo.from_call(run, when)
    report = item.ihook.pytest_runtest_makereport(item=item, call=call)
    item.ihook.pytest_runtest_logreport(report=report)
    return report.passed

def pytest_runtestloop(session):
    runner = session.config.pluginmanager.get_plugin("runner")
    begin = session.config.pluginmanager.subset_hook_caller("pytest_runtest_setup", [runner])
    def setup(item):
        if {told}: begin(item=item)
        item.session._setupstate.teardown_exact(None)
        item.session._setupstate.setup(item)
    ready = [item for item in session.items if phase(item, "setup", lambda: setup(item))]
    for item in ready: phase(item, "call", item.runtest)
    for item in session.items: phase(item, "teardown", lambda: None)
    return True
"""


@pytest.mark.skipif(TESTED_PYTEST < (8,), reason="fixtures of tests that overlap are another matter before")
@pytest.mark.parametrize("told", [True, False])
def test_tests_that_run_in_turns_have_each_their_own(observed: Observed, told: bool) -> None:
    observed.bench.write(test_a=SUITE, conftest=IN_TURNS.replace("{told}", str(told)), pytest_ini=INI)
    run = observed.run("--custom-events=true")
    # where nobody was told that a test begins, pytest has not looked for its xfail either
    unexpected = {} if told else {"test_expected": [("failed", "failed", "call", 1, False)]}
    assert observed.verdicts() == {**ONCE, **unexpected}, run.stdout
    rows = {row["nodeid"].rpartition("::")[2]: row for row in observed.rows()}
    assert rows["test_good"]["attributes"] == {"ticket": "7"}
    assert rows["test_good"]["markers"] == rows["test_bad"]["markers"] == ["slow"]
    assert rows["test_bad"]["error_type"] == "AssertionError"
    assert rows["test_skipping"]["error_message"] == "not here"
    events = observed.rows("nodeid, payload", "pytest_results_events", "nodeid")
    assert [(event["nodeid"].rpartition("_")[2], event["payload"]["by"]) for event in events] == [
        ("bad", "bad"),
        ("good", "good"),
    ]
    assert observed.rows("not_run", "pytest_results_runs", "run_id") == [{"not_run": 0}]


# As pytest-isolate does with a test whose process died, and pytest-rerunclassfailures with one that it gives up.
CALL_ALONE = """
import pytest

def pytest_runtest_protocol(item):
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    outcome = "passed" if "good" in item.name else "failed"
    report = pytest.TestReport(item.nodeid, item.location, {}, outcome, "died", "call", duration=0.0)
    item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
"""


@pytest.mark.parametrize("workers", [(), ("-n1",)])
def test_a_test_of_which_nothing_but_its_call_is_reported(observed: Observed, workers: tuple[str, ...]) -> None:
    observed.bench.write(test_a=SUITE, conftest=CALL_ALONE, pytest_ini=INI)
    run = observed.run(*workers)
    assert {name: [verdict[:3] for verdict in found] for name, found in observed.verdicts().items()} == {
        "test_good": [("passed", "passed", "call")],
        **{key: [("failed", "failed", "call")] for key in ("test_bad", "test_skipping", "test_expected")},
    }
    assert run.summary.startswith("test-observer: 4 results sent")
    started = observed.rows("min(timestamp) > now() - 3600 AS recent", order="recent")
    assert started == [{"recent": 1}]


# As pytest-rerun-all does: the first attempt it keeps to itself.
UNHEARD = """
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    runtestprotocol(item, nextitem=nextitem, log=False)
"""


@pytest.mark.parametrize("workers", [(), ("-n1",)])
def test_attempts_that_nobody_hears_of_do_not_count(observed: Observed, workers: tuple[str, ...]) -> None:
    observed.bench.write(test_a=SUITE, conftest=UNHEARD, pytest_ini=INI)
    run = observed.run(*workers)
    assert observed.verdicts() == ONCE
    assert "not run" not in run.summary
    (counts,) = observed.rows("passed, failed, skipped, not_run, reruns", "pytest_results_runs", "run_id")
    assert counts == {"passed": 1, "failed": 1, "skipped": 2, "not_run": 0, "reruns": 0}


# As pytest-rerunclassfailures does: it tells of the tests of a class, with all attempts, once the last has ended.
TOLD_LATE = """
from _pytest.runner import runtestprotocol

def pytest_runtestloop(session):
    told = {item: [] for item in session.items}
    for turn in range(2):
        for item in session.items:
            reports = runtestprotocol(item, nextitem=None, log=False)
            for report in reports:
                if turn == 0 and report.failed: report.outcome = "rerun"
            told[item].append(reports)
    for item, attempts in told.items():
        for report in sum(attempts, []): item.ihook.pytest_runtest_logreport(report=report)
    return True

def pytest_report_teststatus(report):
    if report.outcome == "rerun": return "rerun", "R", "RERUN"
"""


@pytest.mark.parametrize("tests", ["all", "one"])
def test_attempts_that_are_told_of_late(observed: Observed, tests: str) -> None:
    observed.bench.write(test_a=SUITE, conftest=TOLD_LATE, pytest_ini=INI)
    observed.run(*(["test_a.py::test_bad"] if tests == "one" else []))
    bad = [("failed", "rerun", "call", 1, False), ("failed", "failed", "call", 2, False)]
    twice = {name: [verdict, (*verdict[:3], 2, False)] for name, (verdict,) in ONCE.items()}
    assert observed.verdicts() == ({"test_bad": bad} if tests == "one" else {**twice, "test_bad": bad})
    assert {row["error_type"] for row in observed.rows("error_type, nodeid") if "bad" in row["nodeid"]} == {
        "AssertionError"
    }


def test_pytests_in_which_another_plugin_runs_tests_do_not_report_them_too(observed: Observed) -> None:
    observed.bench.write(test_a="def test_a(): pass")
    observed.run("-q", env={"PYTEST_RUNNING_IN_SUBPROCESS": "1"})
    assert observed.server.query("EXISTS pytest_results", database=observed.database) == [(0,)]


# What conftest files hang on reports and items, and nobody checks.
ODD = """
import pytest

class Text:
    def toterminal(self, _writer): raise OSError("no terminal")

class Odd(pytest.Item):
    def runtest(self): raise ValueError("odd")
    def repr_failure(self, _excinfo): return Text()
    def reportinfo(self): return self.path, None, "odd"

def pytest_collect_file(file_path, parent):
    if file_path.suffix == ".txt": return File.from_parent(parent, path=file_path)

class File(pytest.File):
    def collect(self): yield Odd.from_parent(self, name="odd")

@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    report.context = "the browser's"
    item.user_properties += [{"a": 1}, "b"] if call.when == "call" else []
    return report
"""


@pytest.mark.skipif(TESTED_PYTEST < (8,), reason="wrappers are new")
@pytest.mark.parametrize("workers", [(), ("-n1",)])
def test_reports_that_are_not_as_pytest_makes_them(observed: Observed, workers: tuple[str, ...]) -> None:
    observed.bench.write(test_a=SUITE, conftest=ODD, pytest_ini=INI, odd_txt="")
    observed.run("-p", "no:terminal", "test_a.py" if workers else ".", *workers)  # xdist would have to send the object
    odd = {"odd": [("failed", "failed", "call", 1, False)]}
    assert observed.verdicts() == {**ONCE, **({} if workers else odd)}
    (row,) = [row for row in observed.rows() if row["nodeid"].endswith("test_bad")]
    assert row["attributes"] == {"0": "{'a': 1}", "1": "b"}
