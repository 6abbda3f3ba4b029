"""``python -m pytest_test_observer.replay``: the same as ``pytest-observer replay``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pytest_test_observer._cli.commands import CONTEXT
from pytest_test_observer._cli.replay import replay

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Replay with the arguments ``argv``, else with those of this process; return the exit code.

    0 all sent; 1 some not sent; 2 wrong usage; 3 lines set aside; 130 interrupted.
    """
    try:
        replay(argv, prog_name="python -m pytest_test_observer.replay", **CONTEXT)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
