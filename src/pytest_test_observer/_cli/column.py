"""A column of a table that a command prints."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Column"]


class Column(NamedTuple):
    """A column: ``right`` for numbers; ``wide`` is left out on a terminal narrower than 110 columns.

    One that ``shrinks`` breaks its text where the terminal ends.
    """

    name: str
    right: bool = False
    wide: bool = False
    shrinks: bool = False
