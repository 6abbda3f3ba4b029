"""Reading what is stored: SELECTs on the three tables, on a server or in the embedded engine."""

from pytest_test_observer._reading.reader import Reader, ReadingError, open_reader

__all__ = ["Reader", "ReadingError", "open_reader"]
