"""Appending whole lines to a file in a process where anything may happen to descriptors."""

from __future__ import annotations

import os

_FLAGS = os.O_WRONLY | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class Appender:
    """Appends lines to one file, each with a single ``write``: what is written survives a kill -9.

    The tested suite may close any descriptor, and the number then belongs to somebody else's file: each write first
    checks whose it is. Raises OSError where the line could not be written whole.
    """

    def __init__(self, path: str, *, create: bool = False) -> None:
        self.path = path
        flags = _FLAGS | (os.O_CREAT | os.O_EXCL if create else 0)
        self._fd = os.open(path, flags, 0o600)
        self._identity = identity(self._fd)
        self._torn = False

    def write(self, data: bytes) -> None:
        """Append ``data``, which ends with a line feed."""
        if self._torn:  # what a full disk cut off must not swallow the next line
            data = b"\n" + data
        try:
            ours = identity(self._fd) == self._identity
        except OSError:
            ours = False
        if not ours:
            self._reopen()
        written = 0
        try:
            while written < len(data):
                written += os.write(self._fd, data[written:] if written else data)
        except OSError:
            self._torn = self._torn or written > 0
            raise
        self._torn = False

    def close(self) -> None:
        """Close the descriptor if it is still ours."""
        try:
            if identity(self._fd) == self._identity:
                os.close(self._fd)
        except OSError:
            pass  # the suite has closed it for us

    def _reopen(self) -> None:
        fd = os.open(self.path, _FLAGS, 0o600)
        if identity(fd) != self._identity:
            os.close(fd)
            raise FileNotFoundError(f"{self.path} was replaced while the run was writing to it")
        self._fd = fd


def identity(fd: int) -> tuple[int, int]:
    """Return what tells one open file from another: device and inode."""
    status = os.fstat(fd)
    return status.st_dev, status.st_ino
