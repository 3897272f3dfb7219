-- Pacts and scores as analysts see them; the topics `pacts` and `trust.scores` are the originals.

CREATE TABLE pacts
(
    pact_id     UUID COMMENT 'The same over all versions.',
    version     UInt32 COMMENT 'From 1 without gaps; a version never changes.',
    tenant_id   String COMMENT 'The tenant that owns it. Private: public views show pseudonyms.',
    agent_id    Nullable(UUID) COMMENT 'The agent it is for; null: any agent of the tenant.',
    name        String COMMENT 'As its author calls it.',
    hash        FixedString(32) COMMENT 'SHA-256 of document; leaves carry it in hexadecimal.',
    document    String CODEC(ZSTD(1)) COMMENT 'The pact, RFC 8785 JSON.',
    created_at  DateTime64(6, 'UTC') COMMENT 'When the version was made.',
    created_by  String COMMENT 'Public id of the API key that made it.'
)
ORDER BY (pact_id, version)
SETTINGS non_replicated_deduplication_window = 10000, replicated_deduplication_window = 10000
COMMENT 'Every version of every pact.';

CREATE TABLE scores
(
    agent_id          UUID COMMENT 'The agent.',
    through_sequence  UInt64 COMMENT 'The agent''s last event that is counted.',
    computed_at       DateTime64(6, 'UTC') COMMENT 'When the score was computed.',
    first_received_at DateTime64(6, 'UTC') COMMENT 'Start of the observation: arrival of the first event counted.',
    last_received_at  DateTime64(6, 'UTC') COMMENT 'End of the observation: arrival of the last event counted.',
    sessions          UInt64 COMMENT 'Sessions begun.',
    tool_calls        UInt64 COMMENT 'Tool calls, bound by a pact or not.',
    bound_calls       UInt64 COMMENT 'Tool calls that the pact in force names.',
    valid_calls       UInt64 COMMENT 'Bound calls that violated nothing.',
    violations        Map(LowCardinality(String), UInt64) COMMENT 'Severity to the number of bound calls whose verdict has it.',
    dimensions        Map(LowCardinality(String), Float64) COMMENT 'Dimension to a figure from 0 to 1; only those computed.',
    composite         Nullable(Float64) COMMENT 'From 0 to 100; null until there is enough to compute it.',
    confidence        Nullable(Float64) COMMENT 'From 0 to 1; null as composite.'
)
ORDER BY (agent_id, through_sequence, computed_at)
SETTINGS non_replicated_deduplication_window = 10000, replicated_deduplication_window = 10000
COMMENT 'History of scores; an agent''s latest: WHERE agent_id = … ORDER BY through_sequence DESC, computed_at DESC LIMIT 1.';
