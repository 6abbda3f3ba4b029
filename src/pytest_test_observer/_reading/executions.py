"""What one run is: the sessions of pytest that share an id, service, variant and CI attempt, added up.

Shards of a job are such sessions. A repeated CI job has another attempt, a cell of a matrix another variant, and a
part of a monorepo another service: each is a run of its own.
"""

from __future__ import annotations

__all__ = ["EXECUTION", "NAMES", "SLACK_MS", "executions", "last_of"]

EXECUTION = ("run_id", "repository", "service", "variant", "ci_attempt")
"""The columns that name a run, in the table of runs and in that of results."""

SLACK_MS = 3_600_000
"""How long before and after a run its results are looked for: clocks of workers on other machines may differ."""

# Of one session: no other has its spans, whose ids are random. Rows without are from elsewhere.
_ATTEMPT = "(trace_id, parent_span_id, attempt)"
_BAD = "status IN ('failed', 'broken')"
# The same in all sessions of a run, as a rule: nothing is shown where it is not.
_COMMON = "if(uniqExact({0}) = 1, any({0}), '')"
_SUMMED = ("collected", "not_run", "passed", "failed", "broken", "skipped", "flaky", "reruns", "workers")
# Each shard knows how many tests there are in all. A suite is whole when its shards have them all together.
_WHOLE = "count() > 1 AND uniqExact(collected + deselected) = 1 AND sum(collected) >= max(collected + deselected)"
_SPAN_S = "(toFloat64(max(finished_at)) - toFloat64(min(started_at))) / 1000"
_FACTS = {
    **{name: name for name in EXECUTION},
    "sessions": "count()",
    "ended": "max(timestamp)",
    "started_at": "min(started_at)",
    "finished_at": "max(finished_at)",
    "duration": f"if(count() = 1, any(duration), {_SPAN_S})",
    "status": "multiIf(countIf(status = 'aborted') > 0, 'aborted', countIf(status = 'failure') > 0, 'failure', "
    "countIf(status = 'success') > 0, 'success', any(toString(status)))",
    "exit_status": "max(exit_status)",
    **{name: f"sum({name})" for name in _SUMMED},
    "deselected": f"if({_WHOLE}, 0, sum(deselected))",
    "found": "max(collected + deselected)",
    "partial": f"max(partial) AND NOT ({_WHOLE} AND sum(not_run) = 0)",
    **{name: _COMMON.format(name) for name in ("ci_job", "ci_url", "trace_id")},
    **{name: f"any({name})" for name in ("ci_provider", "ci_run_id", "change_id", "git_commit", "git_branch")},
}
NAMES = tuple(name for name in _FACTS if name != "ended")
"""The columns of a run that are for readers; ``ended`` beside them is the time to sort by."""


def last_of(column: str, position: str) -> str:
    """Return the SQL of what ``column`` of a result has in the last attempt of a test in a run, by ``position``.

    The same attempt of one session is there several times where each worker runs every test (``--dist each``), and
    where a test is collected twice (``--keep-duplicates``). Then one that is not good counts: nothing replaced it.
    """
    last = f"argMax({_ATTEMPT}, {position})"
    beside = f"has(groupArrayIf({_ATTEMPT}, {_BAD} AND trace_id != ''), {last})"
    return f"if({beside}, argMaxIf({column}, {position}, {_BAD}), argMax({column}, {position}))"


def executions(source: str, where: str) -> str:
    """Return a SELECT of runs, one row each, out of the table of runs ``source``.

    Beside the columns of the table it has ``sessions``; ``found``, how many tests the largest session came upon,
    deselected ones too; and ``ended``, a time. ``where`` is about sessions.
    """
    # under other names first: ClickHouse would take the name of a column for what is made of it
    inner = ", ".join(f"{text} AS {name}_" for name, text in _FACTS.items())
    outer = ", ".join(f"{name}_ AS {name}" for name in _FACTS)
    grouped = ", ".join(f"{name}_" for name in EXECUTION)
    return f"SELECT {outer} FROM (SELECT {inner} FROM {source} WHERE {where} GROUP BY {grouped})"  # noqa: S608
