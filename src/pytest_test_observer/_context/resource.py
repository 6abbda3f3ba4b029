"""The attributes that the user gives to the resource, and the facts of the context they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pytest_test_observer._columns import RESULTS
from pytest_test_observer._context.ci import uint16
from pytest_test_observer._context.git import without_credentials

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["COLUMN_OF_ATTRIBUTE", "SERVICE_NAME", "given_attributes", "given_facts"]

SERVICE_NAME = "service.name"
_RUN_ID = "run_id"  # names files and rows: nothing but PYTEST_OBSERVER_RUN_ID sets it

COLUMN_OF_ATTRIBUTE = {column.attribute: column for column in RESULTS.columns if column.scope == "context"}
_URLS = ("repository", "ci_url")


def given_attributes(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the attributes of ``OTEL_RESOURCE_ATTRIBUTES`` and ``OTEL_SERVICE_NAME``, sorted by name.

    Pairs ``name=value`` separated by commas, percent-encoded where need be (OpenTelemetry's resource SDK
    specification). What is no such pair is left out without a word, since it may hold a secret. So is an
    attribute that has a column and a value its column cannot hold: then what was detected stands.
    """
    given = dict(_pairs(environ.get("OTEL_RESOURCE_ATTRIBUTES", "")))
    service = environ.get("OTEL_SERVICE_NAME", "").strip()
    if service:
        given[SERVICE_NAME] = service
    usable = ((name, _usable(name, value)) for name, value in sorted(given.items()))
    return {name: value for name, value in usable if value is not None}


def given_facts(attributes: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of ``Context`` that given attributes set, by the columns' attributes."""
    return {
        column.source: uint16(attributes[attribute]) if column.type == "UInt16" else attributes[attribute]
        for attribute, column in COLUMN_OF_ATTRIBUTE.items()
        if attribute in attributes
    }


def _pairs(text: str) -> list[tuple[str, str]]:
    pairs = (pair.partition("=") for pair in text.split(","))
    decoded = ((unquote(name.strip()), unquote(value.strip())) for name, equals, value in pairs if equals)
    return [(name, value) for name, value in decoded if name]


def _usable(attribute: str, value: str) -> str | None:
    column = COLUMN_OF_ATTRIBUTE.get(attribute)
    if column is None:
        return value
    # Empty: a variable of the CI that was not set after all.
    if not value or column.source == _RUN_ID or (column.type == "UInt16" and uint16(value) is None):
        return None
    return without_credentials(value) if column.source in _URLS else value
