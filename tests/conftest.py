"""Fixtures for all tests; see ``tests/kit.py`` for what they give."""

from __future__ import annotations

import signal
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.kit import Observed, Workbench
from tests.servers.fixtures import clickhouse_server, controllable_clickhouse, database, query

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.client import ClickHouse

# A shell that starts the tests in the background lets them, and all that they start, ignore Ctrl-C, nohup a hangup.
# What has a handler here is at its default in the processes that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda _number, _frame: None)

__all__ = ["clickhouse_server", "controllable_clickhouse", "database", "query"]


@pytest.fixture(scope="session", autouse=True)
def temporary_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let commands that run in this process find nothing in the temporary directory that others have kept there.

    A replay without paths would send it to a database of the tests, and delete it.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("tmp")))
        yield


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    """A directory with a suite in it, and a cache directory of its own; runs pytest as a process."""
    return Workbench(tmp_path)


@pytest.fixture
def observed(bench: Workbench, clickhouse_server: ClickHouse, database: str) -> Observed:
    """The same, with results going to a fresh database of the test's server."""
    return Observed(bench, clickhouse_server, database)
