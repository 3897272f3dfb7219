-- The leaves that hold attestations, in each agent's order. Parameter as in totals.sql.
SELECT toString(agent_id) AS agent, sequence, JSONExtractString(leaf, 'attestation') AS attestation
FROM room_events
WHERE type = 'attestation' AND received_at < fromUnixTimestamp64Micro({to:Int64})
ORDER BY agent, sequence
