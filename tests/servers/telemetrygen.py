"""The OpenTelemetry Collector's own generator of spans, which are none of ours."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

_BUILD = Path(__file__).with_name("telemetrygen.sh")


def binary() -> Path:
    """Find the program that ``make collector`` has built; skips where there is none."""
    done = subprocess.run([_BUILD, "--built"], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        pytest.skip("needs telemetrygen: make collector")
    return Path(done.stdout.strip())
