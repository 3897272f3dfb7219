-- What dashboards ask for, kept within each part of room_events.
--
-- A projection is written with its part or not at all, and is merged as the part is. So an insert that is dropped as a
-- repeat is not counted twice, a rebuild fills it, and there is no second table to fall behind. Queries name
-- room_events, and get these by themselves where they use the same expressions: docs/queries/.

ALTER TABLE room_events ADD PROJECTION IF NOT EXISTS by_five_minutes
(
    SELECT
        toStartOfFiveMinutes(received_at), agent_id, pact_id,
        countIf(type = 'session_start'), countIf(type = 'session_end'),
        countIf(type = 'session_end' AND outcome = 'success'),
        countIf(type = 'tool_call'), countIf(type = 'tool_call' AND outcome = 'error'),
        countIf(bound), countIf(bound AND valid),
        countIf(bound AND severity = 'critical'), countIf(bound AND severity = 'major'),
        countIf(bound AND severity = 'minor'), countIf(bound AND severity = 'info')
    GROUP BY toStartOfFiveMinutes(received_at), agent_id, pact_id
);

-- The ends of sessions together, and the violating calls: few rows, read without the others.
ALTER TABLE room_events ADD PROJECTION IF NOT EXISTS by_type
(
    SELECT type, severity, received_at, occurred_at, agent_id, session_id, pact_id, bound, violations.param_path
    ORDER BY type, severity, received_at
);

-- Rows that were there before; ClickHouse does it in the background.
ALTER TABLE room_events MATERIALIZE PROJECTION IF EXISTS by_five_minutes;

ALTER TABLE room_events MATERIALIZE PROJECTION IF EXISTS by_type;
