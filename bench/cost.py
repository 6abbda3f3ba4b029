"""What the plugin costs: plain pytest, ours off and on, and others of its kind, interleaved, on suites of two sizes.

The slope between the sizes is the cost of a test, what is left at zero tests is the fixed cost. Whole
processes are timed; CPU is what the kernel accounted for, of the helper too, which this process adopts. Memory is what
pytest's process had at most (see ``bench.peak``), without its helper.

usage: python -m bench.cost [--pairs 15] [--small 400] [--large 4000] [--cpus 0] [--otlp] [--peers]
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console
from rich.table import Table

from bench.peak import VARIABLE as PEAKS
from bench.peak import read_peaks
from bench.peers import PEERS, installed
from tests.servers.client import ClickHouse, running_clickhouse
from tests.servers.otlp import Receiver, receiving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PR_SET_CHILD_SUBREAPER = 36
ROOT = Path(__file__).parent.parent


class Measured(NamedTuple):
    """One run: seconds of wall time, of CPU of pytest, of CPU of the helper; peak memory of pytest in MiB.

    ``workers`` are the peaks of workers of pytest-xdist.
    """

    wall: float
    cpu: float
    helper: float
    memory: float
    workers: tuple[float, ...] = ()


class Variant(NamedTuple):
    """A way to run pytest: its name, its arguments, what it adds to the environment."""

    name: str
    arguments: list[str]
    env: dict[str, str]
    python: str = sys.executable


def variants(server: ClickHouse, receiver: Receiver | None, *, peers: bool) -> list[Variant]:
    """Return what is compared; plain comes twice, for the noise."""
    plugin = ["-p", "pytest_test_observer.plugin"]
    credentials = {"PYTEST_OBSERVER_CH_USER": server.user, "PYTEST_OBSERVER_CH_PASSWORD": server.password}
    return [
        Variant("plain", [], {}),
        Variant("plain again", [], {}),
        Variant("off", plugin, {}),
        Variant("on (server)", [*plugin, f"--ch-url={server.url}"], credentials),
        *(_over_otlp(plugin, receiver) if receiver is not None else ()),
        *(_of_peers(server, receiver) if receiver is not None and peers else ()),
    ]


def _over_otlp(plugin: list[str], receiver: Receiver) -> list[Variant]:
    flags = [*plugin, f"--otlp-endpoint={receiver.endpoint('http/protobuf')}", "--otlp-protocol=http/protobuf"]
    return [Variant(f"on (OTLP, {detail})", [*flags, f"--otlp-detail={detail}"], {}) for detail in ("test", "fixture")]


def _of_peers(server: ClickHouse, receiver: Receiver) -> Iterator[Variant]:
    places = {"url": server.url, "user": server.user, "password": server.password, "grpc": receiver.endpoint("grpc")}
    for peer in PEERS:
        python = installed(peer)
        if python is not None:
            arguments = ["-p", peer.module, *(argument.format(**places) for argument in peer.arguments)]
            env = {name: value.format(**places) for name, value in peer.env.items()}
            yield Variant(peer.name, arguments, env, python)


def write_suite(directory: Path, tests: int) -> Path:
    """Write a suite of trivial tests, 100 a module."""
    suite = directory / f"suite_{tests}"
    suite.mkdir()
    (suite / "pytest.ini").write_text("[pytest]\n")
    for module in range(tests // 100):
        body = "".join(f"def test_{number}():\n    pass\n\n" for number in range(100))
        (suite / f"test_{module}.py").write_text(body)
    return suite


def environment(variant: Variant, cache: Path) -> dict[str, str]:
    """Return the environment that a variant runs in; buffers go to ``cache``."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYT")},
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": str(ROOT),  # of the plugins in this directory
        "XDG_CACHE_HOME": str(cache),
        **variant.env,
    }


def command_of(variant: Variant, suite: Path, *more: str) -> list[str]:
    """Return the command of a variant, with ``more`` arguments."""
    return [variant.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *more, *variant.arguments, str(suite)]


def measure(variant: Variant, suite: Path, cache: Path) -> Measured:
    """Run pytest once and account for it and for what it leaves behind."""
    with tempfile.TemporaryDirectory() as peaks:
        env = {**environment(variant, cache), PEAKS: peaks}
        command = command_of(variant, suite, "-p", "bench.peak")
        own = children()
        nothing = os.open(os.devnull, os.O_RDWR)
        started = time.perf_counter()
        pid = os.posix_spawn(
            variant.python,
            command,
            env,
            file_actions=[(os.POSIX_SPAWN_DUP2, nothing, 1), (os.POSIX_SPAWN_DUP2, nothing, 2)],
        )
        _, status, usage = os.wait4(pid, 0)
        wall = time.perf_counter() - started
        os.close(nothing)
        if status:
            raise SystemExit(f"pytest failed: {' '.join(command)}")
        helper = _adopted_cpu(own)
        found = read_peaks(Path(peaks))
        return Measured(wall, usage.ru_utime + usage.ru_stime, helper, found.pop("master"), tuple(found.values()))


