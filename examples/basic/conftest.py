from __future__ import annotations

import pytest
from shop import Cart, Gateway


@pytest.fixture
def cart() -> Cart:
    cart = Cart()
    cart.add("book", 1999)
    cart.add("pen", 150)
    return cart


@pytest.fixture(scope="session")
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def warehouse(record_event):
    """Somebody forgot to start it."""
    record_event("warehouse.connect", {"host": "warehouse.test", "attempt": "1"})
    raise ConnectionError("warehouse.test does not answer")
