"""Deleting a run's files."""

from __future__ import annotations

import os

from pytest_test_observer._journal.files import JournalFiles


def remove(files: JournalFiles) -> None:
    """Delete a run's files; the sidecar after the rows, because they cannot be told apart without it."""
    for path in (files.results, files.events, files.meta, files.lock):
        try:
            os.unlink(path)
        except FileNotFoundError:
            continue
