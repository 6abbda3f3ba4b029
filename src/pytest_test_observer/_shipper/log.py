"""The helper's log: everything that it or its libraries print, none of it on the user's terminal."""

from __future__ import annotations

import contextlib
import os
import sys

from pytest_test_observer._journal.files import NO_LINK
from pytest_test_observer._secrets import spellings

# A library that complains about every batch of a long run must not fill the disk.
_LARGEST = 256 * 1024
_SHOWN = 300


class Log:
    """A file that output goes to, with ``secrets`` blacked out of what Python prints."""

    def __init__(self, path: str, secrets: list[str]) -> None:
        self._path = path
        self._secrets = spellings(secrets)

    def take_over_output(self) -> None:
        """Point standard output and error at the file, and standard input at nothing."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | NO_LINK
        try:
            log = os.open(self._path, flags, 0o600)
        except OSError:
            log = os.open(os.devnull, os.O_WRONLY)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
            os.set_inheritable(target, True)
        os.close(log)
        os.close(nothing)
        sys.stdout = sys.stderr = _Blacked(self._secrets)


class _Blacked:
    """A text stream onto descriptor 2 that shows no secrets and stops at a size."""

    def __init__(self, secrets: list[str]) -> None:
        self._secrets = secrets
        self._left = max(0, _LARGEST - os.fstat(2).st_size)

    def write(self, text: str) -> int:
        shown = text
        for secret in self._secrets:
            shown = shown.replace(secret, "***")
        data = shown.encode("utf-8", "backslashreplace")[: self._left]
        self._left -= len(data)
        with contextlib.suppress(OSError):
            os.write(2, data)
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def isatty(self) -> bool:
        return False


def last_line(path: str) -> str:
    """Return the last line of a helper's log, empty where there is none."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.stat(path).st_size - 4096))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1][:_SHOWN] if lines else ""
