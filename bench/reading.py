"""How long the commands that read take on ten million rows: ``python -m bench.reading [DIRECTORY]``.

Each command is a process of its own on the embedded engine, whose loading is in every figure; the first figure is that
of a command that asks for next to nothing. Best of three, and the CPU time of that one, which says more on a busy
machine. The history is made in DIRECTORY, where it stays for the next time; without one it is deleted.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS, TESTS = 5000, 2200
COMMANDS = (
    ("runs",),
    ("run", "latest"),
    ("test", "test_broken_"),
    ("flaky",),
    ("slow",),
    ("flaky", "--since=91d"),
    ("slow", "--since=91d"),
    ("report", "--output=-"),
    ("report", "--output=-", "--run=latest"),
    ("report", "--output=-", "--since=91d"),
    ("doctor",),
)
PATIENCE_S = 600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", nargs="?", type=Path)
    given = parser.parse_args().directory
    with contextlib.nullcontext(str(given)) if given else tempfile.TemporaryDirectory() as directory:
        database = Path(directory).resolve() / "observer.db"
        url = f"--ch-url=chdb://{database}"
        # where a run would keep its rows; doctor looks there
        environment = {**os.environ, "XDG_CACHE_HOME": directory}
        if not database.exists():
            history = (sys.executable, "-m", "tests.history", url, f"--runs={RUNS}", f"--tests={TESTS}")
            made, _ = _timed(environment, *history)
            print(f"{made:6.2f} s              to make the history: {RUNS:,} runs of {TESTS:,} tests")
        script = str(Path(sys.executable).with_name("pytest-observer"))
        for command in (("runs", "--limit=1"), *COMMANDS):
            took, cpu = min(_timed(environment, script, *command, url) for _ in range(3))
            print(f"{took:6.2f} s  CPU {cpu:5.2f} s  pytest-observer {' '.join(command)}", flush=True)


def _timed(environment: dict[str, str], *command: str) -> tuple[float, float]:
    """Run a command; return the seconds it took, and those of CPU."""
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=PATIENCE_S, env=environment)
    took, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


if __name__ == "__main__":
    main()
