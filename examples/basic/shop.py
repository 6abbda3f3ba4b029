"""A small shop: what the tests of this example test."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field


class PaymentTimeout(Exception):
    """The gateway did not answer."""


@dataclass
class Cart:
    """Articles and what they cost, in cents."""

    prices: dict[str, int] = field(default_factory=dict)

    def add(self, article: str, cents: int) -> None:
        if cents < 0:
            raise ValueError(f"{article} costs {cents}")
        self.prices[article] = cents

    def total(self, discount_percent: int = 0) -> int:
        # Wrong on purpose: this cuts the cents off instead of rounding them.
        return sum(self.prices.values()) * (100 - discount_percent) // 100


class Gateway:
    """A payment gateway that times out on every other call, as they do."""

    def __init__(self) -> None:
        self._calls = itertools.count()

    def charge(self, cents: int) -> str:
        if next(self._calls) % 2 == 0:
            raise PaymentTimeout("no answer within 5 s")
        return f"paid {cents}"
