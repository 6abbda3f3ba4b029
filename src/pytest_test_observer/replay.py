"""``python -m pytest_test_observer.replay``: the same as ``pytest-observer replay``."""

from __future__ import annotations

from pytest_test_observer._cli.replay import replay

if __name__ == "__main__":
    replay(prog_name="python -m pytest_test_observer.replay")
