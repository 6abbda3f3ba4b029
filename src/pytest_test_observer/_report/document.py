"""What stands in the file: tables of columns, in which a text that repeats is written once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Document", "Sheet", "Strings"]


class Strings:
    """A table of texts; a text has the same number wherever it stands."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        """Return the number of a text, a new one where it is new."""
        return self._numbers.setdefault(text, len(self._numbers))

    @property
    def table(self) -> list[str]:
        """The texts, each at its number."""
        return list(self._numbers)


class Sheet(NamedTuple):
    """A table by columns of equal length; ``texts`` names those columns that have numbers of strings."""

    columns: dict[str, Sequence[Any]]
    texts: tuple[str, ...] = ()

    @classmethod
    def of(cls, columns: Mapping[str, Sequence[Any]], strings: Strings, repeated: Iterable[str]) -> Sheet:
        """Return a sheet whose columns ``repeated`` have their texts in ``strings``."""
        texts = tuple(repeated)
        packed = {name: [strings.number(value) for value in columns[name]] for name in texts}
        return cls({**columns, **packed}, texts)


class Document(NamedTuple):
    """All that the page shows. Times are milliseconds since 1970, durations seconds, rows are named by their number.

    ``about`` has what is no table: the span of time, what was asked for, where it came from.
    """

    about: dict[str, Any]
    strings: Strings
    runs: Sheet
    tests: Sheet
    groups: Sheet
    failures: Sheet
    timelines: list[tuple[int, Sheet]]

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        sheets = {name: getattr(self, name)._asdict() for name in ("runs", "tests", "groups", "failures")}
        timelines = [{"run": run, **sheet._asdict()} for run, sheet in self.timelines]
        return {"about": self.about, **sheets, "timelines": timelines, "strings": self.strings.table}
