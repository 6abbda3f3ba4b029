"""The main job, whole, beside all plugins that are installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.servers.client import embedded_query

if TYPE_CHECKING:
    from tests.kit import Observed, Workbench


@pytest.fixture(autouse=True)
def _all_plugins(bench: Workbench) -> None:
    bench.all_plugins = True


def test_a_run_becomes_rows_on_a_server_and_leaves_nothing_on_disk(observed: Observed) -> None:
    observed.bench.write(test_a="def test_ok(): pass\ndef test_bad(): assert 1 == 2\n")
    run = observed.run()
    assert run.returncode == 1
    assert run.summary == f"test-observer: 2 results sent to {observed.server.url}."
    assert observed.verdicts() == {
        "test_ok": [("passed", "passed", "call", 1, False)],
        "test_bad": [("failed", "failed", "call", 1, False)],
    }
    assert list(observed.bench.buffers.iterdir()) == []


def test_a_run_becomes_rows_in_the_embedded_engine(bench: Workbench) -> None:
    bench.write(test_a="def test_ok(): pass\n")
    run = bench.run("--ch-url=chdb://data/observer.db")
    assert "1 result sent to chdb://" in run.summary
    path = str(bench.suite / "data" / "observer.db")
    assert embedded_query(path, "SELECT nodeid, status FROM pytest_results") == [
        {"nodeid": "test_a.py::test_ok", "status": "passed"}
    ]


def test_a_run_without_a_terminal_reporter_becomes_rows_as_well(observed: Observed) -> None:
    observed.bench.write(test_a="def test_ok(): pass\n")
    run = observed.run("-p", "no:terminal")
    assert run.summary == f"test-observer: 1 result sent to {observed.server.url}."
    assert observed.verdicts() == {"test_ok": [("passed", "passed", "call", 1, False)]}
