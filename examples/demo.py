"""Runs the examples into one embedded database and prints what it knows then: ``make demo``."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent
SUITES = ("basic", "xdist", "allure")
# pytest's exit codes for "all passed" and "some failed": the examples have tests that fail on purpose.
EXPECTED = (0, 1)
# Plugins of the developers' environment that the examples do without.
QUIET = ("-p", "no:asyncio", "-p", "no:cacheprovider")


def run(suite: str, url: str) -> int:
    """Run the tests of one example, observed, and return pytest's exit code."""
    command = ["pytest", f"--ch-url={url}"]
    print(f"\n$ cd examples/{suite}\n$ {shlex.join(command)}", flush=True)
    environment = {**os.environ, "OTEL_SERVICE_NAME": f"shop-{suite}"}
    arguments = [sys.executable, "-m", *command, *QUIET]
    return subprocess.run(arguments, cwd=EXAMPLES / suite, env=environment, check=False).returncode


def main(database: str) -> int:
    """Fill the database in the directory ``database`` and report; returns an exit code."""
    url = f"chdb://{Path(database).resolve()}"
    codes = {suite: run(suite, url) for suite in SUITES}
    unexpected = {suite: code for suite, code in codes.items() if code not in EXPECTED}
    if unexpected:
        print(f"\npytest ended unexpectedly: {unexpected}", file=sys.stderr)
        return 1
    command = ["examples/report.py", f"chdb://{database}"]
    print(f"\n$ python {shlex.join(command)}", flush=True)
    return subprocess.run([sys.executable, EXAMPLES / "report.py", url], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
