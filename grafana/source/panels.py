"""Panels as Grafana's JSON has them: stat, table, chart over time, bars, donut, lanes."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any
from urllib.parse import quote

__all__ = ["CLICKHOUSE", "CLICKHOUSE_PLUGIN", "TEMPO", "bars", "board", "chart", "donut", "lanes", "stat", "table"]

# As provisioning/datasources/observer.yaml names them.
CLICKHOUSE = {"type": "grafana-clickhouse-datasource", "uid": "observer-clickhouse"}
TEMPO = {"type": "tempo", "uid": "observer-tempo"}
CLICKHOUSE_PLUGIN = "4.20.0"

_TIMESERIES, _TABLE = 0, 1
# What a panel says that has nothing to show.
_NOTHING = "Nothing in this time with what is chosen above."
_COLUMNS = 24
COLORS = {"passed": "green", "failed": "red", "broken": "orange", "skipped": "blue", "flaky": "purple"}
_OUTCOME_COLORS = {**COLORS, "error": "orange", "crashed": "dark-red", "rerun": "yellow", "xfailed": "light-blue"}

Json = dict[str, Any]


def _query(sql: str, *, over_time: bool = False) -> Json:
    return {
        "refId": "A",
        "datasource": CLICKHOUSE,
        "editorType": "sql",
        "queryType": "timeseries" if over_time else "table",
        "format": _TIMESERIES if over_time else _TABLE,
        "rawSql": sql,
        "pluginVersion": CLICKHOUSE_PLUGIN,
    }


def _panel(
    kind: str,
    title: str,
    description: str,
    *,
    size: tuple[int, int],
    query: Json,
    options: Json,
    defaults: Json,
    overrides: list[Json],
    none: str = _NOTHING,
) -> Json:
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": CLICKHOUSE,
        "gridPos": {"w": size[0], "h": size[1]},
        "fieldConfig": {"defaults": {**defaults, "noValue": none}, "overrides": overrides},
        "targets": [query],
        "options": options,
    }


def _override(field: str, properties: Json) -> Json:
    return {
        "matcher": {"id": "byName", "options": field},
        "properties": [{"id": name, "value": value} for name, value in properties.items()],
    }


def _colored() -> list[Json]:
    return [_override(name, {"color": {"mode": "fixed", "fixedColor": color}}) for name, color in COLORS.items()]


def stat(
    title: str,
    description: str,
    sql: str,
    *,
    width: int = 4,
    unit: str = "none",
    sparkline: bool = False,
    decimals: int | None = None,
) -> Json:
    """Numbers in large type, one for each column; with ``sparkline`` the last of a series, above its course."""
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "graphMode": "area" if sparkline else "none",
        "colorMode": "value",
        "textMode": "value" if sparkline else "value_and_name",
        "orientation": "auto",
    }
    defaults: Json = {"unit": unit, "color": {"mode": "fixed", "fixedColor": "text"}}
    if decimals is not None:
        defaults["decimals"] = decimals
    return _panel(
        "stat",
        title,
        description,
        size=(width, 4),
        query=_query(sql, over_time=sparkline),
        options=options,
        defaults=defaults,
        overrides=_colored(),
    )


def donut(title: str, description: str, sql: str, *, width: int = 6) -> Json:
    """Shares of a whole, one for each column."""
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "pieType": "donut",
        "displayLabels": ["percent"],
        "legend": {"displayMode": "table", "placement": "right", "values": ["value"], "showLegend": True},
    }
    return _panel(
        "piechart",
        title,
        description,
        size=(width, 8),
        query=_query(sql),
        options=options,
        defaults={},
        overrides=_colored(),
    )


def chart(
    title: str, description: str, sql: str, *, width: int = 12, unit: str = "none", percent: bool = False
) -> Json:
    """Lines over time; the first column is ``time``, a text column tells series apart."""
    style = {"drawStyle": "line", "showPoints": "always", "pointSize": 5, "fillOpacity": 8, "spanNulls": True}
    defaults: Json = {"unit": unit, "custom": style, "min": 0}
    if percent:
        defaults["max"] = 100
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi"},
    }
    return _panel(
        "timeseries",
        title,
        description,
        size=(width, 8),
        query=_query(sql, over_time=True),
        options=options,
        defaults=defaults,
        overrides=_colored(),
    )


def bars(title: str, description: str, sql: str, *, x: str, width: int = 12) -> Json:
    """Stacked bars, one for each row; ``x`` names the column that labels them."""
    options = {
        "xField": x,
        "stacking": "normal",
        "xTickLabelRotation": -45,
        "xTickLabelMaxLength": 24,
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi"},
    }
    defaults = {"custom": {"fillOpacity": 80}, "decimals": 0}
    return _panel(
        "barchart",
        title,
        description,
        size=(width, 8),
        query=_query(sql),
        options=options,
        defaults=defaults,
        overrides=_colored(),
    )


def lanes(title: str, description: str, sql: str, *, by: str, width: int = 24, height: int = 9) -> Json:
    """States over time, a lane for each value of the column ``by``; a time column comes first, nothing is no state."""
    panel = _panel(
        "state-timeline",
        title,
        description,
        size=(width, height),
        query=_query(sql),
        options={"mergeValues": False, "showValue": "never", "rowHeight": 0.85, "tooltip": {"mode": "single"}},
        defaults={"custom": {"lineWidth": 0, "fillOpacity": 85, "spanNulls": False}, "mappings": _outcome_mappings()},
        overrides=[],
    )
    split = {"id": "partitionByValues", "options": {"fields": [by], "keepFields": False}}
    return {**panel, "transformations": [split]}


def _run_link() -> Json:
    """Lead to the dashboard of a run."""
    values = {"table": "${table:percentencode}", "run": "${__value.raw:percentencode}"}
    url = "/d/observer-run/run?${__url_time_range}&" + "&".join(f"var-{name}={value}" for name, value in values.items())
    return {"title": "This run", "url": url}


def _test_link() -> Json:
    """Lead to the test dashboard: a node id may hold any character, so each value is percent-encoded."""
    fields = {name: f"${{__data.fields.{name}:percentencode}}" for name in ("repository", "service", "nodeid")}
    values = {"table": "${table:percentencode}", **fields}
    url = "/d/observer-test/test?${__url_time_range}&" + "&".join(f"var-{k}={v}" for k, v in values.items())
    return {"title": "History of this test", "url": url}


def _trace_link() -> Json:
    query = {"refId": "A", "datasource": TEMPO, "queryType": "traceql", "query": "TRACE"}
    span = {"range": {"from": "FROM", "to": "TO"}}
    panes = json.dumps({"trace": {"datasource": TEMPO["uid"], "queries": [query], **span}}, separators=(",", ":"))
    url = f"/explore?schemaVersion=1&orgId=1&panes={quote(panes, safe='')}"
    values = {"TRACE": "${__value.raw:percentencode}", "FROM": "${__from}", "TO": "${__to}"}
    for name, value in values.items():
        url = url.replace(f"%22{name}%22", f"%22{value}%22")
    return {"title": "Trace in Tempo", "url": url, "targetBlank": True}


def _outcome_mappings() -> list[Json]:
    mapped = {name: {"color": color, "index": index} for index, (name, color) in enumerate(_OUTCOME_COLORS.items())}
    return [{"type": "value", "options": mapped}]


def _outcome_cell() -> Json:
    return {"custom.cellOptions": {"type": "color-text"}, "mappings": _outcome_mappings()}


_CELLS: dict[str, Json] = {
    "nodeid": {"custom.width": 420, "links": [_test_link()]},
    "longest": {"custom.width": 420},
    "run_id": {"links": [_run_link()]},
    "trace_id": {"links": [_trace_link()]},
    # whole and as it is: the SQL lets nothing but http(s) through, Grafana takes javascript: out as well
    "ci_url": {"links": [{"title": "Open in CI", "url": "${__value.raw:raw}", "targetBlank": True}]},
    "status": _outcome_cell(),
    "outcome": _outcome_cell(),
    "error": {"custom.inspect": True, "custom.width": 420},
    "stacktrace": {"custom.inspect": True, "custom.cellOptions": {"type": "auto", "wrapText": True}},
    "payload": {"custom.inspect": True},
    "pass_rate": {"unit": "percent", "decimals": 1},
    "percent": {"unit": "percent", "decimals": 1},
    **{
        name: {"unit": "s"}
        for name in ("duration", "median", "p95", "setup", "call", "teardown", "seconds", "before", "busy", "begins")
    },
}


def table(title: str, description: str, sql: str, *, width: int = 24, height: int = 9, none: str = _NOTHING) -> Json:
    """Rows; node ids lead to the test dashboard, trace ids to Tempo, addresses to the CI system."""
    shown = {name: properties for name, properties in _CELLS.items() if re.search(rf"\b{name}\b", sql)}
    options = {"showHeader": True, "cellHeight": "sm"}
    defaults = {"custom": {"filterable": True}}
    return _panel(
        "table",
        title,
        description,
        size=(width, height),
        query=_query(sql),
        options=options,
        defaults=defaults,
        overrides=[_override(name, properties) for name, properties in shown.items()],
        none=none,
    )


def _placed(panels: list[Json]) -> list[Json]:
    """Give each panel its number and its place: from left to right, a new line where one is full."""
    x = y = height = 0
    numbers = itertools.count(1)
    placed = []
    for panel in panels:
        size = panel["gridPos"]
        if x + size["w"] > _COLUMNS:
            x, y, height = 0, y + height, 0
        placed.append({"id": next(numbers), **panel, "gridPos": {"x": x, "y": y, **size}})
        x, height = x + size["w"], max(height, size["h"])
    return placed


# Titles of the dashboards' links to each other.
_BOARDS = {"overview": "Overview", "run": "One run", "test": "One test", "flaky": "Flaky tests"}


def board(name: str, title: str, description: str, *, variables: list[Json], panels: list[Json]) -> Json:
    """Return the dashboard ``observer-<name>``, with links to the others."""
    others = [(words, f"/d/observer-{other}/{other}") for other, words in _BOARDS.items() if other != name]
    return {
        "uid": f"observer-{name}",
        "title": title,
        "description": description,
        "tags": ["pytest-test-observer"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "time": {"from": "now-7d", "to": "now"},
        "refresh": "",
        "links": [
            {"type": "link", "title": words, "url": url, "keepTime": True, "includeVars": True} for words, url in others
        ],
        "annotations": {"list": []},
        "templating": {"list": variables},
        "panels": _placed(panels),
    }
