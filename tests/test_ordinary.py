"""The short way of an ordinary result gives what the long way gives."""

from __future__ import annotations

import json

import pytest

from pytest_test_observer._extras import Extras, MeasuredPhase
from pytest_test_observer._ids import Ids
from pytest_test_observer._naming import Naming
from pytest_test_observer._record import Context, FixtureTimes, TestRecord
from pytest_test_observer._recorder import Recorder
from pytest_test_observer._rows import RowEncoder

START = 1_795_000_000.125
NODEIDS = ["test_a.py::test_one", "test_a.py::test_two[é-\"'\\]", "sub dir/test_b.py::TestIt::test_[x]", "test_c.py::d"]


class Tests:
    """The tests of this process: the one that runs."""

    location: tuple[str, int | None, str] | None = None
    current = heard = Extras(1, 1)

    __test__ = False

    def __init__(self) -> None:
        self.unheard: dict[str, list[Extras]] = {}

    def extras_for(self, _report: pytest.TestReport) -> Extras:
        """Every report is of the test that runs."""
        return self.current


def _reports(nodeid: str, extras: Extras) -> list[pytest.TestReport]:
    file, _, name = nodeid.partition("::")
    location = (file, 41, name.replace("::", "."))
    reports = []
    for number, when in enumerate(("setup", "call", "teardown")):
        start = START + number / 7
        reports.append(
            pytest.TestReport(nodeid, location, {}, "passed", None, when, duration=0.1, start=start, stop=start + 0.1)  # type: ignore[arg-type]
        )
        extras.phases[when] = MeasuredPhase("passed", 0.1 + number / 3, start, start + 0.1)
    extras.complete = True
    return reports


def _recorded(scope: str, detail: str, *, short: bool) -> tuple[list[TestRecord], object]:
    records: list[TestRecord] = []
    naming = Naming(Ids("5e551011", scope))
    naming.ids.decide(len(NODEIDS))
    recorder = Recorder(naming, records.append, detail=detail)
    recorder._is_plain = short
    tests = Tests()
    recorder.tests_run_here(tests)
    for nodeid in NODEIDS:
        tests.current = Extras(1, 1, markers=["slow"])
        if detail == "fixture":
            tests.current.fixtures.append(FixtureTimes("page", "function", "setup", 1, 2))
        for report in _reports(nodeid, tests.current):
            tests.location = report.location
            recorder.on_report(report)
    return records, (naming.tally.counts, naming.tally.reported, naming.traces.modules)


@pytest.mark.parametrize("scope", ["auto", "session", "module", "test"])
@pytest.mark.parametrize("detail", ["test", "phase", "fixture"])
def test_both_ways_make_the_same_records_and_counts(scope: str, detail: str) -> None:
    short, counts = _recorded(scope, detail, short=True)
    long, same_counts = _recorded(scope, detail, short=False)
    assert [_plain(record) for record in short] == [_plain(record) for record in long]
    assert len(short) == len(NODEIDS)
    assert counts == same_counts


@pytest.mark.parametrize("spans", [False, True])
@pytest.mark.parametrize("detail", ["test", "fixture"])
def test_both_ways_write_the_same_line(spans: bool, detail: str) -> None:
    records, _ = _recorded("module", detail, short=True)
    others, _ = _recorded("module", detail, short=False)
    context = Context(run_id='100 % "x"', git_branch="ärger")
    short = [json.loads(RowEncoder(context, spans=spans).result(record)) for record in records]
    long = [json.loads(RowEncoder(context, spans=spans).result(record)) for record in others]
    assert {type(record) for record in records} != {type(record) for record in others}
    assert short == long
    assert [row["nodeid"] for row in short] == NODEIDS


def _plain(record: TestRecord) -> dict[str, object]:
    values = {name: getattr(record, name) for name in record.__struct_fields__}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
