"""The one run that somebody names; where several are called so, what tells them apart."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from pytest_test_observer._reading.reader import ReadingError
from pytest_test_observer._reading.runs import LATEST, MOST_NAMED, find_runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_test_observer._reading.filters import Filters
    from pytest_test_observer._reading.reader import Reader

__all__ = ["the_run"]

# What tells runs of one id apart, by the options of commands.
_OPTIONS = {"repository": "--repository", "service": "--service", "variant": "--variant"}


def the_run(reader: Reader, run_id: str, filters: Filters) -> dict[str, Any]:
    """Return the run of an id, of its unique beginning, or the latest one; of the attempts of a CI job the last.

    Raises ``ReadingError`` where there is none, and where there are several: it names them as they can be asked for.
    """
    found = find_runs(reader, run_id, filters)
    if len(found) == 1:
        return found[0]
    if found:
        raise ReadingError(f"{run_id!r} names several runs. Ask for one of them:\n  " + "\n  ".join(_asked(found)))
    if filters.attempt is not None and (others := find_runs(reader, run_id, filters._replace(attempt=None))):
        there_is = "; ".join(map(_last_attempt, others))
        raise ReadingError(f"{run_id}: there is no attempt {filters.attempt} of it: {there_is}.")
    raise ReadingError(_none(run_id, filters))


def _none(run_id: str, filters: Filters) -> str:
    if run_id == LATEST:
        return "no run is recorded there of that time and kind: take a longer time, or fewer filters."
    narrowed = " with these filters" if filters.equal else ""
    return (
        f"no run whose id is or begins with {run_id!r} is recorded there{narrowed}: `pytest-observer runs` lists them, "
        "each when it has ended. Results that were kept on disk are sent by `pytest-observer replay`."
    )


def _last_attempt(run: dict[str, Any]) -> str:
    if not run["ci_attempt"]:
        return f"{run['run_id']} has no attempts of a CI job, leave out --attempt"
    return f"{run['run_id']} had its last as attempt {run['ci_attempt']}"


def _asked(found: Sequence[dict[str, Any]]) -> list[str]:
    """Return arguments that name each of the runs, and no more of them than it takes."""
    telling = [name for name in _OPTIONS if len({row[name] for row in found}) > 1]
    names = sorted(
        " ".join([shlex.quote(row["run_id"]), *(f"{_OPTIONS[name]}={shlex.quote(row[name])}" for name in telling)])
        for row in found[:MOST_NAMED]
    )
    return [*names, *(["and more"] if len(found) > MOST_NAMED else [])]
