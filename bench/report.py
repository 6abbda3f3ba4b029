"""What a report takes: ``python -m bench.report [tests] [runs]`` prints how long it is made and how long it opens.

A history (see tests/history.py) goes into an embedded database; the command writes the reports of its time and of its
last run, each as a process of its own; Chromium opens them, five times each.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

_REPEATED = 5
# From the beginning of the navigation until all is drawn.
_DRAWN = "performance.now()"


def made(database: str, file: Path, *arguments: str) -> float:
    """Return the seconds that the command takes."""
    command = [str(Path(sys.executable).with_name("pytest-observer")), "report", f"--ch-url={database}"]
    begin = time.perf_counter()
    subprocess.run([*command, "-o", str(file), *arguments], check=True)
    return time.perf_counter() - begin


def opened(browser: Browser, file: Path) -> list[float]:
    """Return the seconds until a page is drawn, of each time."""
    found = []
    for _ in range(_REPEATED):
        page = browser.new_page()
        page.goto(file.as_uri())
        page.wait_for_selector("html[data-ready]", state="attached")
        found.append(page.evaluate(_DRAWN) / 1000)
        page.close()
    return found


def main() -> None:
    given = sys.argv[1:3]
    tests, runs = (*given, *("20000", "40")[len(given) :])
    with tempfile.TemporaryDirectory() as directory, sync_playwright() as playwright:
        database = f"chdb://{directory}/observer.db"
        history = ["-m", "tests.history", f"--ch-url={database}", f"--tests={tests}", f"--runs={runs}", "--days=60"]
        subprocess.run([sys.executable, *history], check=True, stdout=subprocess.DEVNULL)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, arguments in {"of 60 days": ["--since=61d"], "of a run": ["--run=latest", "--since=61d"]}.items():
            file = Path(directory) / "report.html"
            seconds = made(database, file, *arguments)
            times = opened(browser, file)
            print(
                f"{name:12} {file.stat().st_size / 1e6:5.1f} MB  made in {seconds:5.2f} s  "
                f"opens in {statistics.median(times):4.2f} s ({min(times):4.2f} to {max(times):4.2f})"
            )
        browser.close()


if __name__ == "__main__":
    main()
