"""What a replay takes, beside ClickHouse's own ``INSERT … FROM INFILE`` of the same file into the same engine.

The rows of one run go to a test server over loopback (chdb behind HTTP) and to the embedded engine, each twice, so
that the second time all rows are found to be there already; INFILE takes them into a table of the same shape, with as
many threads as it likes and with one; "pieces" is INFILE too, of the batches that a replay would send, two at a time
under their tokens: what the engine itself takes for them. Each is a process of its own and timed as a whole: loading
the engine is in every figure. Memory is to be compared between the sizes.

usage: python -m bench.replay [--rows 100000 1000000] [--ways server embedded pieces infile]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from bench.cost import ROOT
from tests.replay_kit import Replayer
from tests.servers.client import running_clickhouse

if TYPE_CHECKING:
    from tests.servers.client import ClickHouse

WAYS = ("server", "embedded", "pieces", "infile")
# Programs that say at their end what they took: seconds of CPU, peak memory in MiB.
_REPLAY = """
from pytest_test_observer._cli import main
main(standalone_mode=False)
"""
# The plugin makes the table; the settings are those that the rows need to be understood.
_ENGINE = """
import chdb
from pytest_test_observer._destinations import Answer
from pytest_test_observer._destinations.clickhouse import ClickHouseDestination, ClickHouseSettings
path, database, threads = sys.argv[1:]
destination = ClickHouseDestination(ClickHouseSettings(embedded=True, path=database, database="default"))
assert destination.prepare().answer is Answer.TAKEN
destination.close()
settings = f"date_time_input_format='best_effort', input_format_skip_unknown_fields=1{threads}"
def insert(handle, path, more=""):
    statement = f"INSERT INTO pytest_results FROM INFILE '{path}' SETTINGS {settings}{more} FORMAT JSONEachRow"
    handle.query(statement, "CSV")
"""
_INFILE = (
    _ENGINE
    + """
handle = chdb._chdb.connect(database)
insert(handle, path)
handle.close()
"""
)
_PIECES = (
    _ENGINE
    + """
import queue, threading
from pytest_test_observer._journal.cuts import BATCH_BYTES, first_cut
def lane(pieces):
    handle = chdb._chdb.connect(database)
    while (piece := pieces.get()) is not None:
        own = f"{database}.{threading.get_ident()}"
        with open(own, "wb") as file:
            file.write(piece)
        insert(handle, own, f", insert_deduplication_token='{hash(piece)}'")
    handle.close()
pieces = queue.Queue(2)
lanes = [threading.Thread(target=lane, args=(pieces,)) for _ in range(2)]
for one in lanes:
    one.start()
with open(path, "rb") as file:
    while chunk := file.read(BATCH_BYTES):
        end, _ = first_cut(chunk)
        file.seek(end - len(chunk), 1)
        pieces.put(chunk[:end])
for _ in lanes:
    pieces.put(None)
for one in lanes:
    one.join()
"""
)
_MEASURED = """
import os, sys
from bench.peak import peak_mib
code = 0
try:
    {program}
except SystemExit as ended:
    code = ended.code or 0
times = os.times()
print(times.user + times.system, peak_mib())
sys.stdout.flush()
os._exit(code)
"""
_ONE_THREAD = ", max_threads=1, max_insert_threads=1, input_format_parallel_parsing=0"


class Bench:
    """Measures ``rows`` rows in ``directory``."""

    def __init__(self, directory: Path, server: ClickHouse, rows: int, table: Table) -> None:
        self._directory = directory
        self._table = table
        self._rows = rows
        self._replayer = Replayer(directory, server, "default")
        self._file = self._replayer.keep_run(rows).results
        self._size = os.path.getsize(self._file)

    def replay(self, way: str) -> None:
        """Replay to a destination, and once more what is there already."""
        flags = [f"--ch-url=chdb://{self._directory}/observer.db"] if way == "embedded" else []
        for label in (f"replay, {way}", f"replay, {way}, all there"):
            shutil.copytree(self._replayer.buffers, self._directory / "buffers")  # what has arrived is deleted
            self._measure(label, _REPLAY, "replay", *flags, f"{self._directory}/buffers")
            (self._directory / "buffers").rmdir()

    def infile(self) -> None:
        """Let the engine do it alone."""
        for label, threads in (("INFILE", ""), ("INFILE, one thread", _ONE_THREAD)):
            self._engine(label, _INFILE, threads)

    def pieces(self) -> None:
        """Let the engine take the batches of a replay, and do nothing else."""
        self._engine("INFILE, batches", _PIECES, ", input_format_parallel_parsing=0")

    def _engine(self, label: str, program: str, settings: str) -> None:
        self._measure(label, program, self._file, f"{self._directory}/{label.replace(' ', '')}.db", settings)

    def _measure(self, label: str, program: str, *arguments: str) -> None:
        code = _MEASURED.format(program="    ".join(program.strip().splitlines(keepends=True)))
        env = {**os.environ, **self._replayer.env, "PYTHONPATH": str(ROOT)}
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], env=env, capture_output=True, text=True, check=False
        )
        wall = time.perf_counter() - started
        if done.returncode or not done.stdout:
            raise SystemExit(done.stdout + done.stderr)
        cpu, peak = map(float, done.stdout.splitlines()[-1].split())
        rate = f"{self._rows / wall:,.0f}"
        self._table.add_row(f"{self._rows:,}", label, rate, f"{wall:.1f} s", f"{cpu:.1f} s", f"{peak:.0f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    options = parser.parse_args()
    table = Table(title=f"{len(os.sched_getaffinity(0))} processors")
    for column in ("rows", "way", "rows/s", "wall", "CPU", "peak MiB"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as directory, running_clickhouse(Path(directory)) as server:
            bench = Bench(Path(directory), server, rows, table)
            engine = {"infile": bench.infile, "pieces": bench.pieces}
            for way in options.ways:
                engine[way]() if way in engine else bench.replay(way)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
