"""A pytest plugin for CI: ``-p tests.required``. What could have been installed must not be missing there.

A test that needs a program or package that not every developer has says so: ``pytest.skip("needs Go")``. On a
developer's machine that is a skip with a reason, here it is a failure; ``pytest.importorskip`` likewise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

_WANTING = ("Skipped: needs ", "Skipped: could not import ")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """See pytest_runtest_makereport."""
    report = yield
    _demand(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """See pytest_make_collect_report: a whole file may be skipped."""
    report = yield
    _demand(report)
    return report


def _demand(report: Any) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
    if report.skipped and not hasattr(report, "wasxfail") and reason.startswith(_WANTING):
        report.outcome = "failed"
        report.longrepr = f"must run in CI: {reason}"
