"""Processes seen from outside: who is who, who lives."""

from __future__ import annotations

import io
import os
import signal
import sys
from contextlib import suppress

from pytest_test_observer._journal.sidecar import Process

# As it was: a suite may replace the one of ``builtins`` by a mock, and forget it.
_open = io.open


def this_process() -> Process:
    """Describe the running process."""
    return describe(os.getpid())


def describe(pid: int) -> Process:
    """Describe a running process of this machine."""
    return Process(pid, _started(pid), _host())


def is_alive(process: Process) -> bool:
    """Whether ``process`` still runs, as far as can be told from here; False for those of other machines."""
    return process.host == _host() and process.started != "" and _started(process.pid) == process.started


def open_pidfd(process: Process) -> int | None:
    """Open a descriptor that becomes readable when ``process`` ends; None where the system has no such thing.

    A process that is dead already gets the descriptor of a pipe whose other end is closed: readable at once.
    """
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return _readable_descriptor()
    except OSError:
        return None
    if is_alive(process):  # asked after opening: the number may have gone to another process meanwhile
        return fd
    os.close(fd)
    return _readable_descriptor()


def kill(process: Process) -> None:
    """End a process at once, if it is still the one that is meant and this process may: it can have given up rights."""
    if not is_alive(process):
        return
    if not hasattr(os, "pidfd_open"):
        with suppress(PermissionError):
            os.kill(process.pid, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
        return
    try:
        fd = os.pidfd_open(process.pid)
    except OSError:
        return
    try:
        if is_alive(process):
            signal.pidfd_send_signal(fd, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    finally:
        os.close(fd)


def _readable_descriptor() -> int:
    read, write = os.pipe()
    os.close(write)
    return read


def _host() -> str:
    """Name what process ids are unique in: the boot of a machine, and the namespace of a container in it."""
    try:
        with _open("/proc/sys/kernel/random/boot_id") as file:
            return f"{file.read().strip()}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        import socket  # noqa: PLC0415 - of no use on Linux

        return socket.gethostname()


def _started(pid: int) -> str:
    """Return when a process started, in the system's own terms; empty if it does not run or cannot be asked.

    A zombie does not run. Field 22 of ``/proc/<pid>/stat``, counted after the name, which may hold anything.
    """
    try:
        with _open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in (b"Z", b"X") else fields[19].decode()
