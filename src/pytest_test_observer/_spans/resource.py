"""Resources of spans: what all spans of a run have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.sdk.version import __version__ as sdk_version

from pytest_test_observer._columns import RESULTS
from pytest_test_observer._spans.attributes import ScopeMapping
from pytest_test_observer._version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

# The version whose names the attributes have; each of them is in its registry or begins with pytest. or allure.
SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"

SCOPE = InstrumentationScope("pytest-test-observer", __version__, SCHEMA_URL)

_SDK = {
    "telemetry.sdk.language": "python",
    "telemetry.sdk.name": "opentelemetry",
    "telemetry.sdk.version": sdk_version,
}

_context = ScopeMapping(RESULTS, "context")
_COLUMNS = tuple(column.name for column in RESULTS.columns if column.scope == "context")


class RunResource(Resource):
    """The resource of a run: one object for all its spans, so that it need not be compared by content.

    The encoder groups spans by resource; by content that takes as long as the encoding of the span itself.
    """

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


class Resources:
    """Makes the resource of a row, once for all rows of a run.

    ``more`` is ``Context.resource``: attributes that have no column. Where both speak, columns do: they
    already have what the user gave, in the type that they need.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], RunResource] = {}

    def of(self, row: Any, more: Mapping[str, str]) -> RunResource:  # noqa: ANN401 - see lines.read_line
        """Return the resource of ``row``."""
        key = (*(getattr(row, name) for name in _COLUMNS), *more.items())
        resource = self._known.get(key)
        if resource is None:
            attributes = {**_SDK, **more, **_context.attributes(row)}
            resource = self._known[key] = RunResource(attributes, SCHEMA_URL)
        return resource
