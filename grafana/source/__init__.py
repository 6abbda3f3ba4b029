"""The dashboards as Python, from which ``python -m grafana.source`` makes the JSON that Grafana reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from grafana.source import flaky, one_run, one_test, overview

if TYPE_CHECKING:
    from typing import Any

__all__ = ["DIRECTORY", "documents"]

DIRECTORY = Path(__file__).resolve().parents[1] / "dashboards"

_BOARDS: dict[str, dict[str, Any]] = {
    "overview": overview.BOARD,
    "run": one_run.BOARD,
    "test": one_test.BOARD,
    "flaky": flaky.BOARD,
}


def documents() -> dict[Path, str]:
    """Return what each file of ``dashboards/`` has to contain."""
    return {DIRECTORY / f"{name}.json": json.dumps(board, indent=2) + "\n" for name, board in _BOARDS.items()}
