-- What a trust report needs of `scores`, in one value, for one agent at a time.
--
-- `scores` has thirty columns in granules of 8,192 rows: reading one agent's row opens all of them (9 ms; this 2 ms).
-- Here a row is a JSON array of the same figures, 64 rows to a granule. ClickHouse fills it at each insert into
-- `scores`; nobody else writes it. Of an agent two rows stay, live and nightly: the latest score is the one with the
-- highest `through_sequence`, then `computed_at`, so no FINAL is needed. On a cluster that names replicas by table
-- engine, use ReplicatedReplacingMergeTree.

CREATE TABLE IF NOT EXISTS latest_scores
(
    agent_id          UUID COMMENT 'The agent.',
    nightly           Bool COMMENT 'As in scores.',
    through_sequence  UInt64 COMMENT 'As in scores.',
    computed_at       DateTime64(6, 'UTC') COMMENT 'As in scores.',
    score             String CODEC(ZSTD(1)) COMMENT 'JSON array of the row''s figures, in the order of the view that fills this; times in microseconds since 1970.'
)
ENGINE = ReplacingMergeTree(computed_at)
ORDER BY (agent_id, nightly)
SETTINGS index_granularity = 64
COMMENT 'The latest row of scores for each agent, live and nightly; filled by the view latest_scores_filled. For the oracle; analysts read scores.';

CREATE MATERIALIZED VIEW IF NOT EXISTS latest_scores_filled TO latest_scores
(
    agent_id          UUID COMMENT 'As in latest_scores.',
    nightly           Bool COMMENT 'As in latest_scores.',
    through_sequence  UInt64 COMMENT 'As in latest_scores.',
    computed_at       DateTime64(6, 'UTC') COMMENT 'As in latest_scores.',
    score             String COMMENT 'As in latest_scores.'
)
AS SELECT agent_id, nightly, through_sequence, computed_at,
    toJSONString(tuple(
        through_sequence, toUnixTimestamp64Micro(first_received_at), toUnixTimestamp64Micro(last_received_at),
        sessions, tool_calls, bound_calls, valid_calls, violations,
        composite, points, confidence, covered_weight, if(tier = '', NULL, toString(tier)), sample_size, method,
        toUnixTimestamp64Micro(computed_at),
        arrayZip(dimensions.name, dimensions.weight, dimensions.score, dimensions.confidence,
            dimensions.sample_size, dimensions.inputs),
        arrayZip(attestations.attestation_id, attestations.kind, attestations.issuer,
            arrayMap(t -> toUnixTimestamp64Micro(t), attestations.issued_at),
            arrayMap(t -> toUnixTimestamp64Micro(t), attestations.expires_at),
            attestations.sequence, attestations.claim))) AS score
FROM scores
COMMENT 'Copies each row of scores to latest_scores as it is inserted.';

-- What is there already. A second run adds rows that the first one's replace.
INSERT INTO latest_scores
SELECT agent_id, nightly, through_sequence, computed_at,
    toJSONString(tuple(
        through_sequence, toUnixTimestamp64Micro(first_received_at), toUnixTimestamp64Micro(last_received_at),
        sessions, tool_calls, bound_calls, valid_calls, violations,
        composite, points, confidence, covered_weight, if(tier = '', NULL, toString(tier)), sample_size, method,
        toUnixTimestamp64Micro(computed_at),
        arrayZip(dimensions.name, dimensions.weight, dimensions.score, dimensions.confidence,
            dimensions.sample_size, dimensions.inputs),
        arrayZip(attestations.attestation_id, attestations.kind, attestations.issuer,
            arrayMap(t -> toUnixTimestamp64Micro(t), attestations.issued_at),
            arrayMap(t -> toUnixTimestamp64Micro(t), attestations.expires_at),
            attestations.sequence, attestations.claim))) AS score
FROM scores;
