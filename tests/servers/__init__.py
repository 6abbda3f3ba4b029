"""Servers that tests talk to: a real ClickHouse engine behind HTTP, and one server for each kind of fault."""
