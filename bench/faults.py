"""The long versions of the tests that kill processes and break servers, one run at a time.

Kills pytest, and pytest with its helper, at random moments of a run of 200 tests, with the server up and down, sends
the rest with replay and looks for what was lost or doubled. Then runs against servers that fail in each way, and
measures how much longer that takes than the same run against a good one; against OTLP receivers likewise. Kills the
OpenTelemetry Collector while pytest sends to it, where it is built. Exits with 1 if anything was not as promised.

usage: python -m bench.faults [--kills 25] [--seed N] [--only kills|servers|receivers|fleet|orphans|collector]
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import random
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console
from rich.table import Table

from tests.e2e.killed import SUITE as KILLED_SUITE
from tests.e2e.killed import kill_while_pytest_sends
from tests.killing import is_left_alone, kill_at, problems, replay, stored, suite, wait_until
from tests.kit import Observed, Run, Workbench
from tests.parity import NAMES, make_views
from tests.servers.client import ClickHouse, running_clickhouse
from tests.servers.collector import BUILD, running_collector
from tests.servers.faulty import KINDS, faulty
from tests.servers.otlp import receiving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Seconds that a run may take longer than one with a good server; the default of --observer-exit-timeout is 3.
ALLOWED = 3.3
# Seconds that an orphan may live.
ORPHAN = 30.0
# The tests of the suite take about this many seconds; negative moments are seconds after the start of pytest.
MOMENTS = (-0.5, 1.2)
RESULTS = 51
TESTS_PER_KILL = 500
SUITE = "".join(f"def test_{number}(): pass\n" for number in range(RESULTS - 1)) + "def test_bad(): assert 0\n"


@contextmanager
def fresh(server: ClickHouse) -> Iterator[Observed]:
    """Give a bench and a database that nobody else uses."""
    database = f"faults_{uuid.uuid4().hex[:12]}"
    server.execute(f"CREATE DATABASE {database}")
    with tempfile.TemporaryDirectory() as directory:
        yield Observed(Workbench(Path(directory)), server, database)
    server.execute(f"DROP DATABASE {database} SYNC")


class Killed(NamedTuple):
    """What became of one killed run."""

    results: int
    crashed: int
    wrong: list[str]


def kill_once(server: ClickHouse, moment: float, *, up: bool, helper_too: bool) -> Killed:
    """Kill one run and send what it left behind."""
    with fresh(server) as observed, faulty("refusing") as refusing:
        suite(observed.bench)
        url = server.url if up else refusing.url
        process = observed.bench.start(f"--ch-url={url}", f"--ch-db={observed.database}", env=observed.env)
        kill_at(observed.bench, process, moment, helper_too=helper_too)
        sent = replay(observed)
        found = stored(observed)
        wrong = problems(observed.bench, found)
        if sent.returncode not in (0, 3):
            wrong.append(f"replay ended with {sent.returncode}: {sent.stdout}{sent.stderr}")
        return Killed(len(found.rows), sum(row["outcome"] == "crashed" for row in found.rows), wrong)


def kills(server: ClickHouse, count: int, seed: int, console: Console) -> int:
    """Kill ``count`` runs in each of the four ways; returns how many went wrong."""
    table = Table(title=f"{count} kills each, seed {seed}")
    for column in ("server", "killed", "results", "crashed", "lost or doubled"):
        table.add_column(column)
    bad = 0
    for up in (False, True):
        for helper_too in (False, True):
            chance = random.Random(f"{seed} {up} {helper_too}")
            moments = [chance.uniform(*MOMENTS) for _ in range(count)]
            done = [kill_once(server, moment, up=up, helper_too=helper_too) for moment in moments]
            for moment, killed in zip(moments, done, strict=True):
                bad += bool(killed.wrong)
                for wrong in killed.wrong:
                    console.print(f"up={up} helper_too={helper_too} moment={moment:.4f}: {wrong}")
            table.add_row(
                "up" if up else "down",
                "pytest and helper" if helper_too else "pytest",
                str(sum(killed.results for killed in done)),
                str(sum(killed.crashed for killed in done)),
                str(sum(bool(killed.wrong) for killed in done)),
            )
    console.print(table)
    return bad


def timed(observed: Observed, url: str, protocol: str = "") -> tuple[float, Run]:
    """Run the suite against a server, or an OTLP receiver of a ``protocol``; returns the seconds that took."""
    to_receiver = (f"--otlp-endpoint={url}", f"--otlp-protocol={protocol}")
    arguments = to_receiver if protocol else (f"--ch-url={url}", f"--ch-db={observed.database}")
    # the default of the timeout is what is measured
    env = {**observed.env, "PYTEST_OBSERVER_EXIT_TIMEOUT": ""}
    start = time.perf_counter()
    run = observed.bench.run(*arguments, env=env)
    return time.perf_counter() - start, run


def servers(server: ClickHouse, console: Console) -> int:
    """Measure runs against servers that fail; returns how many were not as promised."""
    good = []
    for _ in range(5):
        with fresh(server) as observed:
            observed.bench.write(test_a=SUITE)
            good.append(timed(observed, server.url)[0])
    usual = statistics.median(good)
    table = Table(title=f"{RESULTS} results; with a good server {usual:.2f} s")
    for column in ("server", "longer", "exit", "sent", "kept", "what is told"):
        table.add_column(column)
    bad = 0
    for kind in (*KINDS, "slow"):
        with fresh(server) as observed, faulty(kind, server.url) as failing:
            observed.bench.write(test_a=SUITE)
            seconds, run = timed(observed, failing.url)
            sent, kept = len(stored(observed).rows), len(observed.bench.kept_rows())
        bad += seconds - usual > ALLOWED or run.returncode != 1 or sent + kept != RESULTS or not run.summary
        told = run.summary.partition(" - ")[2].partition(" Kept in ")[0] or "all was sent"
        table.add_row(kind, f"{seconds - usual:+.2f} s", str(run.returncode), str(sent), str(kept), told)
    console.print(table)
    return bad


def receivers(server: ClickHouse, console: Console) -> int:
    """Measure runs against OTLP receivers that fail; returns how many were not as promised."""
    bad = 0
    for protocol in ("grpc", "http/protobuf"):
        usual = statistics.median(_to_good_receiver(server, protocol) for _ in range(5))
        table = Table(title=f"{RESULTS} results over {protocol}; with a good receiver {usual:.2f} s")
        for column in ("receiver", "longer", "exit", "kept", "what is told"):
            table.add_column(column)
        for kind in KINDS:
            with fresh(server) as observed, faulty(kind) as failing:
                observed.bench.write(test_a=SUITE)
                seconds, run = timed(observed, failing.url, protocol)
                kept = len(observed.bench.kept_rows())
            bad += seconds - usual > ALLOWED or run.returncode != 1 or kept != RESULTS or not run.summary
            told = run.summary.partition(" - ")[2].partition(" Kept in ")[0]
            table.add_row(kind, f"{seconds - usual:+.2f} s", str(run.returncode), str(kept), told)
        console.print(table)
    return bad


def _to_good_receiver(server: ClickHouse, protocol: str) -> float:
    with fresh(server) as observed, receiving() as receiver:
        observed.bench.write(test_a=SUITE)
        seconds, run = timed(observed, receiver.endpoint(protocol), protocol)
        if f"{RESULTS} results sent" not in run.summary:
            raise SystemExit(run.stdout)
    return seconds


def fleet(server: ClickHouse, console: Console) -> int:
    """Let 16 runs send into the same tables at once; returns how many results are missing, doubled or left over."""
    runs = 16
    with fresh(server) as first, contextlib.ExitStack() as stack:
        members = []
        for _ in range(runs):
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            members.append(Observed(Workbench(directory), server, first.database))
            members[-1].bench.write(test_a=SUITE)
        start = time.perf_counter()
        processes = [observed.start("-q", "--observer-exit-timeout=60") for observed in members]
        printed = [process.communicate()[0] for process in processes]
        seconds = time.perf_counter() - start
        (found,) = first.rows("count() AS rows, uniqExact(span_id) AS spans, uniqExact(run_id) AS ids", order="rows")
        (ended,) = first.rows("count() AS runs", table="pytest_results_runs", order="runs")
        left = sum(len(observed.bench.kept_rows()) for observed in members)
    table = Table(title=f"{runs} runs of {RESULTS} results at once: {seconds:.1f} s")
    for column in ("rows", "different", "runs", "rows of runs", "left on disk", "say all was sent"):
        table.add_column(column, justify="right")
    said = sum(f"test-observer: {RESULTS} results sent" in text for text in printed)
    numbers = (found["rows"], found["spans"], found["ids"], ended["runs"], left, said)
    table.add_row(*map(str, numbers))
    console.print(table)
    return int(numbers != (runs * RESULTS, runs * RESULTS, runs, runs, 0, runs))


def orphans(server: ClickHouse, console: Console) -> int:
    """Kill pytest while its helper waits for servers that never answer; returns how many live too long."""
    table = Table(title="seconds that a helper lives after pytest")
    table.add_column("server")
    table.add_column("seconds", justify="right")
    bad = 0
    for kind in ("hanging", "silent", "dripping", "dripping-body", "refusing"):
        with fresh(server) as observed, faulty(kind) as failing:
            suite(observed.bench)
            process = observed.bench.start(f"--ch-url={failing.url}")
            wait_until((observed.bench.suite / "finished").exists, "tests run")
            process.kill()
            process.communicate()
            start = time.perf_counter()
            wait_until(functools.partial(is_left_alone, observed.bench), "it ends", 2 * ORPHAN)
            seconds = time.perf_counter() - start
        bad += seconds > ORPHAN + 1
        table.add_row(kind, f"{seconds:.1f}")
    console.print(table)
    return bad


def collector(server: ClickHouse, count: int, console: Console) -> int:
    """Kill the Collector ``count`` times while one run sends to it; returns 1 if rows are missing or doubled."""
    built = subprocess.run([BUILD, "--built"], stdout=subprocess.PIPE, text=True, check=False).stdout.strip()
    if not built:
        console.print("the Collector was not killed: it has to be built first, make collector")
        return 0
    tests = count * TESTS_PER_KILL
    with fresh(server) as observed, tempfile.TemporaryDirectory() as directory:
        observed.bench.write(test_many=KILLED_SUITE.format(tests=tests))
        make_views(server, observed.database)
        with running_collector(Path(built), Path(directory), server, observed.database) as running:
            done = kill_while_pytest_sends(observed.bench, running, server, observed.database, count)
    wanted = dict(zip(NAMES, (tests, tests, 1), strict=True))
    found = {name: done.rows[name] for name in NAMES}
    console.print(f"the Collector was killed {done.kills} times; rows wanted {wanted}, found {found}")
    return int(found != wanted)


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description="kill processes and break servers")
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--only", choices=("kills", "servers", "receivers", "fleet", "orphans", "collector"))
    asked = parser.parse_args()
    console = Console(width=160)
    parts: dict[str, Callable[[ClickHouse], int]] = {
        "kills": lambda server: kills(server, asked.kills, asked.seed, console),
        "servers": lambda server: servers(server, console),
        "receivers": lambda server: receivers(server, console),
        "fleet": lambda server: fleet(server, console),
        "orphans": lambda server: orphans(server, console),
        "collector": lambda server: collector(server, asked.kills, console),
    }
    with tempfile.TemporaryDirectory() as directory, running_clickhouse(Path(directory)) as server:
        bad = sum(part(server) for name, part in parts.items() if asked.only in (None, name))
    console.print(f"{bad} runs were not as promised" if bad else "all was as promised")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
