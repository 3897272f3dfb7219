-- What the oracle's processes measured of themselves; the topic `oracle.samples` is the original for a week. The
-- status page is computed from these rows and from nothing else.

CREATE TABLE IF NOT EXISTS oracle_samples
(
    instance       LowCardinality(String) COMMENT 'Name of the process.',
    at             DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'End of the interval measured.',
    seconds        Float64 COMMENT 'Its length.',
    requests       UInt64 COMMENT 'Requests answered.',
    failures       UInt64 COMMENT 'Of these, answered 5xx.',
    buckets        Array(UInt64) COMMENT 'Requests by time to the head of the answer; bounds in docs/oracle.md.',
    checks         UInt64 COMMENT 'Own reports verified with the public keys.',
    failed_checks  UInt64 COMMENT 'Of these, those that did not verify.',
    lag_seconds    Nullable(Float64) COMMENT 'From an event''s arrival to its seal, the longest of the last minute.'
)
ENGINE = ReplacingMergeTree
ORDER BY (instance, at)
TTL toDateTime(at) + INTERVAL 91 DAY
COMMENT 'One row for each process of the oracle and interval; read with FINAL. On a cluster that names replicas by table engine, use ReplicatedReplacingMergeTree.';
