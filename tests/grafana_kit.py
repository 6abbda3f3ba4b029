"""What Grafana and its ClickHouse plugin do to a query before it is sent, done here: there is no Grafana in the tests.

Modelled on the sources of the plugin's 4.x (``applyConditionalAll``, ``pkg/macros``) and of Grafana's variable formats.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

ROOT = Path(__file__).resolve().parents[1]
BOARDS = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (ROOT / "grafana/dashboards").glob("*.json")
}
ALL = "$__all"

_CONDITIONAL = "$__conditionalAll("
_VARIABLE = re.compile(r"\$\{(\w+):(\w+)\}")
_MACRO = re.compile(r"\$__(\w+)(?:\(([^()]*)\))?")


class Query(NamedTuple):
    """A query of a dashboard: of a panel, or (``kind`` is ``variable``) of a variable."""

    board: str
    title: str
    kind: str
    sql: str


class Span(NamedTuple):
    """The time that is looked at: milliseconds since 1970, and the width of a bucket."""

    begin: int
    end: int
    interval: int = 3_600_000


def queries() -> list[Query]:
    """Return every query of the dashboards as they are on disk."""
    return [query for board in sorted(BOARDS) for query in (*_of_panels(board), *_of_variables(board))]


def _of_panels(board: str) -> list[Query]:
    panels = BOARDS[board]["panels"]
    return [Query(board, p["title"], p["type"], target["rawSql"]) for p in panels for target in p["targets"]]


def _of_variables(board: str) -> list[Query]:
    variables = BOARDS[board]["templating"]["list"]
    return [Query(board, v["name"], "variable", v["query"]) for v in variables if v["type"] == "query"]


def percent_encoded(value: str) -> str:
    """Format a value as ``${name:percentencode}`` does: encodeURIComponent, and ``!'()*`` as well."""
    return quote(value, safe="")


def expanded(sql: str, values: dict[str, str], span: Span) -> str:
    """Return the SQL that ClickHouse would get."""
    return _with_macros(_with_variables(_without_conditions(sql, values), values), span)


def _without_conditions(sql: str, values: dict[str, str]) -> str:
    while (start := sql.rfind(_CONDITIONAL)) >= 0:
        begin = start + len(_CONDITIONAL)
        condition, variable, end = _arguments(sql, begin)
        # the plugin hands the condition to String.replace, to which these say something
        assert not re.search(r"\$[$&`'\d]", condition), condition
        chosen = values[variable.strip().lstrip("$")]
        sql = sql[:start] + ("1=1" if chosen in ("", ALL) else condition) + sql[end:]
    return sql


def _arguments(sql: str, begin: int) -> tuple[str, str, int]:
    """Split two arguments as the plugin does, which counts brackets and knows no quotes."""
    depth, comma = 1, 0
    for at in range(begin, len(sql)):
        depth += {"(": 1, ")": -1}.get(sql[at], 0)
        if sql[at] == "," and depth == 1:
            assert not comma, f"more than two arguments: {sql[begin:at]}"
            comma = at
        if depth == 0:
            return sql[begin:comma], sql[comma + 1 : at], at + 1
    raise AssertionError(f"no end: {sql[begin:]}")


def _with_variables(sql: str, values: dict[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        name, form = found.groups()
        assert form == "percentencode", f"{name}: the format {form} cannot carry every text to ClickHouse"
        return percent_encoded(values[name])

    return _VARIABLE.sub(value, sql)


def _with_macros(sql: str, span: Span) -> str:
    seconds = max(span.interval // 1000, 1)

    def moment_ms(milliseconds: int) -> str:
        return f"fromUnixTimestamp64Milli({milliseconds})"

    def moment(milliseconds: int) -> str:
        return f"toDateTime({milliseconds // 1000})"

    macros: dict[str, Any] = {
        "timeFilter": lambda c: f"{c} >= {moment(span.begin)} AND {c} <= {moment(span.end)}",
        "timeFilter_ms": lambda c: f"{c} >= {moment_ms(span.begin)} AND {c} <= {moment_ms(span.end)}",
        "fromTime": lambda _: moment(span.begin),
        "toTime": lambda _: moment(span.end),
        "timeInterval": lambda c: f"toStartOfInterval(toDateTime({c}), INTERVAL {seconds} second)",
        "timeInterval_ms": lambda c: f"toStartOfInterval(toDateTime64({c}, 3), INTERVAL {span.interval} millisecond)",
        "interval_s": lambda _: str(seconds),
    }
    sql = _MACRO.sub(lambda found: macros[found[1]](found[2]), sql)
    assert "$" not in sql, f"left over: {sql}"
    return sql
