"""Custom events and properties of tests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.verdict_kit import FAILED, PASSED, Finished, finished, observed_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit import Observed, Workbench
    from tests.servers.client import ClickHouse

SUITE = r"""
    from types import MappingProxyType

    import pytest, warnings

    TIMES = []

    @pytest.fixture
    def watched(record_event):
        record_event("setup", {"at": "start"})
        yield
        record_event("teardown", {"at": "end"})

    def test_order(watched, record_event):
        record_event("first", {"b": "2", "a": "1"})
        record_event("second", {})
        record_event("third")
    def test_failing(watched, record_event):
        record_event("before", {"k": "v"})
        assert 1 == 2
    def test_many(record_event):
        for n in range(1500):
            record_event("tick", {"n": str(n)})
    def test_surrogates(record_event):
        record_event("odd \udc80", {"key \udc81": "value \udc82", "": "empty key", "\0": "\n"})
    @pytest.mark.flaky(reruns=1)
    def test_repeated(watched, record_event):
        TIMES.append(1)
        record_event("try", {"number": str(len(TIMES))})
        assert len(TIMES) == 2
    def test_kept_payload(record_event):
        payload = {"k": "as it was"}
        record_event("early", payload)
        payload["k"] = "as it became"
    def test_mapping(record_event):
        record_event("mapped", MappingProxyType({"b": "2", "a": "1"}))
    def test_properties(record_property):
        record_property("zeta", 3)
        record_property("alpha", "one")
        record_property("alpha", "two")
        record_property("odd", "\N{SNOWMAN}")
    @pytest.mark.parametrize(
        "name, payload",
        [(1, {}), ("n", []), ("n", {"k": 1}), ("n", {"k": None}), ("n", {2: "v"}), ("n", {"k": b"v"})],
        ids=["name", "list", "int", "none", "key", "bytes"],
    )
    def test_wrong(record_event, name, payload):
        with pytest.raises(TypeError) as raised:
            record_event(name, payload)
        if isinstance(payload, dict) and payload:
            assert repr(next(iter(payload))) in str(raised.value)
            assert "convert it" in str(raised.value)
