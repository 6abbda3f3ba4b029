"""Measures the coverage of processes that tests start, however clean their environment is.

``make check`` copies this file into the site-packages of ``.venv``, where each process imports it whose variable
``MEASURED_PROJECT`` names the directory of the project. Coverage's own way is a variable that begins with ``COV``, and
those the helper process does not get: what a user measures is not us. As a plugin (``-p tests.measure``) it sets the
variable for what the tests start; the processes that run the tests are measured by pytest-cov.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import site
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

VARIABLE = "MEASURED_PROJECT"
_NAME = "observer_measure"


def install() -> None:
    """Have the environment of this interpreter import this file at the start of each process."""
    packages = Path(site.getsitepackages()[0])
    shutil.copy(__file__, packages / f"{_NAME}.py")
    line = f"import os; {VARIABLE!r} in os.environ and __import__({_NAME!r})\n"
    (packages / f"{_NAME}.pth").write_text(line, encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    """See pytest_configure: only where tests run, for pytest-xdist's workers inherit from its controller."""
    if hasattr(config, "workerinput") or config.getoption("dist", "no") == "no":
        os.environ[VARIABLE] = str(config.rootpath)


def _start() -> None:
    import coverage

    root = os.environ[VARIABLE]
    config, data = os.path.join(root, "pyproject.toml"), os.path.join(root, ".coverage")
    measured = coverage.Coverage(config_file=config, data_file=data, data_suffix=True)
    for warning in ("_warn_no_data", "_warn_unimported_source", "_warn_preimported_source"):
        setattr(measured, warning, False)
    measured.start()

    def save() -> None:
        with contextlib.suppress(Exception):  # of a disk that is full on purpose, and who forks must come to an end
            measured.stop()
            measured.save()

    atexit.register(save)
    # Ways to end without an end: what is left by _exit, and the helper, which is killed once it has answered.
    os._exit = _saving(save, os._exit, lambda *_: True)
    os.write = _saving(save, os.write, lambda _, data: b'"kind":"final"' in bytes(data))


def _saving(save: Callable[[], None], action: Callable[..., Any], is_last: Callable[..., bool]) -> Callable[..., Any]:
    def act(*arguments: Any) -> Any:
        if is_last(*arguments):
            save()
        return action(*arguments)

    return act


if __name__ == _NAME:
    _start()
elif __name__ == "__main__":
    install()
