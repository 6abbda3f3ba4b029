"""Tests that pytest-forked runs in a process of their own: its reports come back to pytest, and ours with them.

Our hooks keep out of forks of pytest, which are the tests' own affair. The fork that pytest-forked makes of pytest for
one test is none of those: in it they are at home, and what they know travels as an attribute of the report that
pytest logs first.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from pytest_test_observer._extras import Packer

if TYPE_CHECKING:
    from collections.abc import Generator

    from pytest_test_observer._hooks import CaptureHooks


class ForkedHooks:
    """Hooks of a process that pytest-forked runs one test in; without effect everywhere else."""

    def __init__(self, hooks: CaptureHooks) -> None:
        self._hooks = hooks
        self._parent = os.getpid()
        self._getpid, self._getppid = os.getpid, os.getppid
        self._first: pytest.TestReport | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """See pytest_runtest_setup: called before that of the other hooks, which then find themselves at home."""
        if self._getpid() != self._parent == self._getppid() and _is_forked(item):
            self._hooks.move_in()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[Any]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """See pytest_runtest_makereport: the reports leave this process together, once the last is made."""
        report = yield
        if self._getpid() != self._parent and self._hooks.guard.is_home:
            self._hooks.guard(self._keep, report, call.when)
        return report

    def _keep(self, report: pytest.TestReport, when: str) -> None:
        if when == "setup":
            self._first = report
        elif when == "teardown" and self._first is not None:
            Packer().pack(self._first, self._hooks.capture.extras_for(report))


def _is_forked(item: pytest.Item) -> bool:
    return bool(item.config.getoption("forked", False) or item.get_closest_marker("forked"))
