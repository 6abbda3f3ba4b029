"""Two destinations as one: OTLP first, ClickHouse for what OTLP certainly did not take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_test_observer._destinations import Answer, Batch, Reply
from pytest_test_observer._destinations.build import build
from pytest_test_observer._destinations.clickhouse import ClickHouseDestination
from pytest_test_observer._destinations.config import Destinations
from pytest_test_observer._destinations.fallback import FallbackDestination
from pytest_test_observer._destinations.otlp import OtlpDestination
from pytest_test_observer._destinations.settings import ClickHouseSettings, OtlpSettings
from pytest_test_observer._journal.reader import JournalReader
from pytest_test_observer._shipper.ship import Shipper
from tests import otlp_kit as kit
from tests.journals import begun
from tests.otlp_kit import record
from tests.servers.faulty import faulty
from tests.servers.otlp import receiving

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.servers.client import ClickHouse

TAKEN, REFUSED, UNAVAILABLE, IN_DOUBT, PARTLY = (
    Reply(Answer.TAKEN),
    Reply(Answer.REFUSED, "refused"),
    Reply(Answer.UNAVAILABLE, "away"),
    Reply(Answer.IN_DOUBT, "perhaps"),
    Reply(Answer.PARTLY, "partly", fatal=True),
)


class Scripted:
    """A destination that answers as planned, else TAKEN, and keeps what it took."""

    carries_events = False

    def __init__(self, label: str) -> None:
        self.label = label
        self.planned: list[Reply] = []
        self.ready = TAKEN
        self.asked: list[Batch] = []
        self.taken: list[Batch] = []
        self.settled: list[bytes] | None = None

    def warm_up(self) -> None: ...

    def prepare(self) -> Reply:
        return self.ready

    def send(self, batch: Batch) -> Reply:
        self.asked.append(batch)
        reply = self.planned.pop(0) if self.planned else TAKEN
        if reply.answer is Answer.TAKEN:
            self.taken.append(batch)
        return reply

    def absent(self, batch: Batch) -> list[bytes] | None:
        if self.settled is None:
            return None
        return [line for line in batch.data.splitlines(keepends=True) if line not in self.settled]

    def notes(self) -> list[str]:
        return [f"note of {self.label}"]

    def release(self) -> None: ...

    def close(self) -> None: ...


class Ways:
    """A fallback over two scripted destinations, with a clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0
        self.otlp = Scripted("otlp")
        self.clickhouse = Scripted("clickhouse")
        self.both = FallbackDestination(self.otlp, self.clickhouse, clock=lambda: self.now)

    def send(self, batch: Batch, *, otlp: Reply = TAKEN, clickhouse: Reply = TAKEN, later: float = 60) -> Reply:
        """Send ``batch`` ``later`` seconds after the last, with these answers where somebody is asked."""
        self.now += later
        self.otlp.planned, self.clickhouse.planned = [otlp], [clickhouse]
        return self.both.send(batch)


@pytest.fixture
def ways() -> Ways:
    return Ways()


BATCH = kit.results(record(0), record(1))


def test_what_the_first_takes_never_reaches_the_second(ways: Ways) -> None:
    assert ways.send(BATCH) == TAKEN
    assert ways.clickhouse.asked == []


def test_the_first_is_asked_also_where_the_clock_is_below_zero(ways: Ways) -> None:
    """As under libfaketime in the past: the monotonic clock is moved as well."""
    ways.now = -1e9
    assert ways.send(BATCH) == TAKEN
    assert ways.otlp.taken == [BATCH]


@pytest.mark.parametrize("reply", [UNAVAILABLE, REFUSED])
def test_what_the_first_certainly_did_not_take_goes_to_the_second_as_it_is(ways: Ways, reply: Reply) -> None:
    assert ways.send(BATCH, otlp=reply) == TAKEN
    assert ways.clickhouse.taken == [BATCH]


