-- Scores as the oracle and analysts see them; the topic `trust.scores` is the original of the live ones, the ledger
-- that of the nightly ones. What the table held before is made again from both.
--
-- For each agent and day (UTC) one live row, the day's last, and one nightly row, computed from the ledger as of
-- midnight. A row written again, or an older after a newer, does not show: of rows with the same agent, day and
-- kind the one computed last stays. Read with FINAL. On a cluster that names replicas by table engine, use
-- ReplicatedReplacingMergeTree.

DROP TABLE IF EXISTS scores;

CREATE TABLE IF NOT EXISTS scores
(
    agent_id          UUID COMMENT 'The agent.',
    day               Date COMMENT 'The day (UTC) on which it was computed.',
    nightly           Bool COMMENT 'Computed from the ledger as of midnight, by published SQL; otherwise as events came.',
    through_sequence  UInt64 COMMENT 'The agent''s last event that is counted.',
    computed_at       DateTime64(6, 'UTC') COMMENT 'When the score was computed; a nightly one: midnight.',
    first_received_at DateTime64(6, 'UTC') COMMENT 'Start of the observation: arrival of the first event counted.',
    last_received_at  DateTime64(6, 'UTC') COMMENT 'End of the observation: arrival of the last event counted.',
    sessions          UInt64 COMMENT 'Sessions begun.',
    tool_calls        UInt64 COMMENT 'Tool calls, bound by a pact or not.',
    bound_calls       UInt64 COMMENT 'Tool calls that the pact in force names.',
    valid_calls       UInt64 COMMENT 'Bound calls that violated nothing.',
    violations        Map(LowCardinality(String), UInt64) COMMENT 'Severity to the number of bound calls whose verdict has it.',
    composite         Nullable(Float64) COMMENT 'From 0 to 100; null while too little is covered.',
    points            Nullable(UInt16) COMMENT 'Ten times the composite, rounded: 0 to 1000.',
    confidence        Nullable(Float64) COMMENT 'From 0 to 1: the dimensions'' confidence by weight, uncovered ones as 0.',
    covered_weight    Float64 COMMENT 'Weight of the dimensions with evidence, 0 to 100.',
    tier              LowCardinality(String) COMMENT 'bronze, silver, gold or platinum; empty below all.',
    sample_size       Float64 COMMENT 'Units of evidence after decay and caps: the largest of any dimension from telemetry.',
    method            UInt16 COMMENT 'Version of the method, as in docs/scores.md.',
    dimensions        Nested(name LowCardinality(String), weight Float64, score Nullable(Float64), confidence Float64, sample_size Float64, inputs String)
                      COMMENT 'All twelve by weight; score is 0 to 100 and null without evidence, inputs a JSON object of figures. ARRAY JOIN dimensions AS d for one row each.',
    attestations      Nested(attestation_id String, kind LowCardinality(String), issuer String, issued_at DateTime64(6, 'UTC'), expires_at DateTime64(6, 'UTC'), sequence UInt64, claim String)
                      COMMENT 'What third parties attest, in force when the score was computed; claim is JSON, sequence the leaf that holds the signed original.'
)
ENGINE = ReplacingMergeTree(computed_at)
ORDER BY (agent_id, day, nightly)
COMMENT 'Scores by agent and day; FROM scores FINAL … ORDER BY through_sequence DESC, computed_at DESC LIMIT 1 is an agent''s latest.';
