"""The site: ``make site`` builds it from the pages of the repository, as they are.

Pages link to each other by their files, so they read well here and there; what a page links to that is no page can be
downloaded. The order of the site is that of docs/index.md.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "pytest-test-observer"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = project
html_show_copyright = False

# The sources are the repository itself: links to the README, and from it, lead to pages.
root_doc = "docs/index"
include_patterns = ["*.md", "docs/*.md", "otel-collector/README.md"]
exclude_patterns = [".*", "build", "dist", "src", "tests"]

myst_heading_anchors = 3
# "console" shows what is typed and what comes out; Pygments' lexer for it takes no other prompt than this.
highlight_language = "none"

_LINK = re.compile(r"\[([^\]]+)\]\(([\w./-]+)\.md\)")
_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


def _add_contents(_app: Sphinx, docname: str, content: list[str]) -> None:
    """Give the index a table of contents: its own headings, and the pages that it links to below each."""
    if docname != root_doc:
        return
    _, *chapters = _HEADING.split(content[0])
    for title, text in zip(chapters[::2], chapters[1::2], strict=True):
        pages = dict.fromkeys(f"{name[:1].upper()}{name[1:]} <{page}>" for name, page in _LINK.findall(text))
        content[0] += "\n".join(("", "```{toctree}", ":hidden:", f":caption: {title}", *pages, "```", ""))


def setup(app: Sphinx) -> None:
    """See Sphinx's ``setup`` of an extension."""
    app.connect("source-read", _add_contents)
