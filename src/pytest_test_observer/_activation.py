"""Whether, and as what, the plugin takes part in a pytest session."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pytest_test_observer._settings import EnvironmentValueError, Settings, given_on_command_line, on, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

# Set in the environment of processes of ours.
INERT = "PYTEST_TEST_OBSERVER_INERT"
WORKER_KEY = "test_observer"
# Set by plugins that run tests in pytests of their own and report them here: pytest-isolated. Those get our flags too.
_TOLD_ELSEWHERE = "PYTEST_RUNNING_IN_SUBPROCESS"
# Where modules are looked for before conftest files put the tests' directories in front.
_FIRST_SEARCH_PATH = tuple(sys.path)

# Options under which pytest runs no tests.
_NO_TESTS = (
    "help",
    "version",
    "collectonly",
    "setuponly",
    "setupplan",
    "showfixtures",
    "show_fixtures_per_test",
    "markers",
    "cacheshow",
)


def search_path() -> list[str]:
    """Return where our modules and theirs are looked for: as pytest was started, not among the tests."""
    here = os.getcwd() if os.path.isdir(os.curdir) else ""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return [path for path in _FIRST_SEARCH_PATH if path and (path != here or path == package)]


@contextmanager
def shielded() -> Iterator[None]:
    """Import ours while nothing that lies beside the tests can stand in front of it.

    Nor does pytest rewrite our assertions meanwhile, as it does in all modules of a plugin: that would compile each of
    them anew, in every run where the place they are installed in cannot be written to.
    """
    before, finders = sys.path[:], sys.meta_path[:]
    first = search_path()
    sys.path[:] = [*first, *(path for path in before if path not in first)]
    sys.meta_path[:] = [finder for finder in finders if type(finder).__module__ != "_pytest.assertion.rewrite"]
    try:
        yield
    finally:
        sys.path[:], sys.meta_path[:] = before, finders


def settings_if_active(config: pytest.Config) -> Settings | None:
    """Return the settings of a session that is observed, None for any other.

    Raises pytest.UsageError for unusable values of the command line and of ini files; those of the
    environment are reported once and leave the plugin off, because a secret that CI lacks must not fail a
    build.
    """
    if INERT in os.environ or _TOLD_ELSEWHERE in os.environ:
        return None
    # A pytest inside an observed test inherits our settings; only its own command line can mean it.
    nested = "PYTEST_CURRENT_TEST" in os.environ
    if nested and not given_on_command_line(config):
        return None
    try:
        settings = resolve(config, os.environ)
    except EnvironmentValueError as error:
        say(config, f"test-observer: off. {error}")
        return None
    if not on(settings) or any(getattr(config.option, name, False) for name in _NO_TESTS):
        return None
    if settings.ch_send_from == "ci":
        from pytest_test_observer._context.ci import is_ci  # noqa: PLC0415 - nothing of ours loads while off

        if not is_ci(os.environ):
            return None
    return settings


def give_up(config: pytest.Config, error: Exception) -> None:
    """Say that an error of the plugin's own leaves it off: its kind and its place, not its text."""
    say(config, f"test-observer: off. An error of the plugin's own: {type(error).__name__}{place_of(error)}")


def place_of(error: Exception) -> str:
    """Return where an error was raised, as a remark behind its name."""
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    return f" ({os.path.basename(where.tb_frame.f_code.co_filename)}:{where.tb_lineno})" if where else ""


def say(config: pytest.Config, message: str) -> None:
    """Tell the user once, in the header of the run."""
    from pytest_test_observer._messages import announce  # noqa: PLC0415 - nothing of ours loads while off

    announce(config, message)
