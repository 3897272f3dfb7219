-- Latest events.
SELECT * FROM
(
    SELECT sequence, received_at, type, session_id, tool, outcome, latency_ms, valid, severity,
           arrayZip(violations.param_path, violations.rule) AS violated
    FROM room_events WHERE agent_id = {agent:UUID}
    ORDER BY sequence DESC LIMIT 30
)
ORDER BY sequence
