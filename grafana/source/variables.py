"""Variables of the dashboards. One value each, or "All": a list of values cannot be encoded without doubt."""

# ruff: noqa: S608 - text for Grafana; values are put in by the variables' format
from __future__ import annotations

from typing import Any

from grafana.source.panels import CLICKHOUSE
from grafana.source.sql import CONTEXT, FEATURE, OF_RUNS, RESULTS, RUN, RUNS, STORY, TIME, all_of, unless_all, value

__all__ = ["ATTEMPTS", "CONTEXTS", "FEATURES", "MARKERS", "NODEIDS", "RUN_IDS", "SEARCH", "TABLES"]

_ON_LOAD, _ON_TIME_RANGE = 1, 2
# Of this many values one can be picked in a list; the field beside node ids narrows them.
_LISTED = 1000


def _variable(name: str, label: str, description: str, sql: str, *, every: bool, refresh: int) -> dict[str, Any]:
    current = {"text": "All", "value": "$__all"} if every else {}
    return {
        "type": "query",
        "name": name,
        "label": label,
        "description": description,
        "datasource": CLICKHOUSE,
        "query": sql,
        "definition": sql,
        "refresh": refresh,
        "sort": 0,
        "multi": False,
        "includeAll": every,
        "current": current,
        "options": [],
        "hide": 0,
    }


def _values(name: str, label: str, column: str, expression: str = "", narrowed: tuple[str, ...] = ()) -> dict[str, Any]:
    expression = expression or column
    sql = (
        f"SELECT DISTINCT {expression} AS found FROM {RESULTS}\n"
        f"WHERE {all_of(TIME, *narrowed)}\nORDER BY found LIMIT {_LISTED}"
    )
    # an empty value could not be told from "All"
    sql = f"SELECT found FROM (\n{sql}\n) WHERE found != ''"
    return _variable(name, label, f"{label} of the results.", sql, every=True, refresh=_ON_TIME_RANGE)


# A results table has those of events and runs beside it. Materialized views repeat the columns of their targets.
TABLES = _variable(
    "table",
    "Table",
    "A table of results in the database of the data source.",
    "SELECT table FROM system.columns\n"
    "WHERE database = currentDatabase() AND NOT match(table, '[^A-Za-z0-9_]')\n"
    "  AND (database, concat(table, '_events')) IN (SELECT database, name FROM system.tables)\n"
    "  AND (database, concat(table, '_runs')) IN (SELECT database, name FROM system.tables)\n"
    "  AND (database, table) NOT IN (SELECT database, name FROM system.tables WHERE engine = 'MaterializedView')\n"
    "GROUP BY table HAVING hasAll(groupArray(name), ['nodeid', 'status', 'attempt'])\n"
    "ORDER BY table != 'pytest_results', table",
    every=False,
    refresh=_ON_LOAD,
)
CONTEXTS = [
    _values("repository", "Repository", "repository"),
    _values("service", "Service", "service", narrowed=CONTEXT[:1]),
    _values("branch", "Branch", "git_branch", narrowed=CONTEXT[:2]),
    _values("provider", "CI system", "ci_provider", narrowed=CONTEXT[:2]),
    _values("variant", "Variant", "variant", narrowed=CONTEXT[:2]),
]
FEATURES = [
    _values("feature", "Feature", "feature", "arrayJoin(allure_labels['feature'])", narrowed=CONTEXT[:2]),
    _values("story", "Story", "story", "arrayJoin(allure_labels['story'])", narrowed=(*CONTEXT[:2], FEATURE)),
]
MARKERS = [_values("marker", "Marker", "marker", "arrayJoin(markers)", narrowed=CONTEXT[:2])]
SEARCH = {
    "type": "textbox",
    "name": "search",
    "label": "Node id contains",
    "description": "Narrows the list of node ids.",
    "query": "",
    "current": {"text": "", "value": ""},
    "options": [],
    "hide": 0,
}
NODEIDS = _variable(
    "nodeid",
    "Node id",
    f"The test. The list has at most {_LISTED} of them, those that ran last first.",
    "SELECT nodeid FROM "
    f"{RESULTS}\nWHERE "
    + all_of(
        TIME,
        *CONTEXT[:2],
        FEATURE,
        STORY,
        unless_all(f"positionCaseInsensitiveUTF8(nodeid, {value('search')}) > 0", "search"),
    )
    + f"\nGROUP BY nodeid ORDER BY max(timestamp) DESC, nodeid LIMIT {_LISTED}",
    every=False,
    # not with the time range: a test that did not run in it must stay selected
    refresh=_ON_LOAD,
)
RUN_IDS = _variable(
    "run",
    "Run",
    f"A run of pytest by its id, the newest first; at most {_LISTED}. The table of runs below leads to them too.",
    f"SELECT run_id FROM {RUNS}\nWHERE {OF_RUNS}\n"
    f"GROUP BY run_id ORDER BY max(started_at) DESC, run_id LIMIT {_LISTED}",
    every=False,
    # not with the time range: a run that is looked at must stay selected
    refresh=_ON_LOAD,
)
ATTEMPTS = _variable(
    "attempt",
    "Attempt of the job",
    "A CI job that was repeated under one run id has several, the last is shown. 0: the CI system does not count them.",
    f"SELECT DISTINCT toString(ci_attempt) AS found FROM {RUNS}\nWHERE {all_of(OF_RUNS, RUN)}\n"
    f"ORDER BY toUInt16(found) DESC LIMIT {_LISTED}",
    every=False,
    refresh=_ON_LOAD,
)