@pytest.mark.parametrize("reply", [IN_DOUBT, PARTLY])
def test_what_the_first_may_have_stays_with_it(ways: Ways, reply: Reply) -> None:
    assert ways.send(BATCH, otlp=reply) == reply
    assert ways.send(BATCH, otlp=UNAVAILABLE).answer is Answer.IN_DOUBT
    assert ways.send(BATCH, otlp=UNAVAILABLE, later=1).answer is Answer.IN_DOUBT
    assert ways.clickhouse.asked == []
    assert ways.send(BATCH) == TAKEN


def test_what_stays_with_a_first_that_is_away_holds_up_nothing_else(ways: Ways, tmp_path: Path) -> None:
    journal = begun(tmp_path)
    reader = JournalReader(journal.files)
    reader.recover()
    shipper = Shipper(reader, ways.both)

    def ship(*planned: Reply) -> list[bool]:
        """Finish a test, send; returns for each batch that is left whether it is the first one."""
        journal.append(record(len(reader.pending())))
        reader.seal()
        ways.now += 60
        ways.otlp.planned = list(planned)
        shipper.hurry()
        shipper.ship()
        return [sealed.number == 1 for sealed in reader.pending()]

    away = UNAVAILABLE._replace(fatal=True)
    assert ship(IN_DOUBT) == [True]
    assert ship(away, away) == [True]
    assert ship(away, away) == [True]
    assert not shipper.is_hopeless
    assert [batch.rows for batch in ways.clickhouse.taken] == [1, 1]
    assert ship() == []
    assert shipper.account().sent == 4


def test_what_the_second_may_have_stays_with_it(ways: Ways) -> None:
    assert ways.send(BATCH, otlp=UNAVAILABLE, clickhouse=IN_DOUBT) == IN_DOUBT
    before = len(ways.otlp.asked)
    assert ways.send(BATCH) == TAKEN
    assert len(ways.otlp.asked) == before
    assert ways.clickhouse.asked == [BATCH, BATCH]


def test_what_neither_takes_is_tried_with_both_again(ways: Ways) -> None:
    reply = ways.send(BATCH, otlp=UNAVAILABLE, clickhouse=Reply(Answer.UNAVAILABLE, "no table", fatal=True))
    assert (reply.answer, reply.fatal) == (Answer.UNAVAILABLE, False)
    assert "away" in reply.message
    assert "no table" in reply.message
    assert ways.send(BATCH) == TAKEN
    assert ways.otlp.taken == [BATCH]


def test_a_part_that_the_first_settled_does_not_go_to_the_second(ways: Ways) -> None:
    first, second = BATCH.data.splitlines(keepends=True)
    ways.otlp.settled = [first]
    assert ways.send(BATCH, otlp=UNAVAILABLE) == TAKEN
    (left,) = ways.clickhouse.taken
    assert (left.data, left.rows) == (second, 1)
    assert left.token != BATCH.token


def test_a_first_that_is_away_is_left_alone_for_a_while(ways: Ways) -> None:
    ways.send(BATCH, otlp=UNAVAILABLE)
    other = kit.results(record(5))
    assert ways.send(other, later=5) == TAKEN
    assert ways.otlp.asked == [BATCH]
    assert ways.send(kit.results(record(6)), later=6) == TAKEN
    assert len(ways.otlp.asked) == 2


def test_a_first_that_was_away_beforehand_is_left_alone_as_well(ways: Ways) -> None:
    ways.otlp.ready = UNAVAILABLE
    ways.both.warm_up()
    ways.otlp.ready = TAKEN
    assert ways.send(BATCH, later=9) == TAKEN
    assert ways.clickhouse.taken == [BATCH]


def test_events_go_to_the_second_before_the_results_that_carry_them(ways: Ways) -> None:
    test = record(events=kit.events(3, {"k": "v"}))
    ways.send(kit.results(test), otlp=UNAVAILABLE)
    events, results = ways.clickhouse.taken
    assert results.table == "results"
    assert (events.table, events.rows) == ("events", 3)
    assert kit.rows_in(events) == kit.rows_in(kit.batch_of("events", [kit.event_lines(test, carried=False)]))


