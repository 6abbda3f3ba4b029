"""Other plugins with the same purpose, each in an environment of its own beside the version of pytest that we use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

PLACE = Path(__file__).parent.parent / "build" / "peers"


class Peer(NamedTuple):
    """A plugin: what is installed, the module of its plugin, the arguments and variables that send to an endpoint."""

    name: str
    requirement: str
    module: str
    arguments: list[str]
    env: dict[str, str]


# ``{url}`` is a ClickHouse server, ``{grpc}`` an OTLP receiver.
PEERS = (
    Peer(
        "version 0.2.0 (server)",
        "pytest-test-observer==0.2.0",
        "pytest_test_observer.plugin",
        ["--ch-url={url}", "--ch-user={user}"],
        {"PYTEST_OBSERVER_CH_PASSWORD": "{password}"},
    ),
    Peer(
        "pytest-opentelemetry",
        "pytest-opentelemetry",
        "pytest_opentelemetry.plugin",
        ["--export-traces"],
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "{grpc}", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    ),
    Peer(
        "pytest-otel",
        "pytest-otel",
        "pytest_otel",
        ["--otel-endpoint={grpc}", "--otel-insecure=true"],
        {},
    ),
)


def installed(peer: Peer) -> str | None:
    """Return the interpreter of a peer's environment, made if it is missing; None where it cannot be installed."""
    place = PLACE / peer.requirement
    python = place / "bin" / "python"
    if (place / "installed").exists():
        return str(python)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in (
        [sys.executable, "-m", "venv", str(place)],
        [*pip, f"pytest=={pytest.__version__}", peer.requirement],
    ):
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            print(f"{peer.name} left out: {(run.stderr or run.stdout).strip().splitlines()[-1]}")
            return None
    (place / "installed").touch()
    return str(python)
