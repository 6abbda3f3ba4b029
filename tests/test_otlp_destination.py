"""The OTLP destination against a receiver: what is sent, and what answers mean, over both protocols."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]
import pytest

from pytest_test_observer._destinations import Answer, Reply
from pytest_test_observer._destinations.otlp import REQUEST_BYTES, OtlpDestination
from pytest_test_observer._destinations.settings import OtlpSettings
from pytest_test_observer._record import FixtureTimes
from tests import otlp_kit as kit
from tests.otlp_kit import record
from tests.servers.faulty import faulty
from tests.servers.otlp import CERTIFICATE, Receiver, receiving

if TYPE_CHECKING:
    from collections.abc import Iterator

GRPC, HTTP = "grpc", "http/protobuf"
TAKEN, REFUSED, UNAVAILABLE, IN_DOUBT, PARTLY = (
    Answer.TAKEN,
    Answer.REFUSED,
    Answer.UNAVAILABLE,
    Answer.IN_DOUBT,
    Answer.PARTLY,
)
both = pytest.mark.parametrize("protocol", [GRPC, HTTP])


@pytest.fixture(scope="module")
def shared() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def receiver(shared: Receiver) -> Receiver:
    shared.reset()
    return shared


def to(url: str, protocol: str, *, timeout_s: float = 5, **more: object) -> OtlpDestination:
    """Return a destination for a server."""
    endpoint = f"{url}/v1/traces" if protocol == HTTP else url
    facts = {"endpoint": endpoint, "protocol": protocol, "insecure": True, "timeout_s": timeout_s, "label": url}
    return OtlpDestination(OtlpSettings(**{**facts, **more}))  # type: ignore[arg-type]


@both
def test_results_and_the_run_arrive_as_spans_of_one_trace(receiver: Receiver, protocol: str) -> None:
    destination = to(receiver.endpoint(protocol), protocol)
    began = kit.begin()
    assert destination.prepare() == Reply(TAKEN)
    assert destination.send(kit.results(record(0), record(1), began=began)) == Reply(TAKEN)
    assert destination.send(kit.batch_of("runs", [kit.run_line(kit.run_record())], began)) == Reply(TAKEN)
    destination.close()
    spans = receiver.by_name()
    assert set(spans) == {record(0).nodeid, record(1).nodeid, "pytest session"}
    assert len({span.trace_id for span in spans.values()}) == 1
    assert spans[record(0).nodeid].parent_span_id == spans["pytest session"].span_id
    assert spans[record(1).nodeid].resource == spans["pytest session"].resource


@both
def test_headers_travel_with_each_request(receiver: Receiver, protocol: str) -> None:
    destination = to(receiver.endpoint(protocol), protocol, headers={"x-tenant": "team a", "authorization": "Bearer t"})
    destination.send(kit.results(record()))
    assert receiver.requests[0].headers.items() >= {"x-tenant": "team a", "authorization": "Bearer t"}.items()


def test_a_netrc_file_does_not_replace_the_headers(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    netrc = f"{tmp_path}/netrc"
    with open(netrc, "w") as file:
        file.write("machine 127.0.0.1 login other password other\n")
    monkeypatch.setenv("NETRC", netrc)
    to(receiver.endpoint(HTTP), HTTP, headers={"authorization": "Bearer t"}).send(kit.results(record()))
    assert receiver.requests[0].headers["authorization"] == "Bearer t"


@both
@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_requests_are_compressed_on_demand(receiver: Receiver, protocol: str, compression: str) -> None:
    destination = to(receiver.endpoint(protocol), protocol, compression=compression)
    assert destination.send(kit.results(*map(record, range(50)))) == Reply(TAKEN)
    assert len(receiver.spans) == 50
    if protocol == HTTP:
        assert receiver.requests[0].headers["content-encoding"] == compression


@both
def test_variables_of_the_exporter_are_not_read_again(
    receiver: Receiver, protocol: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "Bearer s3cr3t-token")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "zip")
    with caplog.at_level(logging.DEBUG):
        assert to(receiver.endpoint(protocol), protocol).send(kit.results(record())) == Reply(TAKEN)
    assert "s3cr3t" not in caplog.text


@both
def test_a_batch_travels_in_requests_of_less_than_4_mb_and_in_order(receiver: Receiver, protocol: str) -> None:
    tests = [record(number, attributes={"p": "x" * 300_000}) for number in range(30)]
    destination = to(receiver.endpoint(protocol), protocol)
    assert destination.send(kit.results(*tests, began=kit.begin())) == Reply(TAKEN)
    sizes = [len(request.body) for request in receiver.requests]
    assert len(sizes) > 2
    assert max(sizes) <= REQUEST_BYTES
    assert [span.name for span in receiver.spans] == [test.nodeid for test in tests]


@both
def test_a_request_that_is_larger_than_its_lines_is_parted(receiver: Receiver, protocol: str) -> None:
    # A node id stands in a span three times and in its line once.
    tests = [record(number, nodeid=f"{number}" + "n" * 390_000) for number in range(10)]
    batch = kit.results(*tests)
    assert len(batch.data) < REQUEST_BYTES
    assert to(receiver.endpoint(protocol), protocol).send(batch) == Reply(TAKEN)
    assert max(len(request.body) for request in receiver.requests) <= REQUEST_BYTES
    assert [span.name for span in receiver.spans] == [test.nodeid for test in tests]


@both
def test_a_batch_that_is_sent_again_is_the_same_bytes(receiver: Receiver, protocol: str) -> None:
    tests = [record(number, events=kit.events(1_500), attributes={"p": "x" * 400_000}) for number in range(12)]
    batch = kit.results(*tests, began=kit.begin())
    for _ in range(2):
        destination = to(receiver.endpoint(protocol), protocol)
        assert destination.send(batch) == Reply(TAKEN)
        destination.close()
    bodies = [request.body for request in receiver.requests]
    assert bodies[: len(bodies) // 2] == bodies[len(bodies) // 2 :]
    assert len(bodies) > 2


def test_one_span_alone_may_be_larger(receiver: Receiver) -> None:
    destination = to(receiver.endpoint(HTTP), HTTP)
    assert destination.send(kit.results(record(attributes={"p": "x" * 5_000_000}))) == Reply(TAKEN)
    assert len(receiver.spans) == 1


def test_what_a_collector_finds_too_large_is_refused_not_tried_for_ever(receiver: Receiver) -> None:
    reply = to(receiver.endpoint(GRPC), GRPC).send(kit.results(record(attributes={"p": "x" * 5_000_000})))
    assert reply.answer is REFUSED
    assert "too large" in reply.message


@both
def test_a_line_with_more_than_a_request_takes_travels_in_several(receiver: Receiver, protocol: str) -> None:
    chatty = record(0, events=kit.events(12, {"a": "x" * 600_000}))
    fixtures = [
        FixtureTimes("_unittest_setUpClass_fixture", "class", "setup", kit.START_NS + n, kit.START_NS + n + 1, "t.py")
        for n in range(16_000)
    ]
    run = kit.batch_of("runs", [kit.run_line(kit.run_record(), fixtures=fixtures)], kit.begin())
    destination = to(receiver.endpoint(protocol), protocol, timeout_s=20)
    assert [destination.send(batch) for batch in (kit.results(chatty), run)] == [Reply(TAKEN)] * 2
    destination.close()
    assert max(len(request.body) for request in receiver.requests) <= REQUEST_BYTES
    assert len(receiver.spans) == len({span.span_id for span in receiver.spans})
    assert sum(len(span.events) for span in receiver.spans) == 12
    assert sum("pytest.fixture.name" in span.attributes for span in receiver.spans) == 16_000


@pytest.mark.parametrize(
    ("code", "answer"),
    [(grpc.StatusCode.INVALID_ARGUMENT, PARTLY), (grpc.StatusCode.UNAUTHENTICATED, IN_DOUBT)],
)
def test_of_a_line_in_several_requests_a_part_can_be_stored(
    receiver: Receiver, code: grpc.StatusCode, answer: Answer
) -> None:
    receiver._codes += [None, (code, "no more")]  # the second request only
    destination = to(receiver.endpoint(GRPC), GRPC)
    reply = destination.send(kit.results(record(0, events=kit.events(12, {"a": "x" * 600_000}))))
    destination.close()
    assert reply.answer is answer
    assert receiver.spans


@both
@pytest.mark.parametrize("fields", [{"start_ns": -5, "end_ns": 7}, {"trace_id": "f" * 40}])
def test_what_otlp_has_no_room_for_is_refused_and_not_tried_for_ever(
    receiver: Receiver, protocol: str, fields: dict[str, Any]
) -> None:
    destination = to(receiver.endpoint(protocol), protocol)
    reply = destination.send(kit.results(record(**fields)))
    destination.close()
    assert reply.answer is REFUSED
    assert receiver.requests == []


@both
def test_events_alone_are_sent_only_where_no_test_carries_them(receiver: Receiver, protocol: str) -> None:
    destination = to(receiver.endpoint(protocol), protocol)
    test = record(events=kit.events(2))
    assert destination.send(kit.batch_of("events", [kit.event_lines(test, carried=True)])) == Reply(TAKEN)
    assert receiver.requests == []
    assert destination.send(kit.batch_of("events", [kit.event_lines(test, carried=False)])) == Reply(TAKEN)
    assert [len(span.events) for span in receiver.spans] == [2]


@both
@pytest.mark.parametrize(("rejected", "answer"), [(1, PARTLY), (2, REFUSED)])
def test_rejected_spans_are_seen_and_counted(receiver: Receiver, protocol: str, rejected: int, answer: Answer) -> None:
    receiver.reject(rejected, "too old")
    reply = to(receiver.endpoint(protocol), protocol).send(kit.results(record(0), record(1)))
    assert reply.answer is answer
    assert f"rejected {rejected} of 2 spans: too old" in reply.message


@both
def test_a_warning_with_nothing_rejected_is_a_success(receiver: Receiver, protocol: str) -> None:
    receiver.reject(0, "please upgrade")
    assert to(receiver.endpoint(protocol), protocol).send(kit.results(record())) == Reply(TAKEN)


@pytest.mark.parametrize(
    ("status", "headers", "body", "answer", "fatal", "word"),
    [
        (400, {}, b"bad data", REFUSED, False, "bad data"),
        (401, {}, b"", UNAVAILABLE, True, "OTEL_EXPORTER_OTLP_HEADERS"),
        (403, {}, b"", UNAVAILABLE, True, "OTEL_EXPORTER_OTLP_HEADERS"),
        (404, {}, b"", UNAVAILABLE, True, "--otlp-endpoint"),
        (413, {}, b"", REFUSED, False, "too large"),
        (429, {"Retry-After": "60"}, b"", UNAVAILABLE, False, "patience"),
        (500, {}, b"", IN_DOUBT, False, "500"),
        (502, {}, b"", IN_DOUBT, False, "502"),
        (503, {"Retry-After": "60"}, b"full", UNAVAILABLE, False, "full"),
        (504, {}, b"", IN_DOUBT, False, "504"),
        (200, {"Content-Type": "text/html"}, b"<html>Log in</html>", UNAVAILABLE, True, "no OTLP receiver"),
        (200, {"Content-Type": "text/plain"}, b"ok", IN_DOUBT, True, "no OTLP receiver"),
        (200, {"Content-Type": "application/x-protobuf"}, b"\xff\xff", IN_DOUBT, True, "no OTLP receiver"),
        (200, {"Content-Type": "application/json"}, b"{}", TAKEN, False, ""),
        (
            200,
            {"Content-Type": "application/json"},
            b'{"partialSuccess":{"rejectedSpans":"1","errorMessage":"no"}}',
            REFUSED,
            False,
            "rejected 1 of 1 spans: no",
        ),
        (202, {}, b"", TAKEN, False, ""),
    ],
)
def test_an_answer_over_http_is_understood(  # noqa: PLR0917 - one argument for each column of the table
    receiver: Receiver, status: int, headers: dict[str, str], body: bytes, answer: Answer, fatal: bool, word: str
) -> None:
    receiver.answer(status, body, headers)
    began = time.monotonic()
    reply = to(receiver.endpoint(HTTP), HTTP).send(kit.results(record()))
    assert (reply.answer, reply.fatal) == (answer, fatal)
    assert word in reply.message
    assert len(receiver.requests) == 1  # exporters would try again on their own
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("kind", ["redirect-302", "redirect-307"])
def test_redirects_are_not_followed(kind: str) -> None:
    with faulty(kind) as server:
        reply = to(server.url, HTTP, headers={"api-key": "hidden"}).send(kit.results(record()))
        assert (reply.answer, reply.fatal, server.followed) == (UNAVAILABLE, True, [])
    assert "redirect" in reply.message


_STATUS = grpc.StatusCode


@pytest.mark.parametrize(
    ("code", "details", "answer", "fatal"),
    [
        (_STATUS.INVALID_ARGUMENT, "bad data", REFUSED, False),
        (_STATUS.UNAUTHENTICATED, "", UNAVAILABLE, True),
        (_STATUS.PERMISSION_DENIED, "", UNAVAILABLE, True),
        (_STATUS.UNIMPLEMENTED, "unknown service", UNAVAILABLE, True),
        (_STATUS.RESOURCE_EXHAUSTED, "slow down", UNAVAILABLE, False),
        (_STATUS.UNAVAILABLE, "sending queue is full", UNAVAILABLE, False),
        (_STATUS.UNAVAILABLE, "Socket closed", IN_DOUBT, False),
        (_STATUS.DEADLINE_EXCEEDED, "", IN_DOUBT, False),
        (_STATUS.INTERNAL, "oops", IN_DOUBT, False),
        (_STATUS.UNKNOWN, "oops", IN_DOUBT, False),
        (_STATUS.ABORTED, "", IN_DOUBT, False),
        (_STATUS.DATA_LOSS, "", IN_DOUBT, False),
    ],
)
def test_a_status_of_grpc_is_understood(
    receiver: Receiver, code: grpc.StatusCode, details: str, answer: Answer, fatal: bool
) -> None:
    receiver.fail(code, details)
    began = time.monotonic()
    reply = to(receiver.endpoint(GRPC), GRPC).send(kit.results(record()))
    assert (reply.answer, reply.fatal) == (answer, fatal)
    assert details in reply.message
    assert len(receiver.requests) == 1
    assert time.monotonic() - began < 2


@both
@pytest.mark.parametrize(
    ("kind", "answers"),
    [
        ("refusing", {UNAVAILABLE}),
        ("unconnectable", {UNAVAILABLE}),
        ("closing-after-request", {UNAVAILABLE, IN_DOUBT}),
        ("silent", {IN_DOUBT}),
        ("dripping", {IN_DOUBT}),
        ("garbage", {UNAVAILABLE}),
    ],
)
def test_a_server_with_a_fault_takes_a_bounded_time(protocol: str, kind: str, answers: set[Answer]) -> None:
    with faulty(kind) as server:
        began = time.monotonic()
        reply = to(server.url, protocol, timeout_s=0.5).send(kit.results(record()))
        assert time.monotonic() - began < 3.3
    assert reply.answer in answers
    assert reply.message


@pytest.mark.parametrize(("protocol", "spoken", "word"), [(GRPC, HTTP, "http/protobuf"), (HTTP, GRPC, "grpc")])
def test_the_port_of_the_other_protocol_is_recognised(
    receiver: Receiver, protocol: str, spoken: str, word: str
) -> None:
    reply = to(receiver.endpoint(spoken), protocol).send(kit.results(record()))
    assert (reply.answer, reply.fatal) == (UNAVAILABLE, True)
    assert f"--otlp-protocol={word}" in reply.message


@both
def test_a_receiver_that_comes_back_is_found_at_once(protocol: str) -> None:
    with receiving() as first:
        grpc_port, http_port = first.grpc_port, first.http_port
        destination = to(first.endpoint(protocol), protocol)
        assert destination.send(kit.results(record(0))).answer is TAKEN
    assert destination.send(kit.results(record(1))).answer in (UNAVAILABLE, IN_DOUBT)
    assert destination.send(kit.results(record(1))).answer is UNAVAILABLE
    with receiving(grpc_port=grpc_port, http_port=http_port) as second:
        assert destination.send(kit.results(record(1))).answer is TAKEN
        assert [span.name for span in second.spans] == [record(1).nodeid]
    destination.close()


@both
def test_after_a_break_within_a_batch_only_the_rest_is_sent_again(receiver: Receiver, protocol: str) -> None:
    tests = [record(number, attributes={"p": "x" * 1_500_000}) for number in range(6)]
    batch = kit.results(*tests)
    destination = to(receiver.endpoint(protocol), protocol)
    receiver.break_at(2)
    assert destination.send(batch).answer is IN_DOUBT
    left = destination.absent(batch)
    assert left is not None
    assert len(left) == 4
    assert destination.send(batch) == Reply(TAKEN)
    assert [span.name for span in receiver.spans] == [test.nodeid for test in tests]
    assert destination.absent(batch) is None


@both
def test_a_refused_request_holds_up_no_other_of_its_batch(receiver: Receiver, protocol: str) -> None:
    tests = [record(number, attributes={"p": "x" * 1_500_000}) for number in range(6)]
    receiver.reject(2)
    destination = to(receiver.endpoint(protocol), protocol)
    assert destination.send(kit.results(*tests)).answer is REFUSED
    assert [span.name for span in receiver.spans] == [test.nodeid for test in tests[2:]]
    assert destination.absent(kit.results(*tests)) == [kit.result_line(test) for test in tests[:2]]


def test_what_is_nowhere_settled_cannot_be_asked(receiver: Receiver) -> None:
    assert to(receiver.endpoint(GRPC), GRPC).absent(kit.results(record())) is None


@both
def test_a_line_that_is_no_row_is_refused_and_nothing_is_sent(receiver: Receiver, protocol: str) -> None:
    batch = kit.batch_of("results", [kit.result_line(record()), b'{"nodeid": 5}\n'])
    assert to(receiver.endpoint(protocol), protocol).send(batch).answer is REFUSED
    assert receiver.requests == []


@both
def test_no_secret_is_in_a_message(receiver: Receiver, protocol: str) -> None:
    secret = "tOken-1234"
    receiver.answer(400, f"bad {secret}".encode())
    receiver.fail(grpc.StatusCode.INVALID_ARGUMENT, f"bad {secret}")
    headers = {"authorization": f"Bearer {secret}"}
    reply = to(receiver.endpoint(protocol), protocol, headers=headers).send(kit.results(record()))
    assert "bad ***" in reply.message
    assert secret not in reply.message


@both
def test_a_header_that_the_protocol_refuses_is_not_shown(receiver: Receiver, protocol: str) -> None:
    reply = to(receiver.endpoint(protocol), protocol, headers={"x": "se\ncret"}).send(kit.results(record()))
    assert reply.answer is not TAKEN
    assert "cret" not in reply.message


def test_what_makes_sending_impossible_is_said_once_and_for_all() -> None:
    destination = OtlpDestination(OtlpSettings(problem="OTEL_EXPORTER_OTLP_PROTOCOL is odd", notes=["note"]))
    assert destination.prepare() == Reply(UNAVAILABLE, "OTEL_EXPORTER_OTLP_PROTOCOL is odd", fatal=True)
    assert destination.notes() == ["note"]
    assert destination.notes() == []


def test_a_certificate_that_is_not_there_is_named_by_its_variable() -> None:
    for protocol in (GRPC, HTTP):
        settings = OtlpSettings(endpoint="https://127.0.0.1:1", protocol=protocol, certificate="/no/such.pem")
        reply = OtlpDestination(settings).prepare()
        assert (reply.answer, reply.fatal) == (UNAVAILABLE, True)
        assert "CERTIFICATE" in reply.message


@pytest.fixture(scope="module")
def encrypted() -> Iterator[Receiver]:
    with receiving(tls=True) as receiver:
        yield receiver


@both
def test_a_certificate_that_is_given_is_trusted(encrypted: Receiver, protocol: str) -> None:
    encrypted.reset()
    url = encrypted.endpoint(protocol)
    destination = to(url, protocol, insecure=False, certificate=str(CERTIFICATE))
    assert destination.send(kit.results(record())) == Reply(TAKEN)
    assert len(encrypted.spans) == 1
    destination.close()


@both
def test_a_certificate_of_nobody_is_not_trusted(encrypted: Receiver, protocol: str) -> None:
    encrypted.reset()
    reply = to(encrypted.endpoint(protocol), protocol, insecure=False).send(kit.results(record()))
    assert (reply.answer, encrypted.spans) == (UNAVAILABLE, [])
    assert "OTEL_EXPORTER_OTLP_CERTIFICATE" in reply.message


@both
def test_a_server_without_tls_is_told_from_one_that_is_not_trusted(receiver: Receiver, protocol: str) -> None:
    url = receiver.endpoint(protocol).replace("http:", "https:")
    reply = to(url, protocol, insecure=False).send(kit.results(record()))
    assert reply.answer is UNAVAILABLE
    assert "no TLS" in reply.message


def test_no_thread_of_ours_is_left(receiver: Receiver) -> None:
    before = set(threading.enumerate())
    destination = to(receiver.endpoint(HTTP), HTTP)
    destination.send(kit.results(record()))
    destination.close()
    assert {thread for thread in threading.enumerate() if "_export" in thread.name} <= before
