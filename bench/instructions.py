"""What the plugin costs, counted: instructions that pytest's process executes for each test, and reads that miss L1.

The time of a run depends on what else the machine does; a simulated processor (valgrind's cachegrind) counts the same
today and tomorrow, so that a change of a hundredth shows. Two suites of different size run once each, and the
difference is what a test takes; the helper is a program of its own and is not counted. Python's garbage collection
is off, as it falls on one of the sizes by chance.

usage: python -m bench.instructions [--small 100] [--large 300] [--peers]
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from bench.cost import Variant, command_of, environment, variants, write_suite
from tests.servers.client import running_clickhouse
from tests.servers.otlp import receiving

_COUNTED = re.compile(r"^==\d+== +(I +refs|I1 +misses|D1 +misses): +([\d,]+)", re.MULTILINE)
# The first level of the processors of today: 32 KiB, 8 ways, lines of 64 bytes.
_CACHES = ("--I1=32768,8,64", "--D1=32768,8,64")


class Counted(NamedTuple):
    """What pytest's process executed: instructions, and reads and writes that missed the first level of caches."""

    instructions: float
    misses: float

    def __sub__(self, other: Counted) -> Counted:
        return Counted(self.instructions - other.instructions, self.misses - other.misses)

    def __truediv__(self, tests: int) -> Counted:
        return Counted(self.instructions / tests, self.misses / tests)


def count(variant: Variant, suite: Path, cache: Path) -> Counted:
    """Run pytest once below cachegrind."""
    with tempfile.TemporaryDirectory() as logs:
        valgrind = ["valgrind", "--tool=cachegrind", "--cache-sim=yes", *_CACHES]
        files = ["--cachegrind-out-file=/dev/null", f"--log-file={logs}/%p"]
        env = {**environment(variant, cache), "PYTHONHASHSEED": "0", "PYTEST_OBSERVER_EXIT_TIMEOUT": "30"}
        command = [*valgrind, *files, *command_of(variant, suite, "-p", "bench.no_gc")]
        run = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        printed, _ = run.communicate()
        if run.returncode:
            raise SystemExit(f"pytest failed: {' '.join(command)}\n{printed}")
        found = {
            "".join(name.split()): text for name, text in _COUNTED.findall((Path(logs) / str(run.pid)).read_text())
        }
    instructions, *misses = (int(found[name].replace(",", "")) for name in ("Irefs", "I1misses", "D1misses"))
    return Counted(instructions, sum(misses))


def count_tests(variant: Variant, suites: dict[int, Path], cache: Path) -> Counted:
    """Return what a test takes: the difference between two sizes. Their modules have been compiled before."""
    (small, of_small), (large, of_large) = ((size, count(variant, suite, cache)) for size, suite in suites.items())
    return (of_large - of_small) / (large - small)


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", type=int, default=100)
    parser.add_argument("--large", type=int, default=300)
    parser.add_argument("--peers", action="store_true", help="other plugins too")
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        sys.exit("bench.instructions needs valgrind: apt-get install valgrind")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with running_clickhouse(directory) as server, receiving() as receiver:
            suites = {size: write_suite(directory, size) for size in (options.small, options.large)}
            compared = variants(server, receiver, peers=options.peers)
            plain, *others = (variant for variant in compared if variant.name != "plain again")
            for suite in suites.values():
                command = command_of(plain, suite, "-p", "bench.no_gc")
                subprocess.run(command, env=environment(plain, directory), stdout=subprocess.DEVNULL, check=True)
            of_plain = count_tests(plain, suites, directory / "cache")
            result = Table(title="a test in pytest's process, over plain pytest")
            for column in ("variant", "instructions", "", "L1 misses", ""):
                result.add_column(column, justify="right" if column != "variant" else "left")
            result.add_row("plain, in all", f"{of_plain.instructions:,.0f}", "", f"{of_plain.misses:,.0f}")
            for variant in others:
                more = count_tests(variant, suites, directory / "cache") - of_plain
                shares = (value / of_plain[place] for place, value in enumerate(more))
                cells = zip((f"{value:+,.0f}" for value in more), (f"{share:+.1%}" for share in shares), strict=True)
                result.add_row(variant.name, *(cell for pair in cells for cell in pair))
    Console(width=100).print(result)


if __name__ == "__main__":
    main()
