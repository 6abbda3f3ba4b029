"""How large traces become: the estimate holds for what is sent, at every detail."""

from __future__ import annotations

from collections import Counter

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource

from pytest_test_observer._errors import ErrorText
from pytest_test_observer._gathered import Gathered, Location
from pytest_test_observer._ids import Ids, parse_traceparent
from pytest_test_observer._naming import Facts, Inner, Key, Naming
from pytest_test_observer._record import Context, FixtureTimes, PhaseTimes, TestRecord
from pytest_test_observer._rows import RowEncoder
from pytest_test_observer._spans.attempt import Surroundings, attempt_spans
from pytest_test_observer._spans.lines import read_line
from pytest_test_observer._traces import TRACE_BYTES
from pytest_test_observer._verdict import Verdict

NOW = 1_795_392_000_000_000_000
PHASES = [PhaseTimes(when, NOW, NOW + 1, "passed") for when in ("setup", "call", "teardown")]
FIXTURES = [
    FixtureTimes(f"some_fixture_{n}", "function", when, NOW, NOW + 1)
    for n in range(5)
    for when in ("setup", "teardown")
]
_rows = RowEncoder(Context(run_id="run", service="shop"), spans=True)


def _sent_bytes(record: TestRecord) -> int:
    row = read_line("results", _rows.result(record))
    size: int = encode_spans(list(attempt_spans(row, Surroundings(Resource({}))))).ByteSize()
    return size


def _recorded(naming: Naming, number: int, facts: Facts) -> TestRecord:
    key = Key(f"tests/unit/test_basket.py::TestBasket::test_it_is_empty[{number}]", "master")
    return naming.record(key, Verdict("passed", "passed", "call"), Gathered(), facts)


def _facts(phases: list[PhaseTimes], fixtures: list[FixtureTimes]) -> Facts:
    return Facts(NOW, NOW + 3, Location(), ErrorText(), [], inner=Inner(phases, fixtures))


def _bytes_by_trace(facts: Facts) -> Counter[str]:
    naming = Naming(Ids("5e55", "session"))
    found = Counter[str]()
    for number in range(2_000):
        record = _recorded(naming, number, facts)
        found[record.trace_id] += _sent_bytes(record)
    return found


def test_no_trace_outgrows_what_is_kept_of_it_where_fixtures_have_spans() -> None:
    found = _bytes_by_trace(_facts(PHASES, FIXTURES))
    assert max(found.values()) <= TRACE_BYTES
    assert len(found) < 2 + 2 * sum(found.values()) / TRACE_BYTES


_TRACE, _SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize("text", [f"00-{_TRACE}-{_SPAN}-00", f" 00-{_TRACE}-{_SPAN}-01\n", f"01-{_TRACE}-{_SPAN}-01-x"])
def test_a_parent_is_read_sampled_or_not_and_of_later_versions(text: str) -> None:
    assert parse_traceparent(text) == (_TRACE, _SPAN)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        f"ff-{_TRACE}-{_SPAN}-01",
        f"00-{_TRACE}-{_SPAN}-01-x",
        f"00-{_TRACE.upper()}-{_SPAN}-01",
        f"00-{'0' * 32}-{_SPAN}-01",
        f"00-{_TRACE}-{'0' * 16}-01",
        f"00-{_TRACE}-{_SPAN}",
        f"00-{_TRACE}-{_SPAN}-1",
        f"00_{_TRACE}_{_SPAN}_01",
    ],
)
def test_a_parent_that_is_malformed_is_none(text: str | None) -> None:
    assert parse_traceparent(text) is None


def test_fixtures_that_tests_share_count_where_they_stand() -> None:
    naming, lean = Naming(Ids("5e55", "session")), Naming(Ids("5e55", "session"))
    facts = Facts(NOW, NOW + 3, Location(), ErrorText(), [], inner=Inner(shared=4))
    shared = [_recorded(naming, number, facts) for number in range(2_000)]
    assert len({_recorded(lean, number, _facts([], [])).trace_id for number in range(2_000)}) == 1
    assert len({record.trace_id for record in shared}) == 2


def test_tests_without_inner_spans_stay_in_one_trace_as_long_as_auto_says() -> None:
    assert len(_bytes_by_trace(_facts([], []))) == 1
