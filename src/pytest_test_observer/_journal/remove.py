"""Deleting a run's files."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_test_observer._journal.files import JournalFiles


def remove(files: JournalFiles) -> None:
    """Delete a run's files, last the sidecar: it tells the rows apart, and it reserves the names."""
    rewritten = (files.rewritten("results"), files.rewritten("events"))
    for path in (files.results, files.events, *rewritten, files.running, files.log, files.lock, files.meta):
        with suppress(FileNotFoundError):
            os.unlink(path)
