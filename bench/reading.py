"""How long the commands that read take on ten million rows: ``python -m bench.reading [DIRECTORY]``.

Each command is a process of its own on the embedded engine, whose loading is in every figure; the first figure is that
of a command that asks for next to nothing. Best of three. The history is made in DIRECTORY, and deleted.
"""

from __future__ import annotations

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
)
PATIENCE_S = 600


def main() -> None:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as directory:
        url = f"--ch-url=chdb://{Path(directory) / 'observer.db'}"
        made = _timed(sys.executable, "-m", "tests.history", url, f"--runs={RUNS}", f"--tests={TESTS}")
        print(f"{made:6.2f} s  to make the history: {RUNS:,} runs of {TESTS:,} tests")
        script = str(Path(sys.executable).with_name("pytest-observer"))
        print(
            f"{min(_timed(script, 'runs', '--limit=1', url) for _ in range(3)):6.2f} s  to start and open the database"
        )
        for command in COMMANDS:
            took = min(_timed(script, *command, url) for _ in range(3))
            print(f"{took:6.2f} s  pytest-observer {' '.join(command)}")


def _timed(*command: str) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=PATIENCE_S)
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
