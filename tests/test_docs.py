"""The pages of docs/: generated ones are current, links lead somewhere, messages are those of the code."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_test_observer import _ci_docs, _columns_docs, _settings_docs
from pytest_test_observer._columns import TABLES
from pytest_test_observer._destinations import Reply, _answers, _http, _otlp_answers
from tests.neighbours.table import NEIGHBOURS

if TYPE_CHECKING:
    from collections.abc import Iterator


ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "pytest_test_observer"
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])
MESSAGES = (DOCS / "messages.md").read_text(encoding="utf-8")
DOCUMENTED = re.findall(r"^\| `([^`]+)` \|", MESSAGES, re.MULTILINE)
# Fewer spaces than these are in names and addresses.
_WORDS = 3
# What says something to the user when it is called with a text.
SAYING = ("EmbeddedError", "note", "_note", "warn")


def _texts(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "module"), [("settings", _settings_docs), ("schema", _columns_docs), ("ci-systems", _ci_docs)]
)
def test_a_page_that_is_made_from_the_code_is_current(name: str, module: object) -> None:
    document = module.document()  # type: ignore[attr-defined]
    assert _texts(DOCS / f"{name}.md") == document, "run: make docs"


def test_every_column_has_a_meaning_and_every_meaning_a_column() -> None:
    columns = {(key, column.name) for key, table in TABLES.items() for column in table.columns}
    meanings = {(key, name) for key, names in _columns_docs.MEANINGS.items() for name in names}
    assert columns <= meanings
    own = {("events", name) for name in _columns_docs._EVENTS} | {("runs", name) for name in _columns_docs._RUNS}
    assert {("results", name) for name in _columns_docs._RESULTS} | own <= columns


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", _texts(page)):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in _anchors(file), target


def test_the_index_names_every_page() -> None:
    listed = set(re.findall(r"\]\(([\w-]+\.md)\)", _texts(DOCS / "index.md")))
    assert listed == {page.name for page in DOCS.glob("*.md")} - {"index.md"}


def test_the_statuses_of_the_page_are_those_of_the_verdict() -> None:
    words = {"passed", "failed", "broken", "skipped"}
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \| (\w+) \| [^|]+ \|$", _texts(DOCS / "statuses.md"), re.MULTILINE)
    outcomes = {"crashed", "rerun", "error", "failed", "xfailed", "skipped", "xpassed", "passed"}
    assert {outcome for _, outcome in rows} == outcomes
    assert {word for status, _ in rows for word in re.findall(r"\w+", status)} & words == words


def test_the_neighbours_of_the_page_are_those_that_are_tested_in_the_versions_that_are_pinned() -> None:
    header, *rows = [line for line in _texts(DOCS / "neighbours.md").splitlines() if line.count(" | ") == 4]
    pins = [(ROOT / "tests" / "neighbours" / f"pytest-{major}.txt").read_text(encoding="utf-8") for major in (7, 8, 9)]
    assert re.findall(r"pytest (\S+)", header) == [version for text in pins for version in _pinned(text, "pytest")]
    below = {neighbour.package: neighbour.only_below or 10 for neighbour in NEIGHBOURS.values()}
    told = {package: versions for package, *versions, _ in (line.strip("| ").split(" | ") for line in rows)}
    assert told.keys() == below.keys()
    for package, versions in told.items():
        wanted = [", ".join(_pinned(text, package)) for text in pins][: below[package] - 7]
        assert versions[: len(wanted)] == wanted, package


def _pinned(text: str, package: str) -> list[str]:
    return re.findall(rf"^{re.escape(package)}==(\S+)", text, re.MULTILINE)


@pytest.mark.parametrize("message", DOCUMENTED)
def test_a_documented_message_is_one_of_the_code(message: str) -> None:
    said = _said_by_the_code()
    fragments = [fragment.strip(" .:;,()") for fragment in message.split("…")]
    assert all(fragment in said for fragment in fragments if len(fragment) > 1), fragments


def test_no_message_about_a_server_lacks_its_explanation() -> None:
    missing = {message for message in _messages_of_servers() if message != "…"} - set(DOCUMENTED)
    assert not missing


def test_no_message_of_the_embedded_engine_lacks_its_explanation() -> None:
    code = ast.parse(_texts(SOURCE / "_destinations" / "embedded.py"))
    raised = {_said(node) for node in ast.walk(code)}
    assert raised - {""} <= set(DOCUMENTED)


@pytest.mark.parametrize(
    "name", ["otlp", "otlp_environment", "_otlp_answers", "_otlp_senders", "fallback"], ids=lambda name: name
)
def test_no_sentence_about_otlp_that_is_put_together_lacks_its_explanation(name: str) -> None:
    code = ast.parse(_texts(SOURCE / "_destinations" / f"{name}.py"))
    texts = {_template(node).replace("{said}", "…") for node in ast.walk(code) if isinstance(node, ast.JoinedStr)}
    assert {text for text in texts if text.count(" ") >= _WORDS} <= set(DOCUMENTED)


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", _texts(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@functools.cache
def _said_by_the_code() -> str:
    return "\n".join([*_strings(), *_messages_of_servers()])


def _strings() -> Iterator[str]:
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(_texts(file))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield " ".join(node.value.split())


def _messages_of_servers() -> Iterator[str]:
    for module in (_answers, _http, _otlp_answers):
        for value in vars(module).values():
            for text in _sentences(value):
                yield re.sub(r"\{[^}]*\}", "…", text)


def _sentences(value: object) -> Iterator[str]:
    if isinstance(value, Reply):
        yield value.message
    elif isinstance(value, _answers.Meaning):
        yield value.sentence
    elif isinstance(value, dict):
        yield from (text for item in value.values() for text in _sentences(item))
    elif isinstance(value, tuple):
        yield from (text for item in value for text in _sentences(item))


def _said(node: ast.AST) -> str:
    """Return the text that a call says to the user, empty for any other node."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in SAYING and node.args:
        return _template(node.args[0])
    return ""


def _template(node: ast.AST) -> str:
    """Return a text of the code with its parts that differ as dots."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_template(part) or "…" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
