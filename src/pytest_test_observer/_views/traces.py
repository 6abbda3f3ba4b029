"""The tables of the Collector's ClickHouse exporter, with ``create_schema: false``.

Column names and types are those that the exporter inserts; its own DDL differs between its versions in
indexes and sort keys, and has no deduplication window.
"""

from __future__ import annotations

__all__ = ["LOOKUP", "LOOKUP_COLUMNS", "LOOKUP_SELECT", "TRACES", "TRACES_COLUMNS"]

TRACES = "otel_traces"
# Grafana's data source asks it for the time of a trace, by this name.
LOOKUP = "otel_traces_trace_id_ts"

_LOW = "LowCardinality(String)"
_MAP = f"Map({_LOW}, String)"
_ZSTD = "CODEC(ZSTD(1))"
_DELTA = "CODEC(Delta, ZSTD(1))"

_SPAN = (
    f"`Timestamp` DateTime64(9) {_DELTA}",
    f"`TraceId` String {_ZSTD}",
    f"`SpanId` String {_ZSTD}",
    f"`ParentSpanId` String {_ZSTD}",
    f"`TraceState` String {_ZSTD}",
    f"`SpanName` {_LOW} {_ZSTD}",
    f"`SpanKind` {_LOW} {_ZSTD}",
    f"`ServiceName` {_LOW} {_ZSTD}",
    f"`ResourceAttributes` {_MAP} {_ZSTD}",
    f"`ScopeName` String {_ZSTD}",
    f"`ScopeVersion` String {_ZSTD}",
    f"`SpanAttributes` {_MAP} {_ZSTD}",
    f"`Duration` UInt64 {_ZSTD}",
    f"`StatusCode` {_LOW} {_ZSTD}",
    f"`StatusMessage` String {_ZSTD}",
    f"`Events` Nested(Timestamp DateTime64(9), Name {_LOW}, Attributes {_MAP}) {_ZSTD}",
    f"`Links` Nested(TraceId String, SpanId String, TraceState String, Attributes {_MAP}) {_ZSTD}",
)
_INDEXES = (
    "INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1",
    "INDEX idx_res_attr_key mapKeys(ResourceAttributes) TYPE bloom_filter(0.01) GRANULARITY 1",
    "INDEX idx_res_attr_value mapValues(ResourceAttributes) TYPE bloom_filter(0.01) GRANULARITY 1",
    "INDEX idx_span_attr_key mapKeys(SpanAttributes) TYPE bloom_filter(0.01) GRANULARITY 1",
    "INDEX idx_span_attr_value mapValues(SpanAttributes) TYPE bloom_filter(0.01) GRANULARITY 1",
    "INDEX idx_duration Duration TYPE minmax GRANULARITY 1",
)
TRACES_COLUMNS = (*_SPAN, *_INDEXES)

LOOKUP_COLUMNS = (
    f"`TraceId` String {_ZSTD}",
    f"`Start` DateTime {_DELTA}",
    f"`End` DateTime {_DELTA}",
    "INDEX idx_trace_id TraceId TYPE bloom_filter(0.01) GRANULARITY 1",
)
LOOKUP_SELECT = (
    "SELECT\n    TraceId,\n    min(Timestamp) AS Start,\n    max(Timestamp) AS End\n"
    "FROM {traces}\nWHERE TraceId != ''\nGROUP BY TraceId"
)
