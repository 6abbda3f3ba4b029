"""Attributes of any pipeline as values of columns, of whatever type they are: what the views make of them.

Every value gives one that its column can hold. One that the table refuses would take all spans of its export along.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from pytest_test_observer._spans.lines import plain_type
from pytest_test_observer._text import storable

__all__ = ["listed", "text", "value_reader"]

_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_SIZED = re.compile(r"(U?)Int([0-9]+)")


def text(value: Any) -> str:  # noqa: ANN401 - an attribute can have any type
    """Return an attribute as the Collector's exporter writes it."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return _number_text(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Sequence):
        return storable(json.dumps(list(value), ensure_ascii=False, separators=(",", ":"), default=text))
    return storable(str(value))


def listed(value: Any) -> list[str]:  # noqa: ANN401
    """Return an attribute as a list of texts, of one where it is no list."""
    return [text(item) for item in value] if _is_list(value) else [text(value)]


def value_reader(type_: str) -> Callable[[Any], Any]:
    """Return what reads an attribute for a column of ``type_``; raises ``KeyError`` for a type none has had so far."""
    sized = _SIZED.fullmatch(type_)
    return _integer(sized[1] == "U", int(sized[2])) if sized else _READERS[plain_type(type_)]


def _integer(unsigned: bool, bits: int) -> Callable[[Any], int]:
    values = range(2**bits) if unsigned else range(-(2 ** (bits - 1)), 2 ** (bits - 1))

    def read(value: Any) -> int:  # noqa: ANN401
        found = text(value)
        number = int(found) if _INTEGER.fullmatch(found) else 0
        return number if number in values else 0

    return read


def _double(value: Any) -> float:  # noqa: ANN401
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else 0.0


def _number_text(value: float) -> str:
    """Write a double as JavaScript does: without an exponent from 1e-6 to 1e21."""
    if value == 0 or 1e-6 <= abs(value) < 1e21:
        return format(Decimal(repr(value)), "f").removesuffix(".0")
    mantissa, exponent, power = repr(value).partition("e")
    return f"{mantissa}e{int(power):+d}" if exponent else mantissa


def _is_list(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


_READERS: dict[str, Callable[[Any], Any]] = {
    "String": text,
    "Bool": lambda value: text(value) == "true",
    "Float64": _double,
    "Array(String)": lambda value: listed(value) if _is_list(value) else [],
}
