"""Receivers that are slow, silent or away: exit code unchanged, the wait bounded, each span sent or on disk."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.kit import Run, Workbench
from tests.servers.faulty import faulty
from tests.servers.otlp import Receiver, Span, receiving
from tests.test_faults import CONFTEST, LENIENCE, RESULTS, SUITE

if TYPE_CHECKING:
    from pathlib import Path

PROTOCOLS = ("grpc", "http/protobuf")
# The default of --observer-exit-timeout, in seconds.
ALLOWED = 3.0
KINDS = [(kind, protocol) for kind in ("refusing", "silent") for protocol in PROTOCOLS]

TESTS = 3_000
SLOW_SECONDS = 0.4
FIXTURES = """
import pytest
@pytest.fixture
def first():
    yield
@pytest.fixture
def second(first):
    yield
@pytest.mark.parametrize("number", range({tests}))
def test_one(number, second):
    pass
"""
# Setup and teardown of each fixture; other plugins have fixtures of their own.
SPANS_OF_A_TEST = {"test": 1, "phase": 3, "first": 2, "second": 2}


class Failed(NamedTuple):
    """A run whose receiver failed, and the seconds it waited at the end."""

    bench: Workbench
    run: Run
    waited: float
    url: str


def run_against(kind_and_protocol: tuple[str, str], directory: Path) -> Failed:
    kind, protocol = kind_and_protocol
    bench = Workbench(directory)
    bench.write(test_a=SUITE, conftest=CONFTEST)
    with faulty(kind) as server:
        run = bench.run(f"--otlp-endpoint={server.url}", f"--otlp-protocol={protocol}")
    return Failed(bench, run, float((bench.suite / "waited").read_text()), server.url)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Failed]:
    directories = [tmp_path_factory.mktemp("run") for _ in KINDS]
    with ThreadPoolExecutor(4) as pool:
        done = pool.map(run_against, KINDS, directories)
        return dict(zip(KINDS, done, strict=True))


@pytest.fixture(params=KINDS, ids="-".join)
def failed(request: pytest.FixtureRequest, runs: dict[tuple[str, str], Failed]) -> Failed:
    return runs[request.param]


def test_the_exit_code_is_that_of_the_tests(failed: Failed) -> None:
    assert failed.run.returncode == 1, failed.run.stdout


def test_the_wait_is_bounded(failed: Failed) -> None:
    assert failed.waited <= ALLOWED + LENIENCE


def test_all_results_stay_on_disk(failed: Failed) -> None:
    assert len(failed.bench.kept_rows()) == RESULTS


def test_one_line_says_what_was_kept_and_what_sends_it(failed: Failed) -> None:
    assert f": 0 results sent to {failed.url}" in failed.run.summary
    assert f"{RESULTS} kept on disk" in failed.run.summary
    assert f"pytest-observer replay --otlp-endpoint={failed.url}" in failed.run.summary


def told(run: Run) -> list[str]:
    """Return the arguments of the command that the summary gives."""
    found = re.search(r"send with: pytest-observer (.*?\.jsonl'?)", run.summary)
    assert found, run.summary
    return shlex.split(found[1])


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("given", ["flags", "variables"])
def test_the_command_that_is_told_sends_what_was_kept(bench: Workbench, protocol: str, given: str) -> None:
    bench.write(test_a=SUITE)
    with faulty("refusing") as nobody:
        flags, env = [f"--otlp-endpoint={nobody.url}", f"--otlp-protocol={protocol}"], {}
        if given == "variables":
            prefix = "OTEL_EXPORTER_OTLP_"
            flags, env = ["--otlp"], {f"{prefix}ENDPOINT": nobody.url, f"{prefix}PROTOCOL": protocol}
        run = bench.run(*flags, "--observer-exit-timeout=0.5", env=env)
    grpc = protocol == "grpc"
    with receiving(grpc_port=nobody.port if grpc else 0, http_port=0 if grpc else nobody.port) as receiver:
        command = [sys.executable, "-c", "from pytest_test_observer._cli import main; main()", *told(run)]
        done = subprocess.run(command, env=bench.environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert results(receiver) == RESULTS
    assert bench.buffered("") == []


def results(receiver: Receiver) -> int:
    return sum("pytest.phase" in span.attributes for span in receiver.spans)


class Slow(NamedTuple):
    """A run whose receiver took its time: ids of spans that had arrived when it ended, and all spans after a replay."""

    run: Run
    at_once: set[str]
    spans: list[Span]


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Slow:
    bench = Workbench(tmp_path_factory.mktemp("slow"))
    bench.write(test_a=FIXTURES.format(tests=TESTS))
    with receiving() as receiver:
        receiver.delay(SLOW_SECONDS)
        flag = f"--otlp-endpoint={receiver.endpoint('grpc')}"
        run = bench.run(flag, "--otlp-detail=fixture")
        at_once = {span.span_id for span in receiver.spans}
        receiver.delay(0)
        if bench.buffered(""):
            command = [sys.executable, "-m", "pytest_test_observer.replay", flag, str(bench.buffers)]
            subprocess.run(command, env=bench.environment(), stdout=subprocess.DEVNULL, check=True)
        assert bench.buffered("") == []
        return Slow(run, at_once, receiver.spans)


def test_a_slow_receiver_gets_every_span_and_what_is_late_stays_on_disk(slow: Slow) -> None:
    found = {span.span_id: span for span in slow.spans}
    print(
        f"{len(slow.at_once):,} spans had arrived when pytest ended, {len(found):,} after a replay: {slow.run.summary}"
    )
    assert slow.run.returncode == 0, slow.run.stdout
    kinds = Counter(map(kind_of, found.values()))
    assert {kind: kinds[kind] for kind in SPANS_OF_A_TEST} == {
        kind: TESTS * count for kind, count in SPANS_OF_A_TEST.items()
    }
    sent = re.search(r": (\d+) results sent", slow.run.summary)
    assert sent
    assert int(sent[1]) <= sum(kind_of(found[span_id]) == "test" for span_id in slow.at_once)


def test_what_is_sent_again_has_the_same_id_and_content(slow: Slow) -> None:
    first: dict[str, Span] = {}
    for span in slow.spans:
        assert first.setdefault(span.span_id, span) == span


def kind_of(span: Span) -> str:
    """Return ``test``, ``phase``, the name of a fixture, or nothing."""
    if "pytest.phase" in span.attributes:
        return "test"
    return "phase" if "pytest.phase.outcome" in span.attributes else span.attributes.get("pytest.fixture.name", "")
