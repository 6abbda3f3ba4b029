"""Pytest runs whose journals are kept, and both ways from there to tables."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.servers.faulty import faulty

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit import Run, Workbench
    from tests.servers.client import ClickHouse
    from tests.servers.collector import Collector

PROTOCOLS = ("grpc", "http/protobuf")

HOSTILE = r"""
import pytest

TEXTS = [
    "", "plain", "'quoted' \"twice\" `thrice`", "back\\slash \\n \\u0041 \\", "line\nfeed\r\n\ttab\u2028\u2029\x85",
    "nul\x00inside\x00", "\x01\x1b[31m\x7f", "\u202eright to left \u05d0\u05d1\u05d2\u202c",
    "emoji \U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467 e\u0301", "<b>&amp;</b> %41 ${HOME} {{x}} $$",
    '["not","an","array"]', '{"not": "an object"}', "true", "0", "1e3", "\ufeffbom \ufffd", " leading and trailing ",
]
# Lone surrogates: execnet cannot carry them in what pytest itself reports.
LONE = "\ud800 lone \udc80"
KEYS = ["", "pytest.event.seq", "pytest.event.key:", "exception.message", *TEXTS, LONE]


@pytest.mark.parametrize("number", range(TESTS))
def test_text(number, record_event, record_property):
    text, other = TEXTS[number % len(TEXTS)], TEXTS[number // len(TEXTS) % len(TEXTS)]
    record_property("plain", text)
    record_property(other or "none", text + other)
    record_event(text, {KEYS[number % len(KEYS)]: other, other: text, "lone": LONE})
    if number % 4 == 1:
        pytest.skip(text + other)
    assert number % 10, text + other


@pytest.mark.parametrize("text", TEXTS)
def test_identity(text):
    pass


def test_many_events(record_event):
    for number in range(3_000):
        record_event(f"event {number}", {"n": str(number), "text": TEXTS[number % len(TEXTS)]})


def test_long_message():
    raise ValueError("long " * 20_000)


class TestLone:
    def test_message(self):
        raise ValueError(LONE)

    def test_reason(self):
        pytest.skip(LONE)

    def test_property(self, record_property):
        record_property(LONE, LONE)
"""


def keep(bench: Workbench, *arguments: str) -> Run:
    """Run the suite for an endpoint that refuses, so that all of it stays on disk."""
    with faulty("refusing") as nobody:
        flags = (f"--otlp-endpoint={nobody.url}", "--custom-events=true", "--observer-exit-timeout=0.2")
        done = bench.run(*flags, *arguments)
    assert done.returncode == 1, done.stdout + done.stderr
    assert ": 0 results sent" in done.summary, done.stdout
    return done


def to_collector(collector: Collector, protocol: str) -> list[str]:
    """Return the flags that send to a Collector."""
    port = collector.grpc_port if protocol == "grpc" else collector.http_port
    return [f"--otlp-endpoint=http://127.0.0.1:{port}", f"--otlp-protocol={protocol}"]


def to_database(server: ClickHouse, database: str) -> list[str]:
    """Return the flags that send to a database of a server; the password is for the environment."""
    return [f"--ch-url={server.url}", f"--ch-db={database}", f"--ch-user={server.user}"]


def replay(bench: Workbench, copy: Path, password: str, flags: list[str]) -> None:
    """Replay a copy of what runs have left, wholly."""
    shutil.copytree(bench.cache, copy)
    run_replay(bench, flags, {"XDG_CACHE_HOME": str(copy), "PYTEST_OBSERVER_CH_PASSWORD": password})
    assert os.listdir(copy / "pytest-test-observer") == []


def run_replay(bench: Workbench, flags: list[str], env: dict[str, str] | None = None) -> None:
    """Replay what runs have left, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest_test_observer.replay", *flags],
        env=bench.environment({**(env or {}), "TMPDIR": str(bench.suite.parent)}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
