"""Error texts out of pytest's reports."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from pytest_test_observer._text import MESSAGE_LIMIT, NO_SECRETS, STACKTRACE_LIMIT, Cover, capped, in_words

if TYPE_CHECKING:
    from typing import TypeAlias

    import pytest

    Report: TypeAlias = pytest.TestReport | pytest.CollectReport

# What pytest marks as the error in texts that name no exception of their own: failures of collection and of
# fixture lookup mark lines with an E, doctest has two forms without.
_MARKED = r"(?m)^E +(\S.*)|^UNEXPECTED EXCEPTION: (.+)|^(Expected(?:.|\n)+?)\n\n"


class ErrorText(NamedTuple):
    """Message and stack trace, without secrets, capped and storable."""

    message: str = ""
    stacktrace: str = ""


NO_ERROR = ErrorText()


def error_text(report: Report, cover: Cover = NO_SECRETS) -> ErrorText:
    """Return what ``report`` says of its failure, without the secrets of ``cover``."""
    stacktrace = cover(_longrepr(report), STACKTRACE_LIMIT)
    crash = getattr(report.longrepr, "reprcrash", None)
    message = str(getattr(crash, "message", "") or _said(stacktrace))
    return ErrorText(cover(message, MESSAGE_LIMIT), stacktrace)


def joined(texts: list[ErrorText], error_type: str) -> ErrorText:
    """Return the message of the first text and the stack traces of all.

    ``error_type`` has a place of its own and is not repeated in front of the message.
    """
    if not texts:
        return ErrorText()
    stacktrace = "\n\n".join(text.stacktrace for text in texts)
    return ErrorText(texts[0].message.removeprefix(f"{error_type}: "), capped(stacktrace, STACKTRACE_LIMIT))


def reason(report: Report, cover: Cover = NO_SECRETS) -> str:
    """Return why a test was skipped or was expected to fail, without the secrets of ``cover``."""
    if hasattr(report, "wasxfail"):
        text = str(report.wasxfail).removeprefix("reason: ")
    elif isinstance(report.longrepr, tuple):
        text = "".join(map(in_words, report.longrepr[2:])).removeprefix("Skipped: ")
    else:
        text = _longrepr(report)
    return cover(text, MESSAGE_LIMIT)


def type_and_message(text: ErrorText) -> tuple[str, ErrorText]:
    """Part a message from the type of exception before it: collection errors have no other place for it."""
    head, colon, _ = text.message.partition(": ")
    error_type = head if colon and head.replace(".", "").isidentifier() else "CollectError"
    return error_type, joined([text], error_type)


def _longrepr(report: Report) -> str:
    """Return the text of a report's error; items that are no Python functions bring objects of their own for it."""
    try:
        return report.longreprtext
    except Exception as error:  # noqa: BLE001 - whatever it is, the test has a row
        return f"<{type(report.longrepr).__name__}: {type(error).__name__} in toterminal()>"


def _said(text: str) -> str:
    marked = list(re.finditer(_MARKED, text))
    if marked:
        return str(marked[-1][marked[-1].lastindex or 0]).strip()
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""
