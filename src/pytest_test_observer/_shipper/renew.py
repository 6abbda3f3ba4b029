"""Going on as a fresh program in the same process: what a library kept of memory and threads is gone with it.

The embedded engine keeps some 4 MB and five threads each time it is opened and closed (chdb 4.4). The process id stays,
so pytest still knows its helper; the pipes stay open. What pytest says in between stays in the pipe, and a word that
was read and not heeded is found in the files: see ``Sender``.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from pytest_test_observer._destinations.embedded import IN_MEMORY
from pytest_test_observer._shipper.protocol import Task, decode_to_helper, encode_message

if TYPE_CHECKING:
    from pytest_test_observer._shipper.link import Link

_BOOT = """
import json, sys
sys.path += [path for path in json.loads(sys.argv[1]) if path not in sys.path]
from pytest_test_observer._shipper.helper import go_on
go_on(*map(int, sys.argv[2:5]), float(sys.argv[5]))
"""
_TASK_BYTES = 65_536


def can_renew(task: Task) -> bool:
    """Whether a helper with this task needs it, and loses nothing by it."""
    clickhouse = task.destinations.clickhouse
    return hasattr(os, "fork") and clickhouse is not None and clickhouse.embedded and clickhouse.path != IN_MEMORY


def renew(task: Task, link: Link, born: float) -> None:
    """Become a new helper with the same task, born at ``born`` (monotonic seconds); returns only by OSError."""
    read, write = os.pipe()
    os.write(write, encode_message(task))  # secrets: on no command line; it fits, see Helper.start
    os.close(write)
    kept = (read, link.listen, link.answer)
    for descriptor in kept:
        os.set_inheritable(descriptor, True)
    boot = [
        sys.executable,
        "-I",
        "-c",
        _BOOT,
        json.dumps([path for path in sys.path if path]),
        *map(str, kept),
        repr(born),
    ]
    try:
        os.execv(sys.executable, boot)  # noqa: S606 - no shell is wanted
    except OSError:
        os.close(read)
        raise


def read_task(descriptor: int) -> Task | None:
    """Read the task that ``renew`` left."""
    data = os.read(descriptor, _TASK_BYTES)
    os.close(descriptor)
    message = decode_to_helper(data.rstrip(b"\n"))
    return message if isinstance(message, Task) else None