def _adopted_cpu(own: set[int]) -> float:
    """Wait for what pytest left behind, all children but ``own``; returns the seconds of CPU it took."""
    seconds = 0.0
    while left := children() - own:
        _, _, usage = os.wait4(left.pop(), 0)
        seconds += usage.ru_utime + usage.ru_stime
    return seconds


def children() -> set[int]:
    """Return the processes that this one started or adopted."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {int(pid) for task in tasks for pid in task.read_text().split()}


def adopt_orphans() -> None:
    """Become the parent of processes whose own has ended."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def table(title: str, found: dict[tuple[str, int], list[Measured]], sizes: tuple[int, int]) -> Table:
    """Return the cost of each variant over plain: medians of differences within a round."""
    result = Table(title=title)
    result.add_column("variant")
    helper = ("helper's CPU per test", "fixed")
    for column in ("per test", "fixed", f"in all at {sizes[0]}", "CPU per test", *helper, "peak MiB"):
        result.add_column(column, justify="right")
    for name in dict.fromkeys(name for name, _ in found):
        walls = {size: _over_plain(found, name, size, lambda run: run.wall) for size in sizes}
        cpus = {size: _over_plain(found, name, size, lambda run: run.cpu) for size in sizes}
        helpers = {size: statistics.median(run.helper for run in found[name, size]) for size in sizes}
        slope, cpu_slope, helper_slope = (_slope(values) for values in (walls, cpus, helpers))
        result.add_row(
            name,
            f"{slope * 1e6:+.1f} µs",
            f"{(walls[sizes[0]] - slope * sizes[0]) * 1e3:+.0f} ms",
            f"{walls[sizes[0]] * 1e3:+.0f} ms",
            f"{cpu_slope * 1e6:+.1f} µs",
            f"{helper_slope * 1e6:.1f} µs",
            f"{(helpers[sizes[0]] - helper_slope * sizes[0]) * 1e3:.0f} ms",
            f"{statistics.median(run.memory for run in found[name, sizes[1]]):.0f}",
        )
    return result


def _slope(values: dict[int, float]) -> float:
    (small, at_small), (large, at_large) = values.items()
    return (at_large - at_small) / (large - small)


def _over_plain(
    found: dict[tuple[str, int], list[Measured]], name: str, size: int, value: Callable[[Measured], float]
) -> float:
    pairs = zip(found[name, size], found["plain", size], strict=True)
    return statistics.median(value(ours) - value(plain) for ours, plain in pairs)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--small", type=int, default=400)
    parser.add_argument("--large", type=int, default=4000)
    parser.add_argument("--cpus", default="", help="processors for pytest and its helper: 0 or 0,1")
    parser.add_argument("--otlp", action="store_true", help="also over OTLP/HTTP, to a receiver in this process")
    parser.add_argument("--peers", action="store_true", help="other plugins too; implies --otlp")
    options = parser.parse_args()
    sizes = (options.small, options.large)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        receiving_spans = receiving() if options.otlp or options.peers else contextlib.nullcontext(None)
        with running_clickhouse(directory) as server, receiving_spans as receiver:
            # The server starts before, so that it keeps all processors: it stands for one on another machine.
            if options.cpus:
                os.sched_setaffinity(0, {int(cpu) for cpu in options.cpus.split(",")})
            adopt_orphans()
            suites = {size: write_suite(directory, size) for size in sizes}
            found = measure_all(
                variants(server, receiver, peers=options.peers), suites, directory / "cache", options.pairs
            )
    processors = len(os.sched_getaffinity(0))
    title = f"{options.pairs} interleaved rounds, {processors} processors, over plain pytest"
    console = Console(width=120)
    console.print(table(title, found, sizes))
    for size in sizes:
        plain = statistics.median(run.wall for run in found["plain", size])
        console.print(f"plain pytest, {size} tests: {plain * 1e3:.0f} ms wall")


def measure_all(
    compared: list[Variant], suites: dict[int, Path], cache: Path, pairs: int
) -> dict[tuple[str, int], list[Measured]]:
    """Run all variants on all suites in turn; the first round only warms up."""
    found: dict[tuple[str, int], list[Measured]] = {}
    for round_ in range(pairs + 1):
        for size, suite in suites.items():
            for variant in compared:
                measured = measure(variant, suite, cache)
                if round_:
                    found.setdefault((variant.name, size), []).append(measured)
    return found


if __name__ == "__main__":
    main()
