"""Text of others on a terminal: nothing in it can move the cursor, change colours or turn the direction of reading."""

from __future__ import annotations

import re

from pytest_test_observer._text import storable

__all__ = ["visible"]

# All control characters but the tab and the end of a line, and what turns the direction of text (Unicode's UAX #9).
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    r"""Return text with control characters written out, as ``\x1b``, and lone surrogates too."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], storable(text))
