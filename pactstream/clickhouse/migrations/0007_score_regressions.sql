-- Falls of a composite between two nightly scores. Written after the scores of the night; a night that is computed
-- again gives the same row, and FINAL shows one.

CREATE TABLE IF NOT EXISTS score_regressions
(
    agent_id        UUID COMMENT 'The agent.',
    day             Date COMMENT 'Of the nightly score that is lower.',
    previous_day    Date COMMENT 'Of the nightly score before it.',
    composite       Float64 COMMENT 'On day.',
    previous        Float64 COMMENT 'On previous_day.',
    change_micros   Int64 COMMENT 'The change in millionths of a point; negative. Exactly the sum of contributions.micros.',
    contributions   Nested(dimension LowCardinality(String), micros Int64)
                    COMMENT 'What each dimension adds to the change, in millionths of a point.',
    events          Nested(event_id UUID, sequence UInt64, dimension LowCardinality(String), what String)
                    COMMENT 'Events since the earlier score that count against a dimension that fell; the latest of each.',
    computed_at     DateTime64(6, 'UTC') COMMENT 'When it was found.'
)
ENGINE = ReplacingMergeTree(computed_at)
ORDER BY (day, agent_id)
COMMENT 'Alerts that page nobody: composites that fell by more than 5 points from one nightly score to the next.';
