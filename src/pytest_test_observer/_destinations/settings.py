"""Settings of destinations, in a form that travels to the helper; imports no client library."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import msgspec

from pytest_test_observer._secrets import SHORTEST_SECRET
from pytest_test_observer._target import MEMORY

if TYPE_CHECKING:
    from pytest_test_observer._target import ClickHouseTarget

__all__ = ["ClickHouseSettings", "OtlpSettings"]


class ClickHouseSettings(msgspec.Struct, frozen=True):
    """Where and as whom to store.

    ``embedded`` uses the engine in-process on the directory ``path`` (``"memory"``: no directory); else the
    server at ``host``, ``port`` with ``tls`` and a ``url_path`` prefix. ``label`` is how messages name it.
    ``connect_timeout_s`` and ``read_timeout_s`` are whole seconds; the latter is how long it may be silent.
    """

    embedded: bool = False
    path: str = ""
    host: str = "localhost"
    port: int = 8123
    tls: bool = False
    url_path: str = ""
    user: str = "default"
    password: str = ""
    database: str = "default"
    table: str = "pytest_results"
    auto_migrate: bool = True
    cluster: str = ""
    label: str = "ClickHouse"
    connect_timeout_s: int = 3
    read_timeout_s: int = 15

    @classmethod
    def of(
        cls,
        target: ClickHouseTarget,
        *,
        user: str,
        password: str,
        database: str,
        table: str,
        auto_migrate: bool,
        cluster: str,
    ) -> ClickHouseSettings:
        """Return the settings for a parsed URL; user and password are those that count, wherever they come from."""
        return cls(
            embedded=target.embedded,
            path="memory" if target.path == MEMORY else target.path,
            host=target.host,
            port=target.port,
            tls=target.tls,
            url_path=target.url_path,
            user=user,
            password=password,
            database=database,
            table=table,
            auto_migrate=auto_migrate,
            cluster=cluster,
            label=target.label,
        )

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown: the password, also as HTTP's basic authentication writes it."""
        if len(self.password) < SHORTEST_SECRET:
            return ()
        return self.password, base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    def __repr__(self) -> str:
        where = self.path if self.embedded else f"{self.host}:{self.port}{self.url_path}"
        return f"ClickHouseSettings({where!r}, user={self.user!r}, {self.database}.{self.table})"


class OtlpSettings(msgspec.Struct, frozen=True):
    """Where spans go and how: flags, then ``OTEL_*``, resolved once, so that nothing is read again elsewhere.

    ``endpoint`` is what the exporter is given, without user and password (those are among ``headers``, whose names
    are in lower case); ``insecure`` is gRPC's. ``timeout_s`` bounds one request. Paths are absolute. ``problem`` says
    why nothing can be sent at all, ``notes`` what was ignored; neither shows a value that can be secret.
    """

    endpoint: str = ""
    protocol: str = "grpc"
    insecure: bool = False
    headers: dict[str, str] = {}
    timeout_s: float = 10.0
    compression: str = "none"
    certificate: str = ""
    client_key: str = ""
    client_certificate: str = ""
    label: str = "OTLP"
    problem: str = ""
    notes: list[str] = []

    @property
    def secrets(self) -> list[str]:
        """What must never be shown: the values of headers, also without the word that names their scheme."""
        values = [part for value in self.headers.values() for part in (value, value.partition(" ")[2])]
        return [value for value in values if len(value) >= SHORTEST_SECRET]

    def __repr__(self) -> str:
        return f"OtlpSettings({self.label!r}, {self.protocol})"
