"""The other way to the same rows: materialized views make them from spans in ``otel_traces``.

``expressions`` reads a column back from a span, ``selects`` makes a view's query of them, ``traces`` has the
tables of the Collector's exporter, ``layout`` the DDL for one server or a cluster, ``apply`` runs it.
"""
