"""The pytest plugin: options, activation, and the ``record_event`` fixture.

This module is imported in every pytest run where the package is installed, so it imports nothing beyond pytest and
the table of settings; all the rest is loaded once a destination is configured.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from pytest_test_observer._activation import WORKER_KEY, give_up, say, settings_if_active, shielded
from pytest_test_observer._settings import add_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_test_observer._hooks import CaptureHooks
    from pytest_test_observer._settings import Settings


class RecordEvent(Protocol):
    """The type of what the fixture ``record_event`` gives."""

    def __call__(self, name: str, payload: Mapping[str, str] | None = None) -> None:
        """Record an event of the running test; raises TypeError where name or payload are not of strings."""


# How the names of the plugins that are registered for a session begin.
OWN = "test_observer_"
NEST_MARKER = "observer_nest"
NEST_MARKER_HELP = (
    f"{NEST_MARKER}(enabled=True): make the test's span current while it runs (see --observer-nest); False: do not."
)
CAPTURE: pytest.StashKey[CaptureHooks] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """See pytest_addoption: one flag and one ini key for each row of the table of settings."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """See pytest_configure: register the hooks that observe, if anything asks for it."""
    # Also while off: a suite that has the marker must pass --strict-markers then too.
    config.addinivalue_line("markers", NEST_MARKER_HELP)
    worker_input = getattr(config, "workerinput", None)
    if worker_input is not None:
        if WORKER_KEY in worker_input:
            _start(config, lambda: _observe_worker(config, worker_input))
        return
    settings = settings_if_active(config)
    if settings is not None:
        _start(config, lambda: _observe_session(config, settings))


def _observe_worker(config: pytest.Config, worker_input: dict[str, Any]) -> None:
    from pytest_test_observer._hooks import observe_worker  # noqa: PLC0415 - loaded once it is needed

    observe_worker(config, worker_input)


def _observe_session(config: pytest.Config, settings: Settings) -> None:
    """Start the helper first: it loads its libraries while this process loads ours."""
    from pytest_test_observer._opening import JournalError, open_session  # noqa: PLC0415

    try:
        opening = open_session(settings)
    except JournalError as error:
        say(config, f"test-observer: off. No journal can be written: {error}")
        return
    if opening is None:
        return
    try:
        from pytest_test_observer._hooks import observe_session  # noqa: PLC0415

        observe_session(config, settings, opening)
    except BaseException:
        opening.abandon()
        raise


def _start(config: pytest.Config, observe: Callable[[], None]) -> None:
    """Observe, from here or not at all; an error of ours must not end pytest.

    Neither its traceback nor its text is shown: with ``--showlocals`` and ``-vv`` they can hold the environment.
    """
    try:
        with shielded():
            observe()
    except Exception as error:  # noqa: BLE001 - the suite must not see it, whatever it is
        for name in [name for name, _ in config.pluginmanager.list_name_plugin() if name.startswith(OWN)]:
            config.pluginmanager.unregister(name=name)
        give_up(config, error)


@pytest.fixture
def record_event(request: pytest.FixtureRequest) -> RecordEvent:
    """Record a custom event of the running test: ``record_event(name, payload)``.

    ``payload`` maps strings to strings; anything else raises TypeError. Events are kept where ``custom_events`` is
    on, in the order in which they are recorded, also by fixtures during setup and teardown.
    """
    capture = request.config.stash.get(CAPTURE, None)

    def record(name: str, payload: Mapping[str, str] | None = None) -> None:
        checked = _checked(name, payload)
        if capture is not None:
            capture.add_event(request.node.nodeid, name, checked)

    return record


@pytest.fixture
def observer_trace_environment(request: pytest.FixtureRequest) -> dict[str, str]:
    """Environment variables with which spans of a child process nest under the running test.

    ``TRACEPARENT``, and ``TRACESTATE`` where there is one, as W3C Trace Context writes them; empty where the test is
    not nested (see ``--observer-nest``).
    """
    capture = request.config.stash.get(CAPTURE, None)
    return capture.trace_environment() if capture is not None else {}


def _checked(name: object, payload: object) -> dict[str, str]:
    if not isinstance(name, str):
        raise TypeError(f"record_event(): the name must be str, not {type(name).__name__}")
    if payload is None:
        return {}
    if not isinstance(payload, Mapping):
        raise TypeError(f"record_event(): the payload must be dict[str, str], not {type(payload).__name__}")
    for key, value in payload.items():
        if not isinstance(key, str):
            raise TypeError(f"record_event(): key {key!r} must be str, not {type(key).__name__}: convert it")
        if not isinstance(value, str):
            raise TypeError(
                f"record_event(): the value of {key!r} must be str, not {type(value).__name__}: convert it with str()"
            )
    return dict(payload)
