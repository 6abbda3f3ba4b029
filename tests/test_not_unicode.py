"""Bytes of the environment that are no UTF-8: they change no result, and arrive as far as a database can take them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pytest_test_observer._secrets import blacked_out, spellings

if TYPE_CHECKING:
    from tests.kit import Observed

ODD = os.fsdecode(b"caf\xe9")
SHOWN = "caf\\udce9"


def test_bytes_that_are_no_text_change_nothing_and_arrive_visibly(observed: Observed) -> None:
    observed.bench.write(test_a="def test_ok(record_event): record_event('one')\n")
    environ = {
        "PYTEST_OBSERVER_RUN_ID": ODD,
        "XDG_CACHE_HOME": f"{observed.bench.cache}{ODD}",
        "TMPDIR": str(observed.bench.suite.parent),
        "TRACESTATE": f"vendor={ODD}",
        "OTEL_RESOURCE_ATTRIBUTES": f"team={ODD}",
        "OTEL_EXPORTER_OTLP_HEADERS": f"key={ODD}-secret",
        "GITHUB_ACTIONS": "true",
        "GITHUB_REF_NAME": ODD,
    }
    run = observed.run("-n1", "--custom-events=on", "--observer-exit-timeout=1e300", env=environ)
    assert run.returncode == 0, run.stdout
    assert run.summary == f"test-observer: 1 result sent to {observed.server.url}."
    assert observed.rows("run_id, git_branch") == [{"run_id": SHOWN, "git_branch": SHOWN}]
    (found,) = observed.rows("run_id, attributes", "pytest_results_runs", "run_id")
    assert (found["run_id"], found["attributes"]["team"]) == (SHOWN, SHOWN)
    assert len(observed.rows("name", "(SELECT event_name AS name FROM pytest_results_events)", "name")) == 1


def test_a_secret_that_is_no_text_is_blacked_out_in_each_spelling() -> None:
    spelled = spellings([ODD + "-secret"])
    assert blacked_out("caf%E9-secret and caf\udce9-secret and caf\\udce9-secret", spelled) == "*** and *** and ***"
