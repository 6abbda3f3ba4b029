"""How much of a suite a session ran, and how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

# Options that select tests without telling pytest what they left out.
_SELECTING = ("keyword", "markexpr", "lf", "stepwise", "deselect")
_ABORTED = frozenset({2, 3, 4})
_NOTHING_COLLECTED = 5
# With failures (-x and --maxfail stop early without being an interruption), and with nothing to run.
_RAN = frozenset({1, _NOTHING_COLLECTED})


class Selection:
    """Counts of one session, put together while it collects; under xdist the workers' share is added."""

    def __init__(self) -> None:
        self.collected = 0
        self.deselected = 0
        self.workers = 1
        self.is_partial = False

    def asked_for_part(self, config: pytest.Config) -> None:
        """Note whether the command line names a part of the suite: an option, a file, or a node id."""
        option = config.option
        by_option = any(getattr(option, name, None) for name in _SELECTING)
        names = map(str, getattr(option, "file_or_dir", []))
        by_name = any("::" in name or name.endswith(".py") for name in names)
        self.is_partial = self.is_partial or by_option or by_name

    def settle(self, found: int, kept: int) -> None:
        """Collection found ``found`` tests and keeps ``kept``; not every plugin that drops some says so."""
        self.collected = kept
        self.is_partial = self.is_partial or kept < found or self.deselected > 0

    def as_plain(self) -> dict[str, int]:
        """What a worker tells the controller."""
        return {"deselected": self.deselected, "partial": int(self.is_partial)}

    def add_worker(self, plain: dict[str, int]) -> None:
        """Take in what a worker tells: all of them select the same."""
        self.deselected = max(self.deselected, plain.get("deselected", 0))
        self.is_partial = self.is_partial or bool(plain.get("partial"))


def run_status(exit_status: int, not_run: int) -> str:
    """Return success, failure, aborted or skipped for an exit status of pytest.

    Two interrupts in quick succession, and ``pytest.exit(returncode=0)``, end a run early with status 0;
    ``pytest.exit`` can give any other, too.
    """
    if exit_status in _ABORTED or (exit_status not in _RAN and not_run):
        return "aborted"
    if exit_status == _NOTHING_COLLECTED:
        return "skipped"
    return "success" if exit_status == 0 else "failure"
