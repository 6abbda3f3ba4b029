"""Which destinations a run has, in a form that travels to the helper."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pytest_test_observer._destinations.settings import ClickHouseSettings
from pytest_test_observer._target import MEMORY, credentials, parse_clickhouse

if TYPE_CHECKING:
    from pytest_test_observer._settings import Settings


class Destinations(msgspec.Struct, frozen=True):
    """Where results go; None is a way that is not configured."""

    clickhouse: ClickHouseSettings | None = None

    @property
    def label(self) -> str:
        """How messages name the place; no credentials."""
        return self.clickhouse.label if self.clickhouse else ""

    @property
    def is_embedded(self) -> bool:
        """Whether sending means opening an engine in the sending process."""
        return self.clickhouse is not None and self.clickhouse.embedded

    @property
    def secrets(self) -> list[str]:
        """What must never be shown."""
        return [self.clickhouse.password] if self.clickhouse and self.clickhouse.password else []


def destinations_of(settings: Settings) -> Destinations:
    """Return where ``settings`` send results."""
    return Destinations(_clickhouse(settings) if settings.ch_url else None)


def _clickhouse(settings: Settings) -> ClickHouseSettings:
    target = parse_clickhouse(settings.ch_url)
    user, password = credentials(settings)
    return ClickHouseSettings(
        embedded=target.embedded,
        path="memory" if target.path == MEMORY else target.path,
        host=target.host,
        port=target.port,
        tls=target.tls,
        url_path=target.url_path,
        user=user,
        password=password,
        database=settings.ch_db,
        table=settings.ch_table,
        auto_migrate=settings.ch_auto_migrate,
        cluster=settings.ch_cluster,
        label=target.label,
    )
