"""Tests of the ClickHouse destination, against a server over a socket and against the embedded engine."""