"""


@pytest.fixture(scope="module", params=[(), ("-n2",)], ids=["serial", "xdist"])
def eventful(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, clickhouse_server: ClickHouse
) -> Iterator[Finished]:
    """A suite that records events, with custom_events on."""
    with observed_in(tmp_path_factory.mktemp("events"), clickhouse_server) as observed:
        observed.bench.write(test_events=SUITE)
        yield finished(observed, observed.run("--custom-events=true", *request.param))


def _events(done: Finished, name: str) -> list[dict[str, Any]]:
    rows = done.observed.rows(table="pytest_results_events", order="attempt, seq")
    return [row for row in rows if row["nodeid"].endswith(f"::{name}")]


def _said(events: list[dict[str, Any]]) -> list[tuple[int, int, str, dict[str, str]]]:
    return [(event["attempt"], event["seq"], event["event_name"], event["payload"]) for event in events]


def test_events_keep_their_order_from_setup_to_teardown(eventful: Finished) -> None:
    assert _said(_events(eventful, "test_order")) == [
        (1, 0, "setup", {"at": "start"}),
        (1, 1, "first", {"a": "1", "b": "2"}),
        (1, 2, "second", {}),
        (1, 3, "third", {}),
        (1, 4, "teardown", {"at": "end"}),
    ]


def test_a_failing_test_keeps_its_events(eventful: Finished) -> None:
    assert eventful.verdicts["test_failing"] == [FAILED]
    assert [event["event_name"] for event in _events(eventful, "test_failing")] == [
        "setup",
        "before",
        "teardown",
    ]


def test_no_limit_loses_an_event(eventful: Finished) -> None:
    events = _events(eventful, "test_many")
    assert [event["payload"]["n"] for event in events] == [str(n) for n in range(1500)]
    assert [event["seq"] for event in events] == list(range(1500))


def test_what_has_no_utf_8_form_is_written_out(eventful: Finished) -> None:
    (event,) = _events(eventful, "test_surrogates")
    assert event["event_name"] == r"odd \udc80"
    assert event["payload"] == {r"key \udc81": r"value \udc82", "": "empty key", "\0": "\n"}


def test_every_attempt_counts_its_events_from_zero(eventful: Finished) -> None:
    assert [(attempt, seq, name) for attempt, seq, name, _ in _said(_events(eventful, "test_repeated"))] == [
        (attempt, seq, name) for attempt in (1, 2) for seq, name in enumerate(["setup", "try", "teardown"])
    ]


def test_an_event_is_as_it_was_when_it_was_recorded(eventful: Finished) -> None:
    (event,) = _events(eventful, "test_kept_payload")
    assert event["payload"] == {"k": "as it was"}


def test_any_mapping_is_a_payload(eventful: Finished) -> None:
    assert _said(_events(eventful, "test_mapping")) == [(1, 0, "mapped", {"a": "1", "b": "2"})]


def test_events_lie_within_their_attempt_and_share_its_span(eventful: Finished) -> None:
    row = eventful.one("test_order")
    columns = "nodeid, run_id, trace_id, span_id, toUnixTimestamp64Milli(timestamp) AS at"
    events = eventful.observed.rows(columns, table="pytest_results_events", order="at")
    events = [event for event in events if event["nodeid"] == row["nodeid"]]
    assert len(events) == 5
    for event in events:
        assert all(event[name] == row[name] for name in ("run_id", "trace_id", "span_id"))
        assert row["started_at"] <= event["at"] <= row["finished_at"]


@pytest.mark.parametrize("wrong", ["name", "list", "int", "none", "key", "bytes"])
def test_what_is_no_text_is_a_type_error_that_names_the_key(eventful: Finished, wrong: str) -> None:
    assert eventful.verdicts[f"test_wrong[{wrong}]"] == [PASSED]
    assert _events(eventful, f"test_wrong[{wrong}]") == []


def test_properties_are_attributes_sorted_by_name(eventful: Finished) -> None:
    attributes = eventful.one("test_properties")["attributes"]
    assert list(attributes.items()) == [("alpha", "two"), ("odd", "☃"), ("zeta", "3")]


def test_a_property_that_cannot_be_put_into_words_costs_no_row(observed: Observed) -> None:
    observed.bench.write(
        test_wordless="""
            class Detached:
                def __str__(self):
                    raise RuntimeError("no session")
            def test_wordless(record_property):
                record_property("user", Detached())
                record_property("count", 3)
        """
    )
    run = observed.run()
    assert "1 result sent" in run.summary
    (row,) = observed.rows("attributes")
    assert row["attributes"] == {"count": "3", "user": "<Detached: RuntimeError in str()>"}


def test_texts_of_types_of_their_own_are_taken_as_texts(observed: Observed) -> None:
    observed.bench.write(
        test_a="""
            import enum, pytest
            class Markup(str): pass  # what HTML libraries and template engines give
            class Level(str, enum.Enum): HIGH = "high"
            def test_texts(request, record_event, record_property):
                request.node.add_marker(Markup("slow"))
                record_event(Markup("name"), {Markup("key"): Markup("value")})
                record_event(Level.HIGH, {Level.HIGH: Level.HIGH, "odd": Markup("\\udc80")})
                record_property(Markup("title"), Markup("text"))
        """
    )
    done = finished(observed, observed.run("--custom-events=true"))
    assert done.verdicts == {"test_texts": [PASSED]}
    row = done.one("test_texts")
    assert (row["markers"], row["attributes"]) == (["slow"], {"title": "text"})
    events = observed.rows("event_name, payload", "pytest_results_events", "seq")
    assert events == [
        {"event_name": "name", "payload": {"key": "value"}},
        {"event_name": "high", "payload": {"high": "high", "odd": "\\udc80"}},
    ]


def test_events_are_dropped_but_checked_where_they_are_off(observed: Observed) -> None:
    observed.bench.write(test_events=SUITE)
    done = finished(observed, observed.run("-k", "wrong or order"))
    assert set(map(tuple, done.verdicts.values())) == {(PASSED,)}
    assert _events(done, "test_order") == []


def test_the_fixture_is_there_while_the_plugin_is_off(bench: Workbench) -> None:
    bench.write(test_events=SUITE)
    run = bench.run("-k", "wrong or order")
    assert run.returncode == 0
    assert "7 passed" in run.stdout
    assert not bench.buffers.exists()


def test_times_of_a_row_are_floors_of_nanoseconds(bench: Workbench) -> None:
    bench.write(
        conftest="""
            import json, pathlib

            def pytest_runtest_logreport(report):
                with (pathlib.Path(__file__).parent / "times").open("a") as file:
                    file.write(json.dumps([report.when, report.start, report.stop]) + "\\n")
        """,
        test_events="""
            import time
            def test_one(record_event):
                before = time.time_ns()
                record_event("now", {"before": str(before)})
        """,
    )
    bench.run("--ch-url=http://127.0.0.1:9", "--custom-events=true", "--observer-exit-timeout=0.1")
    (row,) = bench.kept_rows()
    times = [json.loads(line) for line in (bench.suite / "times").read_text().splitlines()]
    assert row["started_at"] == int(times[0][1] * 1_000_000_000) // 1_000_000
    assert row["finished_at"] == int(times[-1][2] * 1_000_000_000) // 1_000_000
    assert row["timestamp"].endswith(f"{row['finished_at'] % 1000:03d}+00:00")
