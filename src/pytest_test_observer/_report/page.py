"""The HTML file: template, style, scripts, the charting library and the data, in one."""

from __future__ import annotations

import base64
import hashlib
import html
from importlib import resources
from typing import TYPE_CHECKING

import msgspec

from pytest_test_observer._version import __version__

if TYPE_CHECKING:
    from pytest_test_observer._report.document import Document

__all__ = ["render"]

# In the order in which they build on each other; they share one scope, which is not the page's.
_SCRIPTS = ("data", "dom", "lists", "charts", "trends", "errors", "tests", "timeline", "runs", "page")
_LIBRARY = "vendor/uPlot.iife.min.js"
_LICENSE = "vendor/uPlot.LICENSE"
_STYLES = ("vendor/uPlot.min.css", "report.css")
# Nothing is fetched, sent or framed; only the script and the style that stand in the file count. Scripts may set
# styles of elements, which no policy for markup concerns.
_POLICY = "default-src 'none'; script-src '{script}'; style-src '{style}'; base-uri 'none'; form-action 'none'"


def render(document: Document, title: str) -> str:
    """Return the page. Nothing in the data can end the element it stands in, or become markup."""
    style = "\n".join(_text(name) for name in _STYLES)
    own = "\n".join(_text(f"{name}.js") for name in _SCRIPTS)
    # its licence asks to stand in every copy
    library = f"/*\n{_text(_LICENSE)}*/\n{_text(_LIBRARY)}"
    script = f'{library}\n(() => {{\n"use strict";\n{own}}})();\n'
    parts = {
        "CSP": _POLICY.format(script=_digest(script), style=_digest(style)),
        "VERSION": __version__,
        "TITLE": html.escape(title),
        "STYLE": style,
        "DATA": _data(document),
        "SCRIPT": script,
    }
    # cut at the marks first: a value that has a mark in it stays as it is
    first, *rest = _text("report.html").split("@")
    return first + "".join(parts.get(piece, piece) for piece in rest)


def _data(document: Document) -> str:
    # "<" alone begins what could end or confuse the element: </script, <!--, <script
    return msgspec.json.encode(document.plain()).decode().replace("<", "\\u003c")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _text(name: str) -> str:
    return (resources.files(__package__) / "static" / name).read_text(encoding="utf-8")
