"""What the package weighs: installed into a bare environment, and imported.

usage: python -m bench.install
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 15
ROOT = Path(__file__).parent.parent
# What pytest imports where the package is installed, and what it imports more once a destination is configured.
OFF, ON = "pytest_test_observer.plugin", "pytest_test_observer._hooks"
TIMED = """
import sys, time
import pytest, _pytest.cacheprovider  # what pytest has imported by then
before, began = len(sys.modules), time.perf_counter()
for name in sys.argv[1:]: __import__(name)
print(time.perf_counter() - began, len(sys.modules) - before)
"""


def main() -> None:
    """Install the wheel, import it, and print a line for each figure."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", name)
        (wheel,) = place.glob("*.whl")
        _run(sys.executable, "-m", "venv", str(place / "bare"))
        python = place / "bare" / "bin" / "python"
        packages = next((place / "bare" / "lib").glob("python3*")) / "site-packages"
        before, size = _packages(packages), _size(packages)
        began = time.perf_counter()
        _run(str(python), "-m", "pip", "install", "--quiet", str(wheel))
        seconds = time.perf_counter() - began
        print(f"wheel: {wheel.stat().st_size / 1e3:.0f} kB")
        print(f"installed in {seconds:.0f} s: {_packages(packages) - before} packages, {_size(packages) - size:.0f} MB")
        for label, modules in (("off", [OFF]), ("on", [OFF, ON])):
            took = [_run(str(python), "-c", TIMED, *modules).split() for _ in range(ROUNDS + 1)][1:]
            ms = statistics.median(float(line[0]) for line in took) * 1000
            print(f"imports while {label}: {ms:.1f} ms, {took[0][1]} modules")


def _run(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def _packages(site: Path) -> int:
    return len(list(site.glob("*.dist-info")))


def _size(site: Path) -> float:
    """Return megabytes of the files, compiled ones too."""
    return sum(file.stat().st_size for file in site.rglob("*") if file.is_file()) / 1e6


if __name__ == "__main__":
    main()
