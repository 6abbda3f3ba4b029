"""docs/ci-systems.md: ``python -m pytest_test_observer._ci_docs > docs/ci-systems.md`` makes it anew."""

from __future__ import annotations

import string
import sys

from pytest_test_observer._context.ci import SYSTEMS, CISystem

# Fields of the table and the columns that they become; ``pipeline`` has an attribute and no column.
_COLUMNS = {
    "run_id": "`ci_run_id`",
    "job": "`ci_job`",
    "attempt": "`ci_attempt`",
    "url": "`ci_url`",
    "change": "`change_id`",
    "commit": "`git_commit`",
    "branch": "`git_branch`",
    "repository": "`repository`",
    "pipeline": "attribute `cicd.pipeline.name`",
}

_PAGE = """\
# CI systems

<!-- Made by `python -m pytest_test_observer._ci_docs`; change the table in `_context/ci.py` instead. -->

Which CI system a run belongs to, and what that tells of it, is read from the variables that it sets. Nothing is asked
over the network. The systems are asked in this order, since some set the variables of others as well; the first that
is recognised counts. A variable that is empty, `false` or `0` is no sign.

| `ci_provider` | recognised by |
|---|---|
{signs}

Anywhere else `ci_provider` is `local`, and `git` is asked for commit, branch and the address of `origin`, for 2 s at
most. `--ch-send-from=ci` sends only where one of the systems is recognised.

User names, passwords and tokens are cut out of addresses. What is wrong or missing can be given in
`OTEL_RESOURCE_ATTRIBUTES`, under the attribute of [its column](schema.md), and wins:

```sh
export OTEL_RESOURCE_ATTRIBUTES=cicd.pipeline.task.name=unit,vcs.change.id=12
```

Below, the first variable that has a value counts. `{{A}}/{{B}}` is made of two. `A: pattern` takes the part of `A` in
brackets, if all of `A` matches.
{systems}"""


def document() -> str:
    """Return the text of docs/ci-systems.md."""
    signs = "\n".join(f"| [`{system.name}`](#{system.name}) | {_signs(system)} |" for system in SYSTEMS)
    return _PAGE.format(signs=signs, systems="".join(_chapter(system) for system in SYSTEMS))


def _signs(system: CISystem) -> str:
    return ", ".join(f"`{sign}`" for sign in system.sign.split())


def _chapter(system: CISystem) -> str:
    rows = [f"| {column} | {_sources(getattr(system, field))} |" for field, column in _COLUMNS.items()]
    if system.first_attempt != 1:
        note = f" counts from {system.first_attempt} there, from 1 here |"
        rows = [row.removesuffix(" |") + note if "`ci_attempt`" in row else row for row in rows]
    lines = ["", f"## {system.name}", "", f"[Its variables]({system.docs})", "", "| column | from |", "|---|---|"]
    return "\n".join([*lines, *(row for row in rows if not row.endswith("|  |")), ""])


def _sources(sources: str) -> str:
    return ", ".join(_source(source) for source in sources.split())


def _source(source: str) -> str:
    parts = list(string.Formatter().parse(source))
    if len(parts) == 1 and parts[0][2]:
        return f"`{parts[0][1]}: {parts[0][2]}`".replace("|", "\\|")
    return f"`{source}`".replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(document())
