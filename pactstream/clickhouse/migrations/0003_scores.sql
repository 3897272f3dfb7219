-- Scores as the oracle and analysts see them; the topic `trust.scores` is the original.
--
-- One row for each agent and day: the day's last. The projector writes a score for every agent that moved,
-- several times a second, and may write one again after a crash; of rows with the same agent and day the one
-- with the highest `through_sequence` stays, so neither shows. Read with FINAL. On a cluster that names
-- replicas by table engine, use ReplicatedReplacingMergeTree.

CREATE TABLE IF NOT EXISTS scores
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
ENGINE = ReplacingMergeTree(through_sequence)
ORDER BY (agent_id, toDate(last_received_at))
COMMENT 'An agent''s score at the end of each day (UTC) with events; FROM scores FINAL … ORDER BY through_sequence DESC LIMIT 1 is the latest.';
