-- What was erased, from the events in the ledger that say so.

CREATE VIEW IF NOT EXISTS erasures
(
    received_at  DateTime64(6, 'UTC') COMMENT 'When it was ordered.',
    tenant       LowCardinality(String) COMMENT 'Pseudonym of the tenant whose values were erased.',
    agent_id     UUID COMMENT 'The agent of whose earlier events values were erased.',
    session_id   String COMMENT 'The session, or empty: all of the agent''s.',
    event        Nullable(UUID) COMMENT 'The event, or null: all of the session''s.',
    erasure_id   UUID COMMENT 'Event id of the erasure itself.',
    log          UInt16 COMMENT 'The log that holds them all.',
    leaf_index   UInt64 COMMENT 'The erasure''s place in it: values of earlier leaves are gone.'
)
AS SELECT
    received_at, tenant, agent_id, session_id, parent_event_id AS event, event_id AS erasure_id, log, leaf_index
FROM room_events
WHERE type = 'erasure'
COMMENT 'One row for each erasure of private values.';
