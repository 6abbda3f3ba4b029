"""The report in a real browser: it draws, searches, filters, zooms, and nothing leaves the file."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from pytest_test_observer._columns import TABLES
from pytest_test_observer._destinations.schema import Place, create_table
from tests import report_data as data
from tests.report_kit import write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from tests.servers.client import ClickHouse

DATABASE = "test_report_browser"
CHROMIUM = shutil.which("chromium")

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        # root, as whom containers run tests, gets no sandbox
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def reports(clickhouse_server: ClickHouse, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the reports of a span of time and of a run."""
    clickhouse_server.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
    clickhouse_server.execute(f"CREATE DATABASE {DATABASE}")
    data.store(clickhouse_server, DATABASE)
    directory = tmp_path_factory.mktemp("reports")
    link = "--trace-url=https://tempo.example/{trace_id}"
    for name, arguments in {"span": [link], "run": ["--run=latest", link]}.items():
        result = write(clickhouse_server, DATABASE, directory / f"{name}.html", *arguments)
        assert result.exit_code == 0, result.output
    clickhouse_server.execute(f"DROP DATABASE {DATABASE} SYNC")
    return directory


class Opened:
    """A report in a tab; ``said`` is all that the console, errors and requests said."""

    def __init__(self, browser: Browser, file: Path, **options: Any) -> None:
        self.said: list[str] = []
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        self.page: Page = context.new_page()
        self.page.set_default_timeout(10_000)
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: self.said.append(dialog.message))
        self.page.on("request", lambda request: self.said.append(request.url))
        self.page.goto(file.as_uri())
        self.page.wait_for_selector("html[data-ready]", state="attached")
        assert self.said.pop(0) == file.as_uri()

    def names(self) -> list[str]:
        """The tests that the table shows."""
        return self.page.locator("#test-table tr.row .name").all_text_contents()


@pytest.fixture
def span(browser: Browser, reports: Path) -> Iterator[Opened]:
    """The report of a span of time; it must have been quiet."""
    opened = Opened(browser, reports / "span.html")
    yield opened
    assert opened.said == []
    opened.page.context.close()


@pytest.fixture
def run(browser: Browser, reports: Path) -> Iterator[Opened]:
    """The report of a run; it must have been quiet."""
    opened = Opened(browser, reports / "run.html")
    yield opened
    assert opened.said == []
    opened.page.context.close()


def test_charts_are_drawn_with_their_numbers_in_words(span: Opened) -> None:
    assert span.page.locator("figure canvas").count() == 3
    assert "12 runs" in (span.page.locator("#outcome-trend .readout").text_content() or "")
    span.page.locator("#outcome-trend .plot").focus()
    span.page.keyboard.press("End")
    said = span.page.locator("#outcome-trend .readout").text_content() or ""
    assert "2 failed, 1 broken, 1 flaky, 1 skipped, 115 passed" in said


def test_search_needs_all_words_in_any_case(span: Opened) -> None:
    span.page.keyboard.press("/")
    span.page.keyboard.type("CART disc")
    assert span.names() == [data.NEWLY_FAILING]
    span.page.fill("#test-search", "no such test")
    assert span.page.locator("#test-table .empty").is_visible()


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("failing", [data.HOSTILE, data.BROKEN, data.NEWLY_FAILING, data.FIXED]),
        ("flaky", [data.FLAKY, data.BOTH_WAYS]),
        ("skipped", [data.SKIPPED]),
    ],
)
def test_a_filter_shows_exactly_what_is_so(span: Opened, name: str, found: list[str]) -> None:
    span.page.click(f"#test-filters [data-filter={name}]")
    assert sorted(span.names()) == sorted(found)


def test_a_run_shows_what_it_changed(run: Opened) -> None:
    run.page.click("#test-filters [data-filter=change-failing]")
    assert run.names() == [data.NEWLY_FAILING]
    run.page.click("#test-filters [data-filter=change-fixed]")
    assert run.names() == [data.FIXED]


def test_tests_are_sorted_and_turned_by_keyboard(span: Opened) -> None:
    assert span.names()[0] == data.LONG_POLE
    span.page.locator("#test-table [data-sort=nodeid]").focus()
    span.page.keyboard.press("Enter")
    assert span.names() == sorted(data.nodeids())[:50]
    span.page.get_by_role("button", name="Next").first.focus()
    span.page.keyboard.press("Enter")
    assert span.names() == sorted(data.nodeids())[50:100]


def test_a_row_opens_with_its_failures_and_links(span: Opened) -> None:
    span.page.fill("#test-search", "discount")
    span.page.locator("#test-table tr.row button").focus()
    span.page.keyboard.press("Enter")
    more = span.page.locator("#test-table tr.more")
    assert "assert 1611 == 1612" in (more.text_content() or "")
    addresses = [link.get_attribute("href") for link in more.get_by_role("link").all()]
    assert addresses == [f"https://tempo.example/{11:032x}", "https://ci.example/111"]


def test_hostile_names_and_messages_are_text_and_no_links(span: Opened) -> None:
    span.page.fill("#test-search", "onerror")
    assert span.names() == [data.HOSTILE]
    span.page.locator("#error-groups summary", has_text="<b>Error</b>").click()
    assert data.HOSTILE_ERROR in (span.page.locator("details[open] pre.message").text_content() or "")
    assert span.page.locator("main img, main script, a[href^=javascript]").count() == 0


