"""Appending whole lines to a file in a process where anything may happen to descriptors, and to the file."""

from __future__ import annotations

import os
from contextlib import suppress

from pytest_test_observer._system import System

_FLAGS = os.O_RDWR | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_COPY = 1 << 20


class Appender:
    """Appends lines to one file, each with a single ``write``: what is written survives a kill -9.

    The tested suite may close any descriptor, and the number then belongs to somebody else's file: each write
    first checks whose it is. Whoever made the file (``create``) makes it again, with all it held, where the
    suite deleted it. ``alone`` says that nobody else appends to it. Raises OSError where a line could not be
    written whole.
    """

    def __init__(self, path: str, *, create: bool = False, alone: bool = False) -> None:
        self.path = path
        self.reopened = False
        """Whether the descriptor was lost since this was last set to False: others will be lost too."""
        self._creator = create
        self._alone = alone
        self._fd = _open(path, create=create)
        self._device, self._inode = identity(self._fd)
        self._can_tell_deleted = System.fstat(self._fd).st_nlink > 0
        self._torn = False

    def write(self, data: bytes) -> None:
        """Append ``data``, which ends with a line feed."""
        fd = self._fd
        try:
            status = System.fstat(fd)
            is_ours = status.st_ino == self._inode and status.st_dev == self._device and status.st_nlink > 0
        except OSError:
            is_ours = False
        if not is_ours:
            self.ensure()
            fd = self._fd
        if self._torn:  # what a full disk cut off must not swallow the next line
            data = b"\n" + data
        written = 0
        try:
            written = System.write(fd, data)
            while written < len(data):
                written += System.write(fd, data[written:])
        except OSError:
            self._torn = (self._torn or written > 0) and not self._take_back(written)
            raise
        self._torn = False

    def ensure(self) -> None:
        """Make sure that the next line goes to where others look for it; raises OSError if that cannot be."""
        try:
            status = System.fstat(self._fd)
        except OSError:
            self._reopen()
            return
        if (status.st_dev, status.st_ino) != (self._device, self._inode):
            self._reopen()
        elif status.st_nlink == 0 and self._can_tell_deleted:
            self._replace()

    def close(self) -> None:
        """Close the descriptor if it is still ours."""
        try:
            if identity(self._fd) == (self._device, self._inode):
                System.close(self._fd)
        except OSError:
            pass  # the suite has closed it for us

    def _take_back(self, written: int) -> bool:
        """Remove the part of a line that was written; not where another process may have written after it."""
        if not self._alone:
            return False
        try:
            os.ftruncate(self._fd, System.fstat(self._fd).st_size - written)
        except OSError:
            return False
        return True

    def _reopen(self) -> None:
        fd = System.open(self.path, _FLAGS, 0o600)
        if identity(fd) != (self._device, self._inode):
            System.close(fd)
            raise FileNotFoundError(f"{self.path} was replaced while the run was writing to it")
        self._fd = fd
        self.reopened = True

    def _replace(self) -> None:
        """Go on in a new file of the same name, with the content of the one that was deleted."""
        if self._creator:
            os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
        new = _open(self.path, create=self._creator)
        try:
            if self._creator:
                _copy(self._fd, new)
        except OSError:
            System.close(new)
            os.unlink(self.path)
            raise
        System.close(self._fd)
        self._fd = new
        self._device, self._inode = identity(new)
        self.reopened = True


def _open(path: str, *, create: bool) -> int:
    fd = System.open(path, _FLAGS | (os.O_CREAT | os.O_EXCL if create else 0), 0o600)
    if create and hasattr(os, "fchmod"):
        with suppress(OSError):  # a file system without rights
            os.fchmod(fd, 0o600)  # whatever umask a test has set: the helper must be able to read it
    return fd


def _copy(source: int, target: int) -> None:
    position = 0
    while data := os.pread(source, _COPY, position):
        position += len(data)
        while data:
            data = data[System.write(target, data) :]


def identity(fd: int) -> tuple[int, int]:
    """Return what tells one open file from another: device and inode."""
    status = System.fstat(fd)
    return status.st_dev, status.st_ino
