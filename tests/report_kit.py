"""A report made as a user makes it, and read back."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner, Result

from pytest_test_observer._cli import main
from pytest_test_observer._settings import SETTINGS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.client import ClickHouse

_DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


def write(server: ClickHouse, database: str, file: Path | str, *arguments: str) -> Result:
    """Run ``pytest-observer report``."""
    unset = {row.env: None for row in SETTINGS}
    secrets = {"PYTEST_OBSERVER_CH_USER": server.user, "PYTEST_OBSERVER_CH_PASSWORD": server.password}
    command = ["report", f"--ch-url={server.url}", f"--ch-db={database}", "-o", str(file), *arguments]
    return CliRunner().invoke(main, command, env={**unset, **secrets})


class Read:
    """The data of a report."""

    def __init__(self, page: str) -> None:
        (found,) = _DATA.findall(page)
        self.all: dict[str, Any] = json.loads(found)
        self.about = self.all["about"]

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Return a table as rows, with texts for their numbers."""
        return self._rows(self.all[name])

    @property
    def timelines(self) -> list[list[dict[str, Any]]]:
        """Each run's attempts."""
        return [self._rows(timeline) for timeline in self.all["timelines"]]

    def tests(self) -> dict[str, dict[str, Any]]:
        """Return the tests by their names."""
        return {row["nodeid"]: row for row in self.rows("tests")}

    def _rows(self, sheet: dict[str, Any]) -> list[dict[str, Any]]:
        strings, texts = self.all["strings"], set(sheet["texts"])
        columns = {
            name: [strings[value] for value in values] if name in texts else values
            for name, values in sheet["columns"].items()
        }
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
