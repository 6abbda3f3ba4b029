"""Results, runs and events whose numbers are known, with names that hurt."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tests.grafana_kit import ALL, Span

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUR_MS = 3_600_000
# In the middle of an hour, so that attempts of one run are in one interval.
NOW_MS = int(time.time() * 1000) // HOUR_MS * HOUR_MS - HOUR_MS // 2
WEEK = Span(NOW_MS - 7 * 24 * HOUR_MS, NOW_MS)

HOSTILE = """test_a&b#c.py::test_x['q"\\'; -- #+%27 [é] $__timeFilter(x) ${table} /* \\"""
PLAIN, LATER = "test_shop.py::test_pay", "test_shop.py::test_later"
BRANCH = "o'br\\anch'"
FEATURE, STORY = "it's \\ paid", "by 'card'\\"

# run id, hours ago, CI system, pipeline run, branch, commit, variant, service
RUNS = {
    "run-1": (50, "github", "101", "main", "aaa", "py3.10", "shop"),
    "run-2": (40, "github", "102", "main", "bbb", "py3.10", "shop"),
    "run-2b": (40, "github", "102", "main", "bbb", "py3.14", "shop"),
    "run-3": (30, "github", "103", "main", "bbb", "py3.10", "shop"),
    "local-run-4": (20, "local", "", BRANCH, "ccc", "py3.10", "shop"),
    "other-run-5": (10, "local", "", "main", "aaa", "py3.10", "other"),
    "long-ago": (24 * 30, "github", "1", "main", "zzz", "py3.10", "shop"),
}
# run id, test, attempt, status, outcome, seconds of the call
ATTEMPTS = (
    ("run-1", HOSTILE, 1, "failed", "rerun", 1.0),
    ("run-1", HOSTILE, 2, "passed", "passed", 2.0),
    ("run-1", PLAIN, 1, "passed", "passed", 0.5),
    ("run-1", LATER, 1, "skipped", "skipped", 0.0),
    ("run-2", HOSTILE, 1, "passed", "passed", 3.0),
    ("run-2", PLAIN, 1, "passed", "passed", 0.5),
    ("run-2b", PLAIN, 1, "passed", "passed", 0.5),
    ("run-3", HOSTILE, 1, "failed", "rerun", 4.0),
    ("run-3", HOSTILE, 2, "failed", "failed", 5.0),
    ("run-3", PLAIN, 1, "passed", "passed", 0.5),
    ("local-run-4", HOSTILE, 1, "broken", "crashed", 0.0),
    ("local-run-4", PLAIN, 1, "passed", "passed", 0.5),
    ("other-run-5", HOSTILE, 1, "passed", "passed", 9.0),
    ("long-ago", PLAIN, 1, "failed", "failed", 100.0),
)
# run id, status, duration, not run, partial
ENDS = (
    ("run-1", "success", 10.0, 0, False),
    ("run-2", "success", 20.0, 0, False),
    ("run-2b", "success", 30.0, 0, False),
    ("run-3", "failure", 40.0, 0, False),
    ("local-run-4", "aborted", 500.0, 3, False),
    ("other-run-5", "success", 1.0, 0, True),
)
# run id, test, attempt, seq, name, payload
EVENTS: tuple[tuple[str, str, int, int, str, dict[str, str]], ...] = (
    ("run-1", HOSTILE, 2, 0, "paid", {"cents": "5", "by": "card"}),
    ("run-3", HOSTILE, 2, 0, "paid", {"cents": "7", "o'key\\": "1e3"}),
    ("run-3", HOSTILE, 2, 1, "refused", {}),
    ("other-run-5", HOSTILE, 1, 0, "elsewhere", {"cents": "99"}),
    ("run-1", PLAIN, 1, 0, "paid", {"cents": "inf"}),
)
EVERYTHING = {
    "table": "pytest_results",
    "search": "",
    "nodeid": HOSTILE,
    "run": "run-3",
    "attempt": "0",
    **dict.fromkeys(("repository", "service", "branch", "provider", "variant", "feature", "story", "marker"), ALL),
}


def _context(run_id: str) -> dict[str, Any]:
    hours, provider, pipeline, branch, commit, variant, service = RUNS[run_id]
    at = NOW_MS - hours * HOUR_MS
    facts = {"run_id": run_id, "ci_provider": provider, "ci_run_id": pipeline, "git_branch": branch}
    times = {"timestamp": str(at), "started_at": at - 1000, "finished_at": at}
    url = f"https://ci.example/{pipeline}" if pipeline else "javascript:alert(1)"
    about = {"git_commit": commit, "variant": variant, "service": service, "repository": "r", "ci_url": url}
    return {**facts, **times, **about}


def results() -> Iterator[dict[str, Any]]:
    """Yield the rows of the table of results."""
    for number, (run_id, nodeid, attempt, status, outcome, seconds) in enumerate(ATTEMPTS):
        bad = status in ("failed", "broken")
        context = _context(run_id)
        later = attempt * 1000
        yield {
            **context,
            "timestamp": str(int(context["timestamp"]) + later),
            "started_at": context["started_at"] + later,
            "finished_at": context["finished_at"] + later,
            "nodeid": nodeid,
            "attempt": attempt,
            "status": status,
            "outcome": outcome,
            "flaky": status == "passed" and attempt > 1,
            "call_duration": seconds,
            "error_message": f"{outcome}\nmore" if bad else "",
            "error_type": "AssertionError" if bad else "",
            "markers": ["slow"] if nodeid == HOSTILE else [],
            "allure_labels": {"feature": [FEATURE], "story": [STORY]} if nodeid == HOSTILE else {"feature": ["shop"]},
            "trace_id": f"{number:032x}",
            "span_id": f"{number:016x}",
        }


def runs() -> Iterator[dict[str, Any]]:
    """Yield the rows of the table of runs."""
    for run_id, status, duration, not_run, partial in ENDS:
        ended = {"status": status, "duration": duration, "not_run": not_run, "partial": partial}
        yield {**_context(run_id), **ended, "exit_status": 0, "collected": 5}


def events() -> Iterator[dict[str, Any]]:
    """Yield the rows of the table of events."""
    spans = {attempt[:3]: f"{number:016x}" for number, attempt in enumerate(ATTEMPTS)}
    for run_id, nodeid, attempt, seq, name, payload in EVENTS:
        facts = {"run_id": run_id, "nodeid": nodeid, "attempt": attempt, "seq": seq, "event_name": name}
        facts["span_id"] = spans[run_id, nodeid, attempt]
        yield {**facts, "payload": payload, "timestamp": _context(run_id)["timestamp"]}
