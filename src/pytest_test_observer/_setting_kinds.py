"""The kinds of values settings take: how text becomes a value, and what is said when it cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_test_observer._settings import Setting

_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True}
_BOOLEANS |= {"false": False, "0": False, "no": False, "off": False}


def is_unicode(text: str) -> bool:
    """Tell whether ``text`` has a form in UTF-8: bytes of the environment that are none have become surrogates."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _text(row: Setting, text: str, _base: str) -> str:
    return text or row.default


def _bool(_: Setting, text: str, _base: str) -> bool:
    if text.lower() not in _BOOLEANS:
        raise ValueError("it is no boolean; accepted: true, 1, yes, on, false, 0, no or off")
    return _BOOLEANS[text.lower()]


def _choice(row: Setting, text: str, _base: str) -> str:
    *others, last = row.metavar.split("|")
    if text.lower() not in (*others, last):
        raise ValueError(f"it is none of the choices; accepted: {', '.join(others)} or {last}")
    return text.lower()


def _identifier(_: Setting, text: str, _base: str) -> str:
    # The pattern below, in words: compiling it would cost every run of pytest 0.1 ms.
    if not (text.isascii() and text.isidentifier() and len(text) <= 128):
        raise ValueError(
            "it is no plain name; accepted: [A-Za-z_][A-Za-z0-9_]{0,127} (letters without accents, digits, underscores)"
        )
    return text


def _seconds(_: Setting, text: str, _base: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ValueError("it is no duration; accepted: seconds, 0 or more, as in 3 or 0.5")
    return seconds


def _clickhouse_url(_: Setting, text: str, base: str) -> str:
    from pytest_test_observer._target import parse_clickhouse  # noqa: PLC0415 # only when there is a URL

    target = parse_clickhouse(text, base)
    return target.label if target.embedded else text


def _otlp_url(_: Setting, text: str, _base: str) -> str:
    from pytest_test_observer._target import parse_otlp  # noqa: PLC0415 # only when there is a URL

    parse_otlp(text)
    return text


KINDS: dict[str, Callable[[Setting, str, str], object]] = {
    "text": _text,
    "bool": _bool,
    "choice": _choice,
    "identifier": _identifier,
    "seconds": _seconds,
    "clickhouse_url": _clickhouse_url,
    "otlp_url": _otlp_url,
}
