"""docs/settings.md: ``python -m pytest_test_observer._settings_docs > docs/settings.md`` makes it anew."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pytest_test_observer._settings import SETTINGS
from pytest_test_observer._target import CLICKHOUSE_FORMS, OTLP_FORMS

if TYPE_CHECKING:
    from pytest_test_observer._setting import Setting

_ACCEPTED = {
    "text": "any text",
    "bool": "true, 1, yes, on; false, 0, no, off (any case)",
    "identifier": "`[A-Za-z_][A-Za-z0-9_]{0,127}`",
    "seconds": "seconds, 0 or more",
    "clickhouse_url": "a ClickHouse URL, see below",
    "otlp_url": "an OTLP endpoint, see below",
}

_PAGE = """\
# Settings

<!-- Made by `python -m pytest_test_observer._settings_docs`; change the table in `_settings.py`
instead. -->

Every setting can be given in three places. The first that gives it wins:

1. the command line (also `addopts` and `PYTEST_ADDOPTS`),
2. the environment,
3. an ini file: `[tool.pytest.ini_options]` or `[tool.pytest]` in `pyproject.toml`, `pytest.ini`, any file
   pytest reads, or `-o name=value`.

Else its default holds. An environment variable or ini value that is empty counts as not set. Without a
`ch_url`, `otlp` or `otlp_endpoint` the plugin does nothing.

```toml
[tool.pytest.ini_options]
ch_url = "http://clickhouse.example:8123"
ch_send_from = "ci"
ch_auto_migrate = false
```

| flag | environment | ini key | default | accepted | |
|---|---|---|---|---|---|
{rows}

## URLs

A ClickHouse URL is one of: {clickhouse}. The default ports are 8123, and 8443 for https; a path prefix
may follow. `chdb://` is ClickHouse's embedded engine on a directory of its own; a relative path starts
at the working directory, in an ini file at pytest's rootdir. An OTLP endpoint is one of: {otlp}.

A user and password may stand in a URL (`https://user:password@host`, special characters
percent-encoded). They are used and never shown or stored. `ch_user` and `ch_password` win over them,
each on its own. Give secrets in the environment: of a command line pytest and pytest-xdist make copies, and
an ini file lies in the repository. See [security](../SECURITY.md).

## Switching off

`--ch-url=` (empty) on the command line switches the plugin off although the environment or an ini file
configures it; with `--otlp` or `--otlp-endpoint` beside it, only the ClickHouse way.
`PYTEST_OBSERVER_OTLP=false` switches off an `otlp_endpoint` of the ini file. `-p no:test_observer`
blocks the plugin altogether.

## Values that cannot be used

On the command line or in an ini file such a value is a usage error: pytest exits with 4 before any test
runs. In the environment it never fails the run, for there it is often a missing secret of a CI system:
one message says what is wrong, the plugin stays off. A variable that nothing would use is not looked
at.
"""


def document() -> str:
    """Return the text of docs/settings.md."""
    rows = "\n".join(_line(row) for row in SETTINGS)
    return _PAGE.format(rows=rows, clickhouse=_as_code(CLICKHOUSE_FORMS), otlp=_as_code(OTLP_FORMS))


def _line(row: Setting) -> str:
    default = f"`{row.default}`" if row.default else "none"
    cells = (f"`{row.flag}`", f"`{row.env}`", f"`{row.name}`", default, _accepted(row), _escaped(row.help))
    return f"| {' | '.join(cells)} |"


def _accepted(row: Setting) -> str:
    if row.kind == "choice":
        return ", ".join(f"`{word}`" for word in row.metavar.split("|"))
    return _ACCEPTED[row.kind] + ("" if row.metavar else "; the flag takes no value")


def _escaped(text: str) -> str:
    # Markdown would take these for HTML and for emphasis.
    return text.replace("<", "&lt;").replace("*", "\\*")


def _as_code(forms: str) -> str:
    first, _, last = forms.rpartition(" or ")
    return ", ".join(f"`{form}`" for form in [*first.split(", "), last])


if __name__ == "__main__":
    sys.stdout.write(document())
