"""Servers that fail in every way: exit code unchanged, the wait bounded, each row sent or on disk, one line
told.

``bench/faults.py`` measures the same with the default time-out, one run at a time.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, quote_plus

import pytest

from tests.killing import wait_until
from tests.kit import Observed, Run, Workbench
from tests.servers.faulty import KINDS, faulty

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.client import ClickHouse

PASSWORD = "s3cret/p@ss word"
SPELLINGS = (PASSWORD, quote(PASSWORD), quote(PASSWORD, safe=""), quote_plus(PASSWORD))
RESULTS = 6
SUITE = "".join(f"def test_{number}(): pass\n" for number in range(RESULTS - 1)) + "def test_bad(): assert 0\n"
# Measures what the user waits for: everything that plugins do when the tests are over.
CONFTEST = """
import pathlib, time, pytest
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish():
    start = time.monotonic()
    try:
        return (yield)
    finally:
        pathlib.Path("waited").write_text(str(time.monotonic() - start))
"""
HANGING = ("hanging", "unconnectable", "silent", "dripping", "dripping-body")
# What hangs is given up after this many seconds; what fails is known long before the longer one.
SHORT, LONG = 1.0, 30.0
# How much longer it may take: the contract says 0.3, but these runs share two cores.
LENIENCE = 2.0
BROKE = "the connection broke"
CAUSES = {
    **dict.fromkeys(HANGING, "not all was sent within 1 s (--observer-exit-timeout)"),
    "refusing": "cannot connect (Connection refused): check --ch-url",
    "redirect-302": "redirects are not followed",
    "redirect-307": "redirects are not followed",
    "503": "HTTP 503",
    "401": "check --ch-user and --ch-password",
    "html": "not ClickHouse's HTTP interface",
    **dict.fromkeys(("garbage", "truncated", "closing", "closing-after-request", "resetting", "half-closed"), BROKE),
}


class Failed(NamedTuple):
    """A run whose server failed: its bench, how it ended, and the seconds it waited at the end."""

    bench: Workbench
    run: Run
    waited: float


def run_against(kind: str, directory: Path) -> Failed:
    bench = Workbench(directory)
    bench.write(test_a=SUITE, conftest=CONFTEST)
    timeout = SHORT if kind in HANGING else LONG
    with faulty(kind) as server:
        run = bench.run(
            f"--ch-url={server.url}",
            f"--observer-exit-timeout={timeout}",
            env={"PYTEST_OBSERVER_CH_PASSWORD": PASSWORD},
        )
    return Failed(bench, run, float((bench.suite / "waited").read_text()))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Failed]:
    directories = [tmp_path_factory.mktemp(kind) for kind in KINDS]
    with ThreadPoolExecutor(3) as threads:
        return dict(zip(KINDS, threads.map(run_against, KINDS, directories), strict=True))


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def failed(kind: str, runs: dict[str, Failed]) -> Failed:
    return runs[kind]


def test_the_exit_code_is_that_of_the_tests(failed: Failed) -> None:
    assert failed.run.returncode == 1
    assert f"1 failed, {RESULTS - 1} passed" in failed.run.stdout


def test_the_wait_is_bounded(kind: str, failed: Failed) -> None:
    assert failed.waited < (SHORT if kind in HANGING else LONG / 3) + LENIENCE


def test_every_result_is_on_disk(failed: Failed) -> None:
    assert len({row["span_id"] for row in failed.bench.kept_rows()}) == RESULTS


def test_one_line_tells_what_was_kept_and_how_to_send_it(failed: Failed) -> None:
    [path] = [path for path in failed.bench.buffered() if not path.name.endswith(".meta.jsonl")]
    summary = failed.run.summary
    assert summary.startswith("test-observer: 0 results sent to http://127.0.0.1:")
    assert f"{RESULTS} kept on disk" in summary
    assert f"Kept in {path}; send with: pytest-observer replay --ch-url=http://127.0.0.1:" in summary


def test_a_warning_of_pytest_carries_cause_and_path(kind: str, failed: Failed) -> None:
    [path] = [path for path in failed.bench.buffered() if not path.name.endswith(".meta.jsonl")]
    [warning] = [line for line in failed.run.stdout.splitlines() if "ObserverWarning" in line]
    assert CAUSES[kind] in warning
    assert CAUSES[kind] in failed.run.summary
    assert str(path) in warning


def test_by_default_a_run_waits_three_seconds_and_says_for_what(bench: Workbench) -> None:
    bench.write(test_a=SUITE, conftest=CONFTEST)
    with faulty("silent") as server:
        run = bench.run(f"--ch-url={server.url}")
    assert 3.0 <= float((bench.suite / "waited").read_text()) < 3.3 + LENIENCE
    cause = "not all was sent within 3 s (--observer-exit-timeout)"
    assert f"{cause}: {server.url} has not answered yet." in run.summary


def test_a_helper_that_is_not_ready_in_time_is_told_as_such(bench: Workbench) -> None:
    bench.write(test_a=SUITE)
    with faulty("silent") as server:
        run = bench.run(f"--ch-url={server.url}", "--observer-exit-timeout=0")
    assert "not all was sent within 0 s (--observer-exit-timeout)" in run.summary
    assert len(bench.kept_rows()) == RESULTS


def test_the_password_is_nowhere(failed: Failed) -> None:
    texts = [failed.run.stdout, failed.run.stderr]
    texts += [path.read_text(errors="replace") for path in failed.bench.buffers.iterdir()]
    assert not [text for text in texts for spelling in SPELLINGS if spelling in text]


def test_nothing_of_the_helper_reaches_the_terminal(failed: Failed) -> None:
    assert failed.run.stderr == ""


def test_userinfo_of_a_url_is_used_and_never_shown(bench: Workbench) -> None:
    bench.write(test_a=SUITE)
    with faulty("401") as server:
        url = server.url.replace("http://", f"http://somebody:{quote(PASSWORD, safe='')}@")
        run = bench.run(env={"PYTEST_OBSERVER_CH_URL": url, "PYTEST_OBSERVER_EXIT_TIMEOUT": "30"})
        assert server.requests
    assert "check --ch-user and --ch-password" in run.summary
    texts = [run.stdout, run.stderr, *(path.read_text() for path in bench.buffers.iterdir())]
    assert not [text for text in texts for spelling in SPELLINGS if spelling in text]


def test_a_slow_server_gets_everything(observed: Observed) -> None:
    observed.bench.write(test_a=SUITE)
    with faulty("slow", observed.server.url) as slow:
        run = observed.bench.run(
            f"--ch-url={slow.url}",
            f"--ch-db={observed.database}",
            "--observer-exit-timeout=30",
            env=observed.env,
        )
    assert run.returncode == 1
    assert run.summary == f"test-observer: {RESULTS} results sent to {slow.url}."
    assert len(observed.rows("nodeid")) == RESULTS


def test_a_server_that_comes_back_gets_everything(observed: Observed, controllable_clickhouse: ClickHouse) -> None:
    controllable_clickhouse.fail(503, count=2, keyword="INSERT")
    observed.bench.write(test_a=SUITE)
    run = observed.run("--observer-exit-timeout=30")
    assert run.summary == f"test-observer: {RESULTS} results sent to {observed.server.url}."
    assert len(observed.rows("nodeid")) == RESULTS
    assert observed.bench.buffered("") == []


def test_an_answer_that_was_lost_doubles_nothing(observed: Observed, controllable_clickhouse: ClickHouse) -> None:
    controllable_clickhouse.fail(0, count=2, after=True, keyword="INSERT")
    observed.bench.write(test_a=SUITE)
    run = observed.run("--observer-exit-timeout=30")
    assert run.summary == f"test-observer: {RESULTS} results sent to {observed.server.url}."
    inserts = [entry for entry in controllable_clickhouse.requests() if entry["statement"].startswith("INSERT")]
    assert len(inserts) > 2
    assert len(observed.rows("nodeid")) == RESULTS


GATED = """
import pathlib, time
def wait_for(name):
    deadline = time.monotonic() + 60
    while not pathlib.Path(name).exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
"""


def test_sent_and_kept_add_up_where_a_server_fails_on_the_way(
    observed: Observed, controllable_clickhouse: ClickHouse
) -> None:
    gated = "import gate\ndef test_first(): pass\ndef test_gated(): gate.wait_for('go')\n"
    observed.bench.write(gate=GATED, test_a=gated + SUITE)
    process = observed.start("--observer-exit-timeout=30")
    wait_until(lambda: _count(observed), "a result arrives")
    controllable_clickhouse.fail(503, count=10_000, keyword="INSERT")
    (observed.bench.suite / "go").touch()
    stdout, stderr = process.communicate(timeout=60)
    summary = Run(process.returncode, stdout, stderr).summary
    kept = observed.bench.kept_rows()
    sent = observed.rows("span_id")
    assert f"{len(sent)} result{'s' * (len(sent) != 1)} sent" in summary
    assert f"{len(kept)} kept on disk" in summary
    assert len({row["span_id"] for row in [*kept, *sent]}) == len(kept) + len(sent) == RESULTS + 2


def _count(observed: Observed) -> int:
    [[exists]] = observed.server.query("EXISTS TABLE pytest_results", database=observed.database)
    return len(observed.rows("nodeid")) if exists else 0
