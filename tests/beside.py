"""Which plugins of others a run of a suite has: those that its command line or its files name.

Each plugin that is installed for the tests costs every pytest process that they start its import, together as much
as all the rest of such a process. Ours is found as at a user's, by its entry point.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

# Name of the entry point, and what names the plugin: its flags, its marks, its module.
PLUGINS = {
    "allure_pytest": "allure",
    "anyio": "anyio",
    "asyncio": "asyncio",
    "platformdirs": "platformdirs",
    "pytest-split": r"--splits|pytest_split",
    "pytest_cov": r"--cov|pytest_cov",
    "rerunfailures": r"--reruns|flaky|rerun",
    "socket": r"--disable-socket|--allow-hosts|pytest_socket",
    "timeout": r"--timeout|mark\.timeout|pytest_timeout",
    "xdist": r"(^|\s)-n\s?\w|--numprocesses|--dist|--tx|xdist",
    "xdist.looponfail": "--looponfail",
}
_READ = {".py", ".ini", ".toml", ".cfg", ".txt"}


def without_others(arguments: Iterable[str], suite: Path) -> list[str]:
    """Return the flags that leave out what neither ``arguments`` nor the files under ``suite`` name."""
    given = " ".join(argument for argument in arguments if not argument.startswith(("no:", "-pno:")))
    text = "\n".join([given, *_texts(suite)])
    return [f"-pno:{name}" for name, said in PLUGINS.items() if not re.search(said, text)]


def _texts(suite: Path) -> Iterator[str]:
    for path in suite.rglob("*"):
        if path.suffix in _READ and path.is_file():
            yield path.read_text(encoding="utf-8", errors="replace")
