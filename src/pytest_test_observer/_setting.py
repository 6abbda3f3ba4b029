"""A setting: what it is called in each layer, and how text becomes a value of its kind, or why it cannot.

pytest imports this module in every run, like ``_settings``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Setting:
    """One setting: a row of the table.

    ``kind`` is a key of ``KINDS``; ``way`` is which of the two ways of sending reads it. ``metavar`` stands
    for the value in the help and holds the accepted words of a ``choice``, separated by ``|``; a flag without
    one takes no value.
    """

    __slots__ = ("default", "help", "kind", "metavar", "name", "secret", "way")

    def __init__(  # noqa: PLR0917 # a row of a table reads by position
        self, name: str, kind: str, default: str, way: str, metavar: str, text: str, *, secret: bool = False
    ) -> None:
        self.name = name
        self.kind = kind
        self.default = default
        self.way = way
        self.metavar = metavar
        self.help = text
        self.secret = secret

    @property
    def flag(self) -> str:
        """The command-line flag."""
        return "--" + self.name.replace("_", "-")

    @property
    def env(self) -> str:
        """The environment variable."""
        return "PYTEST_OBSERVER_" + self.name.removeprefix("observer_").upper()

    def parse(self, text: str, base: str = "") -> object:
        """Return the typed value of ``text``; a relative path in it starts at ``base``.

        Raises ``ValueError`` with a sentence that says what is wrong and what is accepted.
        """
        if not is_unicode(text):
            raise ValueError("it holds bytes that are no UTF-8; accepted: text in UTF-8")
        return KINDS[self.kind](self, text, base) if text or self.default else ""

    def shown(self, value: object) -> str:
        """Return ``value`` as messages may show it: no secret, no user or password of a URL."""
        if self.secret and value:
            return "***"
        if isinstance(value, bool):
            return str(value).lower()
        return _shown_url(str(value)) if value and self.kind.endswith("url") else str(value)


def _shown_url(text: str) -> str:
    from pytest_test_observer._target import redact  # noqa: PLC0415 # only when there is a URL

    return redact(text)


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
