"""What a replay takes: ``python -m bench.replay [rows]`` prints rows a second, CPU time and peak memory.

The rows of one run go to a test server over loopback (chdb behind HTTP), then to the embedded engine; each twice, so
that the second time all rows are found to be there already.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.replay_kit import Replayer
from tests.servers.client import running_clickhouse

_MEASURED = """
import resource, time
from pytest_test_observer._cli import main
start = time.perf_counter()
try:
    main()
finally:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
"""


def measure(replayer: Replayer, rows: int, label: str, *arguments: str) -> None:
    command = [sys.executable, "-c", _MEASURED, "replay", "--keep", *arguments]
    done = subprocess.run(command, env={**os.environ, **replayer.env}, capture_output=True, text=True, check=True)
    seconds, cpu, peak = map(float, done.stdout.splitlines()[-1].split())
    print(f"{label:24} {rows / seconds:>9,.0f} rows/s  {seconds:6.2f} s  CPU {cpu:5.2f} s  peak {peak:4.0f} MB")


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as directory, running_clickhouse(Path(directory)) as server:
        replayer = Replayer(Path(directory), server, "default")
        size = os.path.getsize(replayer.keep_run(rows).results)
        print(f"{rows:,} rows, {size / 1e6:.1f} MB")
        embedded = f"--ch-url=chdb://{directory}/observer.db"
        for label, arguments in (("server", ()), ("embedded", (embedded,))):
            measure(replayer, rows, label, *arguments)
            measure(replayer, rows, f"{label}, all there", *arguments)


if __name__ == "__main__":
    main()
