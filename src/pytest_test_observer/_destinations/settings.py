"""Settings of destinations, in a form that travels to the helper; imports no client library."""

from __future__ import annotations

import msgspec

__all__ = ["ClickHouseSettings"]


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

    def __repr__(self) -> str:
        where = self.path if self.embedded else f"{self.host}:{self.port}{self.url_path}"
        return f"ClickHouseSettings({where!r}, user={self.user!r}, {self.database}.{self.table})"
