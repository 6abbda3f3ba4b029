"""How long fixtures take, where ``otlp_detail`` asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_test_observer._clock import Clock
from pytest_test_observer._record import FixtureTimes

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


class FixtureHooks:
    """Measures setup and teardown of every fixture and hands the times to ``keep``.

    A fixture's own finalizer runs before those that were there earlier, so one that is added last sees the teardown
    begin; pytest_fixture_post_finalizer sees it end.
    """

    def __init__(self, keep: Callable[[FixtureTimes], None], guard: Callable[..., Any]) -> None:
        self._keep = keep
        self._guard = guard
        self._ending: dict[Any, int] = {}

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        """See pytest_fixture_setup."""
        started_ns = Clock.time_ns()
        try:
            return (yield)
        finally:
            self._guard(self._is_set_up, fixturedef, request, started_ns)

    @pytest.hookimpl(trylast=True)
    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> None:
        """See pytest_fixture_post_finalizer; pytest may call it more than once for a teardown."""
        started_ns = self._ending.pop(fixturedef, None)
        if started_ns is not None:
            self._guard(self._note, fixturedef, request, "teardown", started_ns)

    def _is_set_up(self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest, started_ns: int) -> None:
        self._note(fixturedef, request, "setup", started_ns)
        fixturedef.addfinalizer(lambda: self._guard(self._is_ending, fixturedef))

    def _is_ending(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        self._ending[fixturedef] = Clock.time_ns()

    def _note(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest, when: str, started_ns: int
    ) -> None:
        scope = fixturedef.scope
        module = request.node.nodeid.partition("::")[0] if scope in ("class", "module") else ""
        self._keep(FixtureTimes(fixturedef.argname, scope, when, started_ns, Clock.time_ns(), module))
