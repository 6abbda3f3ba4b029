"""Reserving a run's files: names that no other process has, and the lock that says whose they are."""

from __future__ import annotations

import os
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from pytest_test_observer._journal.append import Appender
from pytest_test_observer._journal.files import JournalFiles, candidates, usable_directories
from pytest_test_observer._journal.locks import WRITER, FileLock
from pytest_test_observer._journal.remove import remove

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMES_TRIED = 10_000


class JournalError(Exception):
    """No place on disk takes a journal; the text says what was tried."""


class Reserved(NamedTuple):
    """The files of a journal that nothing is written to yet: the sidecar, and that of the results."""

    files: JournalFiles
    meta: Appender
    results: Appender
    lock: FileLock

    def discard(self) -> None:
        """Delete the files again."""
        self.meta.close()
        self.results.close()
        self.lock.release()
        remove(self.files)


def reserve(environ: Mapping[str, str], run_id: str) -> Reserved:
    """Reserve file names for a run; raises JournalError."""
    reasons = []
    for directory in usable_directories(environ):
        try:
            return _reserve(directory, run_id)
        except OSError as error:  # noqa: PERF203
            reasons.append(f"{directory}: {error.strerror or error}")
    raise JournalError("; ".join(reasons) or "no directory for buffers could be made")


def _reserve(directory: str, run_id: str) -> Reserved:
    for files in islice(candidates(directory, run_id), _NAMES_TRIED):
        if any(os.path.exists(path) for path in (files.results, files.events, files.meta)):
            continue  # of another run of this id, or of version 0.2.0
        lock = FileLock(files.lock, WRITER)
        if not lock.acquire():  # first of all: nobody may ever see a live journal that is not locked
            continue
        try:
            return Reserved(files, *_make_files(files), lock)
        except FileExistsError:
            lock.release()
        except OSError:
            remove(files)
            lock.release()
            raise
    raise OSError(f"{_NAMES_TRIED} runs of this id have files there")


def _make_files(files: JournalFiles) -> tuple[Appender, Appender]:
    """Make the sidecar, whose name reserves the others, and the file of the results."""
    meta = Appender(files.meta, create=True)
    try:
        meta.write(b"\n")  # a full disk makes files, but does not fill them
        os.truncate(files.meta, 0)
        return meta, Appender(files.results, create=True, alone=True)
    except OSError as error:
        meta.close()
        raise OSError(error.errno, error.strerror) from error  # not FileExistsError: the names were free
