"""The dashboards' JSON: links that carry any name, panels that fit, queries in the form Grafana wants."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from grafana.source import documents
from tests.grafana_data import HOSTILE, WEEK
from tests.grafana_kit import BOARDS, ROOT, expanded, percent_encoded, queries

if TYPE_CHECKING:
    from pathlib import Path

QUERIES = queries()
PANELS = [(board, panel) for board in sorted(BOARDS) for panel in BOARDS[board]["panels"]]


# --- links


def _links(panel: dict[str, Any], field: str) -> list[str]:
    overrides = panel["fieldConfig"]["overrides"]
    properties = [
        p for override in overrides if override["matcher"]["options"] == field for p in override["properties"]
    ]
    return [link["url"] for p in properties if p["id"] == "links" for link in p["value"]]


def _filled_in(url: str, fields: dict[str, str]) -> str:
    url = url.replace("${__url_time_range}", "from=1&to=2").replace("${__from}", "1").replace("${__to}", "2")
    for name, value in fields.items():
        for place in (f"${{__data.fields.{name}:percentencode}}", f"${{{name}:percentencode}}"):
            url = url.replace(place, percent_encoded(value))
        url = url.replace("${__value.raw:percentencode}", percent_encoded(value))
    assert "$" not in url, url
    return url


def test_a_link_to_a_test_carries_any_node_id() -> None:
    fields = {"nodeid": HOSTILE, "service": "a&b", "repository": "https://x/#y", "table": "pytest_results"}
    urls = [url for _, panel in PANELS for url in _links(panel, "nodeid")]
    assert len(urls) > 3
    for url in urls:
        address = urlsplit(_filled_in(url, fields))
        assert address.path == f"/d/{BOARDS['test']['uid']}/test"
        asked = {name: values[0] for name, values in parse_qs(address.query).items()}
        assert asked == {"from": "1", "to": "2", **{f"var-{name}": value for name, value in fields.items()}}


def test_a_link_to_a_test_finds_its_fields_beside_it() -> None:
    for board, panel in PANELS:
        if _links(panel, "nodeid"):
            sql = panel["targets"][0]["rawSql"]
            assert all(name in sql.partition("FROM tests")[0] for name in ("service", "repository")), (
                board,
                panel["title"],
            )


def test_a_link_to_a_run_carries_any_id() -> None:
    fields = {"table": "pytest_results", "run": HOSTILE}
    urls = [url for _, panel in PANELS for url in _links(panel, "run_id")]
    assert len(urls) > 3
    for url in urls:
        address = urlsplit(_filled_in(url.replace("${__value.raw:percentencode}", percent_encoded(HOSTILE)), fields))
        assert address.path == f"/d/{BOARDS['run']['uid']}/run"
        asked = {name: values[0] for name, values in parse_qs(address.query).items()}
        assert asked == {"from": "1", "to": "2", **{f"var-{name}": value for name, value in fields.items()}}


def test_each_dashboard_leads_to_all_others() -> None:
    for name, board in BOARDS.items():
        led_to = {link["url"].rpartition("/")[2] for link in board["links"]}
        assert led_to == set(BOARDS) - {name}
        assert all(link["keepTime"] and link["includeVars"] for link in board["links"])


def test_a_link_to_a_trace_opens_it_in_tempo() -> None:
    urls = [url for _, panel in PANELS for url in _links(panel, "trace_id")]
    assert urls
    for url in urls:
        panes = parse_qs(urlsplit(_filled_in(url, {"trace_id": "ab" * 16})).query)["panes"][0]
        (pane,) = json.loads(panes).values()
        assert pane["datasource"] == "observer-tempo"
        assert [(query["queryType"], query["query"]) for query in pane["queries"]] == [("traceql", "ab" * 16)]
        assert pane["range"] == {"from": "1", "to": "2"}


# --- shape


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_a_dashboard_is_what_its_source_makes(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == documents()[path], "run: python -m grafana.source"


def test_panels_have_numbers_titles_and_descriptions_of_their_own() -> None:
    for board in BOARDS.values():
        for key in ("id", "title", "description"):
            values = [panel[key] for panel in board["panels"]]
            assert all(values)
            assert len(set(values)) == len(values), key


def test_panels_do_not_overlap_and_fit_the_width() -> None:
    for board in BOARDS.values():
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            place = panel["gridPos"]
            cells = {(x + place["x"], y + place["y"]) for x in range(place["w"]) for y in range(place["h"])}
            assert not cells & taken, panel["title"]
            assert max(x for x, _ in cells) < 24, panel["title"]
            taken |= cells


def test_a_panel_with_nothing_to_show_says_why() -> None:
    said = {panel["fieldConfig"]["defaults"].get("noValue", "") for _, panel in PANELS}
    assert all(text.endswith(".") for text in said)
    assert "Nothing failed in this run." in said


def test_panels_ask_in_the_way_they_draw() -> None:
    for _, panel in PANELS:
        (target,) = panel["targets"]
        over_time = panel["type"] == "timeseries" or panel["options"].get("graphMode") == "area"
        wanted = ("timeseries", 0) if over_time else ("table", 1)
        assert (target["queryType"], target["format"]) == wanted, panel["title"]
        assert bool(re.search(r" AS time\b", target["rawSql"])) == over_time, panel["title"]
        assert target["editorType"] == "sql"


def test_variables_that_queries_use_are_there() -> None:
    for name, board in BOARDS.items():
        offered = {variable["name"] for variable in board["templating"]["list"]}
        for query in QUERIES:
            if query.board == name:
                expanded(query.sql, dict.fromkeys(offered, "x"), WEEK)
        assert {"table", "feature", "story", "branch", "service", "provider", "variant"} <= offered
    for name, own in (("overview", "marker"), ("test", "nodeid"), ("run", "run"), ("flaky", "marker")):
        assert own in {variable["name"] for variable in BOARDS[name]["templating"]["list"]}


def test_the_page_about_dashboards_names_every_panel() -> None:
    page = (ROOT / "docs" / "dashboards.md").read_text(encoding="utf-8")
    tables = dict(re.findall(r"^\| (\w+) \| answers \|\n(.*?)\n\n", page, re.MULTILINE | re.DOTALL))
    assert set(tables) == set(BOARDS)
    for board, text in tables.items():
        missing = [panel["title"] for panel in BOARDS[board]["panels"] if panel["title"] not in text]
        assert not missing, board
