"""The embedded engine: opened by one process at a time, the others wait their turn."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pytest_test_observer._destinations import Answer, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clickhouse_connect.driver.client import Client

__all__ = ["IN_MEMORY", "EmbeddedError", "check_installed", "opened"]

IN_MEMORY = "memory"
INSTALL_HINT = "the embedded engine is not installed: pip install 'pytest-test-observer[embedded]'"
_UPDATE_HINT = "the embedded engine cannot be loaded ({}): pip install -U 'pytest-test-observer[embedded]'"

# Inside the directory: a directory that can hold the database can hold the file, its parent perhaps not.
_LOCK_NAME = ".pytest-test-observer.lock"
# The engine's own lock, which programs that do not know ours hold as well.
_ENGINE_LOCK_NAME = "status"
# Seconds between two looks at a lock that somebody else has: a wait that has a deadline cannot block in the kernel.
_POLL_S = 0.05
_SAY_AFTER_S = 2.0

# lockf locks belong to the process and end with its first close: openings in one process share a descriptor.
_held: dict[str, tuple[int, int]] = {}
# Threads of this process open one after the other: for the locks of files they are one.
_opening = threading.Lock()


class EmbeddedError(Exception):
    """The engine could not be opened; ``reply`` and the text say why."""

    def __init__(self, message: str, *, fatal: bool) -> None:
        super().__init__(message)
        self.reply = Reply(Answer.UNAVAILABLE, message, fatal)


@contextlib.contextmanager
def opened(path: str, wait_s: float = 30.0, on_wait: Callable[[str], None] | None = None) -> Iterator[Client]:
    """Open the engine on the directory ``path`` (made if it is not there) and close it at the end.

    ``path`` is ``"memory"`` for tables that end with the process. While another process has the engine open
    this waits up to ``wait_s`` seconds; after 2 s ``on_wait`` is told a sentence about it, once. Raises
    ``EmbeddedError``.
    """
    if path in (IN_MEMORY, ""):
        with contextlib.closing(_connect(None)) as client:
            yield client
        return
    directory = os.path.realpath(path)
    if "?" in directory:  # the engine reads options after it and stores into what stands before
        raise EmbeddedError(f"{directory} cannot be a database: no question mark may be in its path", fatal=True)
    load_engine()  # a second and more, better not while others wait for the lock
    turn = _Turn(directory, wait_s, on_wait)
    with contextlib.ExitStack() as stack:
        with _opening:
            stack.enter_context(_locked(turn))
            client = stack.enter_context(contextlib.closing(_connect_when_free(turn)))
        yield client


class _Turn:
    """The wait for one database: what is waited for, until when, and whether that was said."""

    def __init__(self, directory: str, wait_s: float, on_wait: Callable[[str], None] | None) -> None:
        self.directory = directory
        self._start = time.monotonic()
        self._wait_s = wait_s
        self._on_wait = on_wait

    def pause(self) -> None:
        """Wait a moment; raises when the time is up."""
        waited = time.monotonic() - self._start
        if waited >= self._wait_s:
            raise EmbeddedError(
                f"another process has {self.directory} open ({waited:.0f} s waited); the embedded engine "
                "takes one process at a time",
                fatal=False,
            )
        if self._on_wait is not None and waited >= _SAY_AFTER_S:
            self._on_wait(f"waiting for {self.directory}, which another process has open")
            self._on_wait = None
        time.sleep(_POLL_S)


@contextlib.contextmanager
def _locked(turn: _Turn) -> Iterator[None]:
    """Hold the advisory lock of a database directory."""
    descriptor, count = _held.get(turn.directory) or (_take_lock(turn), 0)
    _held[turn.directory] = descriptor, count + 1
    try:
        yield
    finally:
        descriptor, count = _held[turn.directory]
        if count > 1:
            _held[turn.directory] = descriptor, count - 1
        else:
            del _held[turn.directory]
            os.close(descriptor)


def _take_lock(turn: _Turn) -> int:
    descriptor = _open_lock_file(turn.directory)
    try:
        while not _try(fcntl.lockf, descriptor, fcntl.LOCK_EX):
            turn.pause()
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _open_lock_file(directory: str) -> int:
    try:
        os.makedirs(os.path.dirname(directory), exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory, 0o700)
        return os.open(os.path.join(directory, _LOCK_NAME), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EmbeddedError(f"cannot use {directory} as a database: {error.strerror}", fatal=True) from error


def _try(lock: Callable[[int, int], None], descriptor: int, mode: int) -> bool:
    try:
        lock(descriptor, mode | fcntl.LOCK_NB)
    except OSError as error:
        # some network file systems have no locks: the engine's own must do then
        return error.errno not in (errno.EAGAIN, errno.EACCES)
    return True


def _connect_when_free(turn: _Turn) -> Client:
    """Open the engine as soon as no program that does not know our lock has it open."""
    while True:
        if not _open_elsewhere(turn.directory):
            try:
                return _connect(turn.directory)
            except EmbeddedError:
                if not _open_elsewhere(turn.directory):
                    raise
        turn.pause()


def _open_elsewhere(directory: str) -> bool:
    """Ask the engine's lock, because a failed opening tells its cause only on stderr."""
    if _held.get(directory, (0, 0))[1] > 1:
        return False  # ourselves: one engine serves many handles of a process
    try:
        descriptor = os.open(os.path.join(directory, _ENGINE_LOCK_NAME), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not _try(fcntl.flock, descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def check_installed() -> None:
    """Raise ``EmbeddedError`` where the engine is not installed, without loading it."""
    if find_spec("chdb") is None:
        raise EmbeddedError(INSTALL_HINT, fatal=True)


def load_engine() -> None:
    """Import the engine and its client, which takes a second and 220 MB; raises ``EmbeddedError``."""
    check_installed()
    try:
        import chdb  # noqa: F401, PLC0415 (220 MB, loaded only where it is used)
        import clickhouse_connect.driver._chdbclient  # noqa: F401, PLC0415 (loaded only where it is used)
    except ImportError as error:  # mostly a clickhouse-connect that knows of no engine yet
        raise EmbeddedError(_UPDATE_HINT.format(error), fatal=True) from error


def _connect(directory: str | None) -> Client:
    load_engine()
    import clickhouse_connect  # noqa: PLC0415 (loaded only where it is used)
    from clickhouse_connect.driver.exceptions import ClickHouseError  # noqa: PLC0415

    try:
        return clickhouse_connect.get_client(interface="chdb", path=directory)
    except (ClickHouseError, RuntimeError) as error:
        raise EmbeddedError(
            f"the embedded engine cannot open {directory or 'a database in memory'}: {_cause(error)}",
            fatal=True,
        ) from error


def _cause(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text.rpartition("DB::Exception: ")[2][:200]