def test_once_its_events_are_with_the_second_a_batch_stays_there(ways: Ways) -> None:
    batch = kit.results(record(events=kit.events(1)))
    ways.now += 60
    ways.otlp.planned, ways.clickhouse.planned = [UNAVAILABLE], [TAKEN, UNAVAILABLE]
    assert ways.both.send(batch).answer is Answer.UNAVAILABLE
    assert ways.send(batch) == TAKEN
    assert len(ways.otlp.asked) == 1
    assert ways.clickhouse.taken[-1] == batch


def test_events_that_results_carry_go_nowhere_by_themselves(ways: Ways) -> None:
    carried = kit.event_lines(record(events=kit.events(2)), carried=True)
    loose = kit.event_lines(record(1, events=kit.events(1)), carried=False)
    assert ways.send(kit.batch_of("events", [carried])) == TAKEN
    assert ways.send(kit.batch_of("events", [carried, loose]), otlp=UNAVAILABLE) == TAKEN
    assert ways.otlp.asked[0].data == loose
    assert [batch.data for batch in ways.clickhouse.taken] == [loose]


def test_either_of_the_two_being_ready_is_enough(ways: Ways) -> None:
    ways.otlp.ready = UNAVAILABLE
    assert ways.both.prepare() == TAKEN
    ways.now, ways.clickhouse.ready = 60, Reply(Answer.UNAVAILABLE, "no table", fatal=True)
    reply = ways.both.prepare()
    assert (reply.answer, reply.fatal) == (Answer.UNAVAILABLE, False)


def test_both_are_named_and_both_may_leave_notes(ways: Ways) -> None:
    assert ways.both.label == "otlp or clickhouse"
    assert ways.both.notes() == ["note of otlp", "note of clickhouse"]


def test_a_second_that_may_hang_is_not_asked_before_it_is_needed() -> None:
    with receiving() as receiver, faulty("503") as server:
        otlp = OtlpSettings(endpoint=receiver.endpoint("grpc"), insecure=True)
        both = build(Destinations(ClickHouseSettings(host="127.0.0.1", port=server.port), otlp))
        both.warm_up()
        assert both.send(BATCH) == TAKEN
        both.close()
        assert server.requests == []


@pytest.mark.parametrize(
    ("ways", "kind"),
    [
        (Destinations(clickhouse=ClickHouseSettings()), ClickHouseDestination),
        (Destinations(otlp=OtlpSettings()), OtlpDestination),
        (Destinations(ClickHouseSettings(), OtlpSettings()), FallbackDestination),
    ],
)
def test_what_is_configured_is_what_is_built(ways: Destinations, kind: type) -> None:
    assert type(build(ways)) is kind


@pytest.mark.parametrize("otlp", [None, OtlpSettings()])
def test_only_an_engine_alone_may_take_long_at_the_end(otlp: OtlpSettings | None) -> None:
    assert Destinations(ClickHouseSettings(embedded=True), otlp).is_embedded is (otlp is None)


def test_without_any_way_nothing_is_built() -> None:
    with pytest.raises(ValueError, match="neither"):
        build(Destinations())


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_rows_go_to_a_real_table_while_the_receiver_is_away_and_never_twice(
    clickhouse_server: ClickHouse, database: str, query: Callable[[str], list[tuple[Any, ...]]], protocol: str
) -> None:
    clickhouse = ClickHouseSettings(
        host=clickhouse_server.host,
        port=clickhouse_server.port,
        user=clickhouse_server.user,
        password=clickhouse_server.password,
        database=database,
    )
    with receiving() as receiver:
        endpoint = receiver.endpoint(protocol)
    url = f"{endpoint}/v1/traces" if protocol != "grpc" else endpoint
    otlp = OtlpSettings(endpoint=url, protocol=protocol, insecure=True, timeout_s=2, label=endpoint)
    both = build(Destinations(clickhouse, otlp))
    began = kit.begin()
    assert both.send(kit.results(record(0, events=kit.events(2)), began=began)) == TAKEN
    assert both.send(kit.batch_of("runs", [kit.run_line(kit.run_record())], began)) == TAKEN
    both.close()
    tables = "pytest_results", "pytest_results_events", "pytest_results_runs"
    assert [query(f"SELECT count() FROM {table}") for table in tables] == [[(1,)], [(2,)], [(1,)]]
