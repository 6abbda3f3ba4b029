"""Who is at a journal: locks on a file of their own, and signs of life where locks are not to be had.

``lockf`` and not ``flock``: the latter stays held by children that the tested suite forks.
"""

from __future__ import annotations

import os
import sys

from pytest_test_observer._journal.append import identity
from pytest_test_observer._journal.files import NO_LINK
from pytest_test_observer._system import System

if sys.platform != "win32":
    import fcntl

WRITER = 0
SENDER = 1


class FileLock:
    """One byte of a lock file: ``WRITER`` is the run's pytest, ``SENDER`` whoever sends its rows."""

    def __init__(self, path: str, byte: int) -> None:
        self._path = path
        self._byte = byte
        self._fd = -1
        self._identity = (0, 0)

    def acquire(self) -> bool:
        """Take the lock unless another process has it; True also where the file system knows no locks.

        A process that closes the file loses all its locks on it, whichever descriptor it closes.
        """
        try:
            self._fd = System.open(self._path, os.O_RDWR | os.O_CREAT | NO_LINK | getattr(os, "O_CLOEXEC", 0), 0o600)
        except OSError:
            return True
        self._identity = identity(self._fd)
        if sys.platform == "win32":
            return True
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, self._byte)
        except (BlockingIOError, PermissionError):
            self.release()
            return False
        except OSError:  # ENOLCK, ENOTSUP: some network file systems
            return True
        return True

    def release(self) -> None:
        """Let go; a descriptor that the tested suite closed is no error."""
        fd, self._fd = self._fd, -1
        try:
            if fd >= 0 and identity(fd) == self._identity:
                System.close(fd)
        except OSError:
            pass
