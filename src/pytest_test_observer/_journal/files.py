"""Names of a run's files, and the directory they live in."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, NamedTuple

from pytest_test_observer._setting import is_unicode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DIRECTORY = "pytest-test-observer"
SUFFIX = ".jsonl"
EVENTS_SUFFIX = "_events.jsonl"
META_SUFFIX = ".meta.jsonl"
QUARANTINE = "quarantine"
# For files whose names others can know, in a directory where others may put links.
NO_LINK = getattr(os, "O_NOFOLLOW", 0)

_PLAIN = re.compile(r"[^A-Za-z0-9_-]")
# File names have 255 bytes on most systems; the longest suffix and a counter need some of them.
_LONGEST = 180


class JournalFiles(NamedTuple):
    """Paths of one run's files."""

    directory: str
    stem: str

    @property
    def results(self) -> str:
        """Rows of attempts."""
        return self._path(SUFFIX)

    @property
    def events(self) -> str:
        """Rows of custom events."""
        return self._path(EVENTS_SUFFIX)

    @property
    def meta(self) -> str:
        """The sidecar."""
        return self._path(META_SUFFIX)

    @property
    def running(self) -> str:
        """Marks of what is running, see ``marks``."""
        return self._path(".running")

    @property
    def lock(self) -> str:
        """Held while somebody writes or sends."""
        return self._path(".lock")

    @property
    def log(self) -> str:
        """What the helper has to say."""
        return self._path(".log")

    def table(self, key: str) -> str:
        """Path of the rows of a table that has a file of its own (``results`` or ``events``)."""
        return self.results if key == "results" else self.events

    def rewritten(self, key: str) -> str:
        """Path of a table's file while what has arrived is cut out of it."""
        return f"{self.table(key)}.new"

    def _path(self, suffix: str) -> str:
        return os.path.join(self.directory, self.stem + suffix)


def stem_for(run_id: str) -> str:
    """Return ``run_id`` as a file name: different ids have different names, none can leave the directory."""
    stem = _PLAIN.sub(_escape, run_id)
    if stem.endswith("_events"):  # else the rows of run "x_events" would be taken for the events of run "x"
        stem = stem[: -len("_events")] + "%5Fevents"
    if len(stem) > _LONGEST or not stem:
        from hashlib import sha256  # noqa: PLC0415 - rarely needed, and slow to load

        digest = sha256(run_id.encode("utf-8", "surrogatepass")).hexdigest()
        stem = f"{stem[: _LONGEST - 70]}%%{digest}"  # no escaped name has two signs in a row
    return stem


def _escape(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogatepass"))


def buffer_directory(environ: Mapping[str, str]) -> str:
    """Return where buffers belong: below ``XDG_CACHE_HOME``, else ``~/.cache``; empty for a user without a home.

    Never a relative path: the helper works in another directory, and tests may change theirs.
    """
    if base := environ.get("XDG_CACHE_HOME"):
        return os.path.join(os.path.abspath(base), DIRECTORY)
    home = os.path.expanduser("~")
    return os.path.join(home, ".cache", DIRECTORY) if os.path.isabs(home) else ""


def usable_directories(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield directories, made if need be, best first: the cache, then a temporary one that is ours.

    None whose name is no UTF-8: the helper and the workers are told it as text.
    """
    cache = buffer_directory(environ)
    if cache and _make(cache):
        _close_to_others(cache)
        yield cache
    import tempfile  # noqa: PLC0415 - rarely needed, and slow to load

    try:
        shared = os.path.join(tempfile.gettempdir(), f"{DIRECTORY}-{_user()}")
    except OSError:
        return  # nowhere can anything be written
    if _make(shared) and is_ours(shared):
        _close_to_others(shared)
        yield shared
    try:
        last = tempfile.mkdtemp(prefix=f"{DIRECTORY}-")
    except OSError:
        return
    if is_unicode(last):
        yield last


def _make(directory: str) -> bool:
    """Make a directory, if need be; not where its name could not be told to workers, the helper and the user."""
    if not is_unicode(directory):
        return False
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
    except OSError:
        return False
    return True


def _close_to_others(directory: str) -> None:
    """Take back what an earlier version, or a generous umask, gave to others."""
    try:
        status = os.lstat(directory)  # what a link leads to can be shared on purpose
        if stat.S_ISDIR(status.st_mode) and stat.S_IMODE(status.st_mode) & 0o077:
            os.chmod(directory, 0o700)
    except OSError:
        pass  # somebody else's, shared on purpose: the files in it are still only ours


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else "user"


def is_ours(directory: str) -> bool:
    """Whether a path is a directory, and nobody else can have put it there: anybody can write to /tmp."""
    try:
        status = os.lstat(directory)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and (not hasattr(os, "getuid") or status.st_uid == os.getuid())


def candidates(directory: str, run_id: str) -> Iterator[JournalFiles]:
    """Yield names for a run's files, without end: a run id may come back, its files are never shared."""
    stem = stem_for(run_id)
    yield JournalFiles(directory, stem)
    number = 2
    while True:
        yield JournalFiles(directory, f"{stem}~{number}")
        number += 1