def test_errors_are_searched_by_what_they_say_and_by_test(span: Opened) -> None:
    field = span.page.get_by_role("searchbox", name="Search errors and tests")
    for words in ("warehouse", "stock_is_reserved"):
        field.fill(words)
        assert span.page.locator("#error-groups .type").all_text_contents() == ["ConnectionError "]


def test_a_click_in_the_timeline_picks_the_test_below_it(run: Opened) -> None:
    lanes = run.page.locator(".lanes")
    lanes.scroll_into_view_if_needed()
    box = lanes.bounding_box()
    assert box
    # the last lane ends with the long pole, while the others are idle
    run.page.mouse.click(box["x"] + box["width"] - 40, box["y"] + box["height"] - 12)
    picked = run.page.locator(".picked")
    assert data.LONG_POLE in (picked.text_content() or "")
    assert "gw3" in (picked.text_content() or "")
    assert picked.get_by_role("link", name="Trace").get_attribute("href") == f"https://tempo.example/{11:032x}"
    # where a worker is idle there is nothing to pick
    run.page.mouse.click(box["x"] + box["width"] - 40, box["y"] + 36)
    assert data.LONG_POLE in (picked.text_content() or "")


def test_the_timeline_says_who_was_idle_and_what_took_longest(run: Opened) -> None:
    said = run.page.locator("#timeline-card > p").first.text_content() or ""
    assert "4 workers" in said
    assert "gw3 was the last to end" in said
    assert said.endswith(data.LONG_POLE)


def test_the_timeline_goes_by_keyboard_to_the_row_of_a_test(run: Opened) -> None:
    run.page.locator(".lanes").focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown", "End", "+", "Enter"):
        run.page.keyboard.press(key)
    assert run.page.evaluate("document.activeElement.textContent") == data.LONG_POLE
    assert run.page.locator("#test-table tr.more").count() == 1


def test_a_drag_zooms_in_and_a_button_shows_the_whole_run_again(run: Opened) -> None:
    lanes = run.page.locator(".lanes")
    lanes.scroll_into_view_if_needed()
    box = lanes.bounding_box()
    assert box
    whole = lanes.screenshot()
    run.page.mouse.move(box["x"] + 300, box["y"] + 40)
    run.page.mouse.down()
    run.page.mouse.move(box["x"] + 400, box["y"] + 40)
    run.page.mouse.up()
    run.page.mouse.move(0, 0)
    assert lanes.screenshot() != whole
    run.page.get_by_role("button", name="Whole run").click()
    run.page.mouse.move(0, 0)
    assert lanes.screenshot() == whole


def test_the_theme_follows_the_system_until_it_is_chosen(browser: Browser, reports: Path) -> None:
    opened = Opened(browser, reports / "span.html", color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    dark = opened.page.evaluate(background)
    opened.page.click("#theme")
    light = opened.page.evaluate(background)
    assert (dark, light) == ("rgb(15, 20, 25)", "rgb(245, 247, 249)")
    opened.page.reload()
    assert opened.page.evaluate(background) == light
    opened.page.context.close()


def test_nothing_is_wider_than_a_phone(browser: Browser, reports: Path) -> None:
    for name in ("span", "run"):
        opened = Opened(browser, reports / f"{name}.html", viewport={"width": 360, "height": 740}, has_touch=True)
        opened.page.locator("#error-groups summary").first.click()
        opened.page.locator("#test-table tr.row button").first.click()
        assert opened.page.evaluate("document.documentElement.scrollWidth") == 360
        assert opened.said == []
        opened.page.context.close()


def test_the_policy_of_the_page_lets_nothing_be_fetched(browser: Browser, reports: Path) -> None:
    opened = Opened(browser, reports / "span.html")
    image = "document.body.append(Object.assign(new Image(), {src: 'https://example.invalid/x.png'}))"
    for code in ("fetch('https://example.invalid/').catch(() => {})", image):
        with opened.page.expect_console_message(lambda message: "Content Security Policy" in message.text):
            opened.page.evaluate(code)
    opened.page.context.close()


def test_a_very_long_name_leaves_room_for_the_others_and_is_whole_below(
    browser: Browser, clickhouse_server: ClickHouse, database: str, tmp_path: Path
) -> None:
    nodeid = f"test_x.py::test_x[{'y' * 5000}]"
    clickhouse_server.execute(create_table(TABLES["results"], Place(database, "pytest_results")))
    clickhouse_server.execute(create_table(TABLES["runs"], Place(database, "pytest_results")))
    insert = "INSERT INTO pytest_results (timestamp, nodeid, status, outcome, finished_at, call_duration) VALUES "
    clickhouse_server.execute(f"{insert} (now(), '{nodeid}', 'passed', 'passed', 1, 1)", database=database)
    made = write(clickhouse_server, database, tmp_path / "long.html")
    assert made.exit_code == 0, made.output
    opened = Opened(browser, tmp_path / "long.html")
    row = opened.page.locator("#test-table tr.row")
    box = row.bounding_box()
    assert box
    assert box["height"] < 200
    row.locator("button").first.click()
    assert nodeid in (opened.page.locator("#test-table tr.more").text_content() or "")
    assert opened.page.evaluate("document.documentElement.scrollWidth") == 1280
    opened.page.context.close()
