"""A column of a table that a command prints."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Column"]


class Column(NamedTuple):
    """A column: ``right`` for numbers.

    Where a table is wider than the terminal, columns that are ``long`` share a line of their own, so that an id is
    never cut in pieces; if that does not do, those that are ``spare`` are left out. One that ``tells`` is there only
    if its values differ.
    """

    name: str
    right: bool = False
    long: bool = False
    spare: bool = False
    tells: bool = False
