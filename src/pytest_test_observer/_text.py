"""What a database can take of a text: valid Unicode, of bounded size, changed only visibly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_test_observer._secrets import blacked_out

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def in_words(value: object) -> str:
    """Return what the suite gave us as a storable text: its objects may fail when they are asked for one."""
    try:
        return storable(str(value))
    except Exception as error:  # noqa: BLE001 - whatever it is, the test has a row
        return f"<{type(value).__name__}: {type(error).__name__} in str()>"


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


def plural(count: int, noun: str) -> str:
    """Return a regular noun as it stands behind a number."""
    return noun if count == 1 else f"{noun}s"


def capped(text: str, limit: int) -> str:
    """Return ``text`` in at most ``limit`` bytes of UTF-8, saying in its middle how much was left out.

    Three quarters are kept from the start and one from the end: an error stands at the end of its traceback.
    """
    if len(text) * 4 <= limit:
        return text
    data = text.encode("utf-8", "backslashreplace")
    return text if len(data) <= limit else _shortened(data, data, len(data), limit)


class Cover:
    """Blacks secrets out of texts, and caps them then: a cap first could leave a part of a secret.

    Of a long text only what the cap can keep is looked at, so that a text of any size costs the same.
    """

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        self._secrets = secrets
        # of a secret that is cut at the edge of what is looked at, so much can be left
        self._edge = max(map(len, secrets), default=0)

    def __call__(self, text: str, limit: int) -> str:
        """Return a text without secrets, storable, in at most ``limit`` bytes of UTF-8, as ``capped`` has it."""
        reach = limit + self._edge
        if len(text) <= 2 * reach:
            return capped(storable(self._without(text)), limit)
        head, tail = self._without(text[:reach]), self._without(text[-reach:])
        head, tail = head[: len(head) - self._edge], tail[self._edge :]
        return _shortened(storable(head).encode(), storable(tail).encode(), len(text), limit)

    def _without(self, text: str) -> str:
        return blacked_out(text, self._secrets)


NO_SECRETS = Cover()


def _shortened(head: bytes, tail: bytes, size: int, limit: int) -> str:
    """Join the beginning of one text and the end of another, with a mark between that says what ``size`` lost."""
    mark = f"\n[... {size - limit} or more bytes left out by pytest-test-observer ...]\n"
    room = limit - len(mark.encode())
    kept, end = head[: room * 3 // 4], tail[-(room // 4) :]
    return kept.decode("utf-8", "ignore") + mark + end.decode("utf-8", "ignore")


def counted(number: int, noun: str) -> str:
    """Return a number of things, as in ``1 row`` and ``1,200 rows``."""
    return f"{number:,} {plural(number, noun)}"
