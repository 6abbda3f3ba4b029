CREATE TABLE IF NOT EXISTS `default`.`pytest_results`
(
    `run_id` String,
    `timestamp` DateTime64(3),
    `started_at` UInt64,
    `finished_at` UInt64,
    `nodeid` String,
    `status` LowCardinality(String),
    `when_phase` LowCardinality(String),
    `duration` Float64,
    `markers` Array(String),
    `worker_id` LowCardinality(String),
    `ci_provider` LowCardinality(String),
    `ci_run_id` String,
    `git_commit` String,
    `git_branch` String,
    `allure_id` String,
    `allure_title` String,
    `allure_severity` LowCardinality(String),
    `allure_labels` Map(String, Array(String)),
    `allure_links` Array(Tuple(String, String, String)),
    `outcome` LowCardinality(String),
    `attempt` UInt16,
    `flaky` Bool,
    `trace_id` String,
    `span_id` String,
    `parent_span_id` String,
    `service` LowCardinality(String),
    `repository` LowCardinality(String),
    `variant` LowCardinality(String),
    `ci_job` LowCardinality(String),
    `ci_attempt` UInt16,
    `ci_url` String,
    `change_id` String,
    `file` LowCardinality(String),
    `line` UInt32,
    `function` String,
    `setup_duration` Float64,
    `call_duration` Float64,
    `teardown_duration` Float64,
    `error_type` LowCardinality(String),
    `error_message` String,
    `error_stacktrace` String,
    `attributes` Map(LowCardinality(String), String)
)
ENGINE = MergeTree
ORDER BY (nodeid, timestamp)
PARTITION BY toYYYYMM(timestamp)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS `default`.`pytest_results_events`
(
    `run_id` String,
    `nodeid` String,
    `timestamp` DateTime64(3),
    `seq` UInt32,
    `event_name` LowCardinality(String),
    `payload` Map(String, String),
    `attempt` UInt16,
    `trace_id` String,
    `span_id` String
)
ENGINE = MergeTree
ORDER BY (nodeid, timestamp, seq)
PARTITION BY toYYYYMM(timestamp)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS `default`.`pytest_results_runs`
(
    `run_id` String,
    `timestamp` DateTime64(3),
    `started_at` UInt64,
    `finished_at` UInt64,
    `duration` Float64,
    `status` LowCardinality(String),
    `exit_status` Int16,
    `collected` UInt32,
    `deselected` UInt32,
    `not_run` UInt32,
    `partial` Bool,
    `passed` UInt32,
    `failed` UInt32,
    `broken` UInt32,
    `skipped` UInt32,
    `flaky` UInt32,
    `reruns` UInt32,
    `workers` UInt16,
    `ci_provider` LowCardinality(String),
    `ci_run_id` String,
    `git_commit` String,
    `git_branch` String,
    `service` LowCardinality(String),
    `repository` LowCardinality(String),
    `variant` LowCardinality(String),
    `ci_job` LowCardinality(String),
    `ci_attempt` UInt16,
    `ci_url` String,
    `change_id` String,
    `trace_id` String,
    `span_id` String,
    `attributes` Map(LowCardinality(String), String)
)
ENGINE = MergeTree
ORDER BY (timestamp, run_id)
PARTITION BY toYYYYMM(timestamp)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS `default`.`otel_traces`
(
    `Timestamp` DateTime64(9) CODEC(Delta, ZSTD(1)),
    `TraceId` String CODEC(ZSTD(1)),
    `SpanId` String CODEC(ZSTD(1)),
    `ParentSpanId` String CODEC(ZSTD(1)),
    `TraceState` String CODEC(ZSTD(1)),
    `SpanName` LowCardinality(String) CODEC(ZSTD(1)),
    `SpanKind` LowCardinality(String) CODEC(ZSTD(1)),
    `ServiceName` LowCardinality(String) CODEC(ZSTD(1)),
    `ResourceAttributes` Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    `ScopeName` String CODEC(ZSTD(1)),
    `ScopeVersion` String CODEC(ZSTD(1)),
    `SpanAttributes` Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    `Duration` UInt64 CODEC(ZSTD(1)),
    `StatusCode` LowCardinality(String) CODEC(ZSTD(1)),
    `StatusMessage` String CODEC(ZSTD(1)),
    `Events` Nested(Timestamp DateTime64(9), Name LowCardinality(String), Attributes Map(LowCardinality(String), String)) CODEC(ZSTD(1)),
    `Links` Nested(TraceId String, SpanId String, TraceState String, Attributes Map(LowCardinality(String), String)) CODEC(ZSTD(1)),
    INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX idx_res_attr_key mapKeys(ResourceAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_res_attr_value mapValues(ResourceAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_span_attr_key mapKeys(SpanAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_span_attr_value mapValues(SpanAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_duration Duration TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
ORDER BY (ServiceName, SpanName, toDateTime(Timestamp))
PARTITION BY toDate(Timestamp)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS `default`.`otel_traces_trace_id_ts`
(
    `TraceId` String CODEC(ZSTD(1)),
    `Start` DateTime CODEC(Delta, ZSTD(1)),
    `End` DateTime CODEC(Delta, ZSTD(1)),
    INDEX idx_trace_id TraceId TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = MergeTree
ORDER BY (TraceId, Start)
PARTITION BY toDate(Start)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS `default`.`pytest_results_mv`
TO `default`.`pytest_results`
AS WITH
    toUnixTimestamp64Nano(Timestamp) AS start_ns,
    start_ns + toInt64(Duration) AS end_ns,
    arrayFirst((a, name) -> name = 'exception' AND NOT mapContains(a, 'pytest.event.seq'), Events.Attributes, Events.Name) AS exception
SELECT
    ResourceAttributes['pytest.run.id'] AS run_id,
    fromUnixTimestamp64Milli(intDiv(end_ns, 1000000)) AS timestamp,
    toUInt64(intDiv(start_ns, 1000000)) AS started_at,
    toUInt64(intDiv(end_ns, 1000000)) AS finished_at,
    SpanAttributes['pytest.nodeid'] AS nodeid,
    SpanAttributes['pytest.status'] AS status,
    SpanAttributes['pytest.phase'] AS when_phase,
    JSONExtract(SpanAttributes['pytest.duration'], 'Float64') AS duration,
    JSONExtract(SpanAttributes['pytest.markers'], 'Array(String)') AS markers,
    SpanAttributes['pytest.worker.id'] AS worker_id,
    ResourceAttributes['pytest.ci.provider'] AS ci_provider,
    ResourceAttributes['cicd.pipeline.run.id'] AS ci_run_id,
    ResourceAttributes['vcs.ref.head.revision'] AS git_commit,
    ResourceAttributes['vcs.ref.head.name'] AS git_branch,
    SpanAttributes['allure.id'] AS allure_id,
    SpanAttributes['allure.title'] AS allure_title,
    SpanAttributes['allure.severity'] AS allure_severity,
    mapSort(mapApply((k, v) -> (substring(k, 14), if(JSONType(v) = 'Array', JSONExtract(v, 'Array(String)'), [v])), mapFilter((k, v) -> startsWith(k, 'allure.label.'), SpanAttributes))) AS allure_labels,
    arrayMap(i -> (JSONExtract(SpanAttributes['allure.link.type'], 'Array(String)')[i], JSONExtract(SpanAttributes['allure.link.url'], 'Array(String)')[i], JSONExtract(SpanAttributes['allure.link.name'], 'Array(String)')[i]), range(1, length(JSONExtract(SpanAttributes['allure.link.url'], 'Array(String)')) + 1)) AS allure_links,
    SpanAttributes['pytest.outcome'] AS outcome,
    toUInt16OrZero(SpanAttributes['pytest.attempt']) AS attempt,
    SpanAttributes['pytest.flaky'] = 'true' AS flaky,
    TraceId AS trace_id,
    SpanId AS span_id,
    ParentSpanId AS parent_span_id,
    ResourceAttributes['service.name'] AS service,
    ResourceAttributes['vcs.repository.url.full'] AS repository,
    ResourceAttributes['pytest.variant'] AS variant,
    ResourceAttributes['cicd.pipeline.task.name'] AS ci_job,
    toUInt16OrZero(ResourceAttributes['pytest.ci.attempt']) AS ci_attempt,
    ResourceAttributes['cicd.pipeline.run.url.full'] AS ci_url,
    ResourceAttributes['vcs.change.id'] AS change_id,
    SpanAttributes['code.file.path'] AS file,
    toUInt32OrZero(SpanAttributes['code.line.number']) AS line,
    SpanAttributes['code.function.name'] AS function,
    JSONExtract(SpanAttributes['pytest.setup.duration'], 'Float64') AS setup_duration,
    JSONExtract(SpanAttributes['pytest.call.duration'], 'Float64') AS call_duration,
    JSONExtract(SpanAttributes['pytest.teardown.duration'], 'Float64') AS teardown_duration,
    SpanAttributes['error.type'] AS error_type,
    if(mapContains(exception, 'exception.message'), exception['exception.message'], SpanAttributes['pytest.reason']) AS error_message,
    exception['exception.stacktrace'] AS error_stacktrace,
    mapSort(mapApply((k, v) -> (substring(k, 17), v), mapFilter((k, v) -> startsWith(k, 'pytest.property.'), SpanAttributes))) AS attributes
FROM `default`.`otel_traces`
WHERE mapContains(SpanAttributes, 'pytest.nodeid') AND mapContains(SpanAttributes, 'pytest.phase');

CREATE MATERIALIZED VIEW IF NOT EXISTS `default`.`pytest_results_events_mv`
TO `default`.`pytest_results_events`
AS WITH
    toUnixTimestamp64Nano(EventTimestamp) AS time_ns
SELECT
    ResourceAttributes['pytest.run.id'] AS run_id,
    SpanAttributes['pytest.nodeid'] AS nodeid,
    fromUnixTimestamp64Milli(intDiv(time_ns, 1000000)) AS timestamp,
    toUInt32OrZero(EventAttributes['pytest.event.seq']) AS seq,
    EventName AS event_name,
    mapSort(mapApply((k, v) -> (if(startsWith(k, 'pytest.event.key:'), substring(k, 18), k), v), mapFilter((k, v) -> NOT startsWith(k, 'pytest.event.') OR startsWith(k, 'pytest.event.key:'), EventAttributes))) AS payload,
    toUInt16OrZero(SpanAttributes['pytest.attempt']) AS attempt,
    TraceId AS trace_id,
    if(mapContains(SpanAttributes, 'pytest.phase'), SpanId, ParentSpanId) AS span_id
FROM `default`.`otel_traces`
ARRAY JOIN Events.Timestamp AS EventTimestamp, Events.Name AS EventName, Events.Attributes AS EventAttributes
WHERE mapContains(SpanAttributes, 'pytest.nodeid') AND mapContains(EventAttributes, 'pytest.event.seq');

CREATE MATERIALIZED VIEW IF NOT EXISTS `default`.`pytest_results_runs_mv`
TO `default`.`pytest_results_runs`
AS WITH
    toUnixTimestamp64Nano(Timestamp) AS start_ns,
    start_ns + toInt64(Duration) AS end_ns
SELECT
    ResourceAttributes['pytest.run.id'] AS run_id,
    fromUnixTimestamp64Milli(intDiv(end_ns, 1000000)) AS timestamp,
    toUInt64(intDiv(start_ns, 1000000)) AS started_at,
    toUInt64(intDiv(end_ns, 1000000)) AS finished_at,
    JSONExtract(SpanAttributes['pytest.duration'], 'Float64') AS duration,
    SpanAttributes['test.suite.run.status'] AS status,
    toInt16OrZero(SpanAttributes['pytest.exit_status']) AS exit_status,
    toUInt32OrZero(SpanAttributes['pytest.collected']) AS collected,
    toUInt32OrZero(SpanAttributes['pytest.deselected']) AS deselected,
    toUInt32OrZero(SpanAttributes['pytest.not_run']) AS not_run,
    SpanAttributes['pytest.partial'] = 'true' AS partial,
    toUInt32OrZero(SpanAttributes['pytest.count.passed']) AS passed,
    toUInt32OrZero(SpanAttributes['pytest.count.failed']) AS failed,
    toUInt32OrZero(SpanAttributes['pytest.count.broken']) AS broken,
    toUInt32OrZero(SpanAttributes['pytest.count.skipped']) AS skipped,
    toUInt32OrZero(SpanAttributes['pytest.count.flaky']) AS flaky,
    toUInt32OrZero(SpanAttributes['pytest.count.reruns']) AS reruns,
    toUInt16OrZero(SpanAttributes['pytest.workers']) AS workers,
    ResourceAttributes['pytest.ci.provider'] AS ci_provider,
    ResourceAttributes['cicd.pipeline.run.id'] AS ci_run_id,
    ResourceAttributes['vcs.ref.head.revision'] AS git_commit,
    ResourceAttributes['vcs.ref.head.name'] AS git_branch,
    ResourceAttributes['service.name'] AS service,
    ResourceAttributes['vcs.repository.url.full'] AS repository,
    ResourceAttributes['pytest.variant'] AS variant,
    ResourceAttributes['cicd.pipeline.task.name'] AS ci_job,
    toUInt16OrZero(ResourceAttributes['pytest.ci.attempt']) AS ci_attempt,
    ResourceAttributes['cicd.pipeline.run.url.full'] AS ci_url,
    ResourceAttributes['vcs.change.id'] AS change_id,
    TraceId AS trace_id,
    SpanId AS span_id,
    mapSort(mapApply((k, v) -> (substring(k, 23), v), mapFilter((k, v) -> startsWith(k, 'pytest.run.attributes.'), SpanAttributes))) AS attributes
FROM `default`.`otel_traces`
WHERE mapContains(SpanAttributes, 'pytest.exit_status');

CREATE MATERIALIZED VIEW IF NOT EXISTS `default`.`otel_traces_trace_id_ts_mv`
TO `default`.`otel_traces_trace_id_ts`
AS SELECT
    TraceId,
    min(Timestamp) AS Start,
    max(Timestamp) AS End
FROM `default`.`otel_traces`
WHERE TraceId != ''
GROUP BY TraceId;
