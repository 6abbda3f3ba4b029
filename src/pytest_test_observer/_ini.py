"""Reading pytest's ini values as they were written, whatever the version and the type of file.

Since pytest 9 ``[tool.pytest]`` keeps the types of TOML: ``getini`` refuses ``ch_auto_migrate = false`` for a
key that is registered as text, and before 9.2 no key can be registered for several types.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest

_NATIVE = {"text": str | bool | int | float, "bool": str | bool | int, "seconds": str | int | float}


def ini_type(kind: str) -> Any:  # noqa: ANN401 # pytest's own type for it is private and differs by version
    """Return what to register an ini key of this kind of setting as."""
    import pytest  # noqa: PLC0415 # replay reads the table too, without pytest

    return _NATIVE.get(kind) if pytest.version_tuple >= (9, 2) else None


def ini_values(config: pytest.Config, names: Iterable[str]) -> dict[str, object]:
    """Return the ini values of ``names``: text, or what TOML made of it; empty text where none is set."""
    with warnings.catch_warnings():
        # pytest warns of a list where text belongs; the settings refuse it by name.
        warnings.simplefilter("ignore")
        return {name: _ini_value(config, name) for name in names}


def _ini_value(config: pytest.Config, name: str) -> object:
    import pytest  # noqa: PLC0415 # replay reads the table too, without pytest

    try:
        value: object = config.getini(name)
    except (TypeError, pytest.UsageError):
        # pytest's message would show the value, which can be a password. 9.0 calls the store inicfg.
        stored = vars(config).get("_inicfg") or vars(config)["inicfg"]
        value = getattr(stored[name], "value", stored[name])
    return value
