"""What a database can take of a text: valid Unicode, of bounded size, changed only visibly."""

from __future__ import annotations

from typing import Any

MESSAGE_LIMIT = 64 * 1024
STACKTRACE_LIMIT = 256 * 1024


def storable(text: str) -> str:
    r"""Return ``text`` with lone surrogates written out (``\udc80``): they have no UTF-8 form."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def storable_deep(value: Any) -> Any:  # noqa: ANN401 - walks plain data of any shape
    """Return plain data with every string in it made storable."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        made = {storable_deep(key): storable_deep(item) for key, item in value.items()}
        # maps are in the order of their keys, and what a key became may stand elsewhere
        return made if made.keys() == value.keys() else dict(sorted(made.items()))
    if isinstance(value, (list, tuple)):
        return [storable_deep(item) for item in value]
    return value


def capped(text: str, limit: int) -> str:
    """Return ``text`` in at most ``limit`` bytes of UTF-8, saying in its middle how much was left out.

    Three quarters are kept from the start and one from the end: an error stands at the end of its traceback.
    """
    if len(text) * 4 <= limit:
        return text
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= limit:
        return text
    mark = f"\n[... {len(data) - limit} or more bytes left out by pytest-test-observer ...]\n"
    room = limit - len(mark.encode())
    head, tail = data[: room * 3 // 4], data[-(room // 4) :]
    return head.decode("utf-8", "ignore") + mark + tail.decode("utf-8", "ignore")
