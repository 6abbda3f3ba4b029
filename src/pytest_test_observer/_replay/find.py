"""Which runs and files the paths of a command line stand for."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, NamedTuple

from pytest_test_observer._journal.files import (
    DIRECTORY,
    EVENTS_SUFFIX,
    META_SUFFIX,
    QUARANTINE,
    SUFFIX,
    JournalFiles,
    buffer_directory,
    is_ours,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_SIDECAR_BEGINS = b'{"kind":'
# How the names of a run's files end; a longer ending stands before those that end like it.
_ENDINGS = (EVENTS_SUFFIX, META_SUFFIX, SUFFIX, ".running", ".lock", ".log")


class Found(NamedTuple):
    """A run with its sidecar, or the one file at ``path`` that has none (``run`` is None then)."""

    path: str
    run: JournalFiles | None = None

    @property
    def size(self) -> int:
        """Bytes of rows."""
        paths = (self.run.results, self.run.events) if self.run else (self.path,)
        return sum(os.stat(path).st_size for path in paths if os.path.exists(path))


def find(paths: Iterable[str]) -> list[Found]:
    """Return what there is at ``paths``, files or directories, each thing once, in order."""
    found: dict[str, Found] = {}
    for path in paths:
        for file in _files(os.path.realpath(path)):
            thing = _thing(file)
            found.setdefault(thing.path, thing)
    return list(found.values())


def buffer_directories(environ: Mapping[str, str]) -> list[str]:
    """Return the directories that runs of this user have left buffers in: the cache, then temporary ones."""
    return [path for path in (buffer_directory(environ), *_temporary_directories()) if os.path.isdir(path)]


def _temporary_directories() -> list[str]:
    try:
        shared = tempfile.gettempdir()
        names = sorted(os.listdir(shared))
    except OSError:
        return []  # there is none that this user can read, so nothing of ours is there
    temporary = (os.path.join(shared, name) for name in names if name.startswith(f"{DIRECTORY}-"))
    return [path for path in temporary if is_ours(path)]


def _files(path: str) -> Iterator[str]:
    """Return a file itself, and what lies in a directory at any depth: artifacts come with directories of their own.

    What was set aside is for those who have looked at it.
    """
    if not os.path.isdir(path):
        yield path
        return
    denied: list[OSError] = []
    for directory, inner, names in os.walk(path, onerror=denied.append):
        inner[:] = sorted(name for name in inner if name != QUARANTINE)
        for name in sorted(names):
            file = os.path.join(directory, name)
            if name.endswith(SUFFIX) and os.path.isfile(file):
                yield file
    yield from (error.filename for error in denied)  # whoever opens it will say why


def _thing(path: str) -> Found:
    """Return what a file belongs to: the run that its name begins with, where that has a sidecar."""
    directory, name = os.path.split(path)
    ending = next(filter(name.endswith, _ENDINGS), "")
    run = JournalFiles(directory, name.removesuffix(ending))
    return Found(run.results, run) if ending and _is_sidecar(run.meta) else Found(path)


def _is_sidecar(path: str) -> bool:
    """Whether a file says things of a run; 0.2.0 took a run id like ``x.meta`` into a file name as it was."""
    try:
        with open(path, "rb") as file:
            start = file.read(len(_SIDECAR_BEGINS))
    except OSError:
        return False
    return start in (b"", _SIDECAR_BEGINS)
