"""The OpenTelemetry Collector of ``otel-collector/``, as a process that a test starts, kills and starts again."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from .client import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .client import ClickHouse

HOME = ROOT / "otel-collector"
BUILD = HOME / "build.sh"
CONFIG = HOME / "config.yaml"
_READY_SECONDS = 30
# What the test changes of the configuration in production: no Tempo, no port for metrics.
_HERE = (
    "yaml:service::pipelines::traces::exporters: [clickhouse]",
    "yaml:service::telemetry::metrics::level: none",
)


def binary() -> Path:
    """Find the Collector that ``make collector`` has built; skips where there is none."""
    done = subprocess.run([BUILD, "--built"], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        pytest.skip("needs the Collector: make collector")
    return Path(done.stdout.strip())


class Collector:
    """One Collector with its queue in ``directory``; ``changes`` are further ``--config`` arguments.

    Its ports stay the same when it is started again.
    """

    def __init__(
        self, program: Path, directory: Path, server: ClickHouse, database: str, changes: tuple[str, ...] = ()
    ) -> None:
        # nobody listens on the last
        self.grpc_port, self.http_port, self._health_port, tempo_port = _free_ports(4)
        self.queue = directory / "queue"
        self._log = directory / "collector.log"
        configs = [f"--config={config}" for config in (CONFIG, *_HERE, *changes)]
        self._command = [str(program), *configs]
        address = urlsplit(server.url)
        self._environment = {
            **os.environ,
            # the test server speaks no compressed blocks
            "CLICKHOUSE_ENDPOINT": f"{address.scheme}://{address.netloc}?compress=none",
            "CLICKHOUSE_USER": server.user,
            "CLICKHOUSE_PASSWORD": server.password,
            "CLICKHOUSE_DATABASE": database,
            "OTLP_GRPC_ENDPOINT": f"127.0.0.1:{self.grpc_port}",
            "OTLP_HTTP_ENDPOINT": f"127.0.0.1:{self.http_port}",
            "HEALTH_CHECK_ENDPOINT": f"127.0.0.1:{self._health_port}",
            "OTELCOL_QUEUE_DIRECTORY": str(self.queue),
            "TEMPO_ENDPOINT": f"127.0.0.1:{tempo_port}",
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def start(self) -> None:
        """Start it and wait until it takes spans."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, env=self._environment, stdout=log, stderr=log)
        deadline = time.monotonic() + _READY_SECONDS
        while not self._is_ready():
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)

    def kill(self) -> None:
        """End it as kill -9 does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End it as a service manager does, and wait for its end."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=60)
            self._process = None

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._health_port, timeout=1)
        with contextlib.closing(connection), contextlib.suppress(OSError):
            connection.request("GET", "/")
            return connection.getresponse().status == 200
        return False


@contextlib.contextmanager
def running_collector(
    program: Path, directory: Path, server: ClickHouse, database: str, changes: tuple[str, ...] = ()
) -> Iterator[Collector]:
    """Run a Collector that writes to ``database`` of ``server`` for the length of a block."""
    directory.mkdir(parents=True, exist_ok=True)
    collector = Collector(program, directory, server, database, changes)
    try:
        collector.start()
        yield collector
    finally:
        collector.kill()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as sockets:
        found = [sockets.enter_context(socket.socket()) for _ in range(count)]
        for one in found:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in found]
