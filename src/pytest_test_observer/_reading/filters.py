"""What of the history is looked at: conditions of SQL, with their values beside it."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import NamedTuple

__all__ = ["Filters", "parse_since"]

_UNITS_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}
_AGO = re.compile(rf"(\d{{1,6}})\s*([{''.join(_UNITS_MS)}])")
# From names of filters to the columns that they are about.
_COLUMNS = {"repository": "repository", "service": "service", "branch": "git_branch", "variant": "variant"}
SINCE_FORMS = "a number with m, h, d or w, as in 30d, or a date, as in 2026-01-31 (UTC)"


class Filters(NamedTuple):
    """Conditions on rows of results and runs; None does not limit. ``since_ms`` is milliseconds since 1970.

    ``attempt`` is that of a CI job, not of a test.
    """

    branch: str | None = None
    variant: str | None = None
    service: str | None = None
    repository: str | None = None
    attempt: int | None = None
    since_ms: int = 0
    limit: int = 20

    @property
    def where(self) -> str:
        """The conditions, for after WHERE. The time prunes whole months, whose parts it is known of."""
        conditions = ["timestamp >= fromUnixTimestamp64Milli({since_ms:Int64})"]
        conditions += [f"{column} = {{{name}:String}}" for name, column in _COLUMNS.items() if self._has(name)]
        return " AND ".join([*conditions, *(["ci_attempt = {attempt:UInt16}"] if self._has("attempt") else [])])

    @property
    def equal(self) -> tuple[tuple[str, str], ...]:
        """The columns that must have a text, each with it."""
        return tuple((column, getattr(self, name)) for name, column in _COLUMNS.items() if self._has(name))

    @property
    def parameters(self) -> dict[str, object]:
        """The values that ``where`` and ``LIMIT {limit:UInt64}`` speak of."""
        return {name: value for name, value in self._asdict().items() if value is not None}

    def _has(self, name: str) -> bool:
        return getattr(self, name) is not None


def parse_since(text: str, now_ms: int) -> int:
    """Return when ``text`` means, in milliseconds since 1970; raises ``ValueError`` with what is accepted."""
    ago = _AGO.fullmatch(text.strip())
    if ago:
        return max(now_ms - int(ago[1]) * _UNITS_MS[ago[2]], 0)
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"accepted: {SINCE_FORMS}") from None
    return max(int((moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp() * 1000), 0)
