"""Results of pytest runs as rows in ClickHouse and as OpenTelemetry spans."""

from pytest_test_observer._version import __version__

__all__ = ["__version__"]
