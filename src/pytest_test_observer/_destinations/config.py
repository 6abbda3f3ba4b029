"""Which destinations a run has, in a form that travels to the helper."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from pytest_test_observer._destinations.otlp_environment import is_disabled, otlp_settings
from pytest_test_observer._destinations.settings import ClickHouseSettings, OtlpSettings
from pytest_test_observer._target import credentials, parse_clickhouse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_test_observer._settings import Settings


class Destinations(msgspec.Struct, frozen=True):
    """Where results go; None is a way that is not configured.

    With both, OTLP comes first and ClickHouse gets what it certainly did not take. False where there is none at all:
    ``OTEL_SDK_DISABLED`` can switch off the only one.
    """

    clickhouse: ClickHouseSettings | None = None
    otlp: OtlpSettings | None = None

    def __bool__(self) -> bool:
        return self.clickhouse is not None or self.otlp is not None

    @property
    def label(self) -> str:
        """How messages name the place; no credentials."""
        return " or ".join(way.label for way in (self.otlp, self.clickhouse) if way)

    @property
    def is_embedded(self) -> bool:
        """Whether sending means opening an engine in the sending process, and nothing on a network."""
        return self.otlp is None and self.clickhouse is not None and self.clickhouse.embedded

    @property
    def secrets(self) -> list[str]:
        """What must never be shown."""
        password = [self.clickhouse.password] if self.clickhouse and self.clickhouse.password else []
        return [*password, *(self.otlp.secrets if self.otlp else ())]


def destinations_of(settings: Settings, environ: Mapping[str, str] = os.environ) -> Destinations:
    """Return where ``settings`` send results; of ``environ`` only OpenTelemetry's variables are read."""
    return Destinations(
        _clickhouse(settings) if settings.ch_url else None,
        otlp_settings(settings, environ) if settings.otlp and not is_disabled(environ) else None,
    )


def _clickhouse(settings: Settings) -> ClickHouseSettings:
    target = parse_clickhouse(settings.ch_url)
    user, password = credentials(settings)
    return ClickHouseSettings.of(
        target,
        user=user,
        password=password,
        database=settings.ch_db,
        table=settings.ch_table,
        auto_migrate=settings.ch_auto_migrate,
        cluster=settings.ch_cluster,
    )
