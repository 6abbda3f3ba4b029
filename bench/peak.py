"""Peak memory of processes: what the kernel counted for a process as it is now, not for what it was made from.

``ru_maxrss`` of a child counts the memory of the parent as well: whatever starts a program (fork, vfork or
posix_spawn) has the memory of its parent until it calls exec, and the kernel keeps that peak. A benchmark that holds
a receiver or a report measures itself so. ``VmHWM`` belongs to the memory of one program and begins anew with exec.

As a plugin of pytest (``-p bench.peak``) this notes the peak of each process of a run when it ends: the file
``master`` or ``gw0`` and so on in the directory that ``BENCH_PEAKS`` names has the MiB.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

VARIABLE = "BENCH_PEAKS"


def peak_mib(pid: int | str = "self") -> float | None:
    """Return the peak memory of a process in MiB, None where it is no more."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return None  # it has ended and nobody has waited for it yet


def read_peaks(directory: Path) -> dict[str, float]:
    """Return what the processes of a run have noted in ``directory``: MiB by worker id, ``master`` for pytest."""
    return {file.name: float(file.read_text()) for file in directory.iterdir()}


def pytest_unconfigure(config: pytest.Config) -> None:
    """Note the peak: a worker of pytest-xdist leaves by ``os._exit``, so that nothing can do it later."""
    directory = os.environ.get(VARIABLE)
    if directory:
        name = getattr(config, "workerinput", {}).get("workerid", "master")
        (Path(directory) / name).write_text(str(peak_mib()))
