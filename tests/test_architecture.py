"""docs/architecture.md names the modules that there are, each once at least."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "pytest_test_observer"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
# What every package has.
OBVIOUS = {"__init__.py", "_version.py"}


def test_every_module_and_package_has_its_place_on_the_page() -> None:
    modules = {file.name for file in SOURCE.glob("*.py")} - OBVIOUS
    packages = {f"{file.parent.name}/" for file in SOURCE.glob("*/__init__.py")}
    named = set(re.findall(r"`(\w+\.py|\w+/)`", PAGE))
    assert modules | packages <= named


def test_no_module_is_named_that_is_not_there() -> None:
    there = {file.name for file in SOURCE.rglob("*.py")}
    assert set(re.findall(r"`(?:\w+/)?(\w+\.py)`", PAGE)) <= there
