"""The group of commands, and where their output can go."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any

import click

__all__ = ["CONTEXT", "Commands"]

CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
"""Settings of click for what is started by itself: `pytest-observer`, and the module that replays."""


class Commands(click.Group):
    """Commands whose output can go anywhere: a terminal without Unicode, a full disk, nowhere."""

    def invoke(self, ctx: click.Context) -> object:
        if sys.stdout is None:  # closed by whoever started us
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the end
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except OSError as error:
            if error.errno == errno.EPIPE:  # "| head" has seen enough, which click knows
                raise
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - what is left would fail again at the end
            raise click.ClickException(f"this cannot go on: {error.strerror or error}") from None
        return result
