-- Tokens of sessions whose pact has a budget: of each agent, tenant and day a sample of 64 sessions, those with the
-- smallest hashes. Parameters as in evidence.sql.
SELECT
    agent,
    tenant,
    day,
    sum(spent) AS tokens,
    sum(if(spent > budget, spent - budget, 0)) AS tokens_beyond,
    count() AS budgeted_sessions
FROM
(
    SELECT
        toString(agent_id) AS agent,
        tenant,
        toUInt32(toDate(received_at)) AS day,
        session_id,
        sum(token_count) AS spent,
        max(JSONExtractUInt(leaf, 'objectives', 'tokensPerSession')) AS budget
    FROM room_events
    WHERE received_at >= fromUnixTimestamp64Micro({from:Int64}) AND received_at < fromUnixTimestamp64Micro({to:Int64})
      AND type = 'response' AND token_count IS NOT NULL AND JSONHas(leaf, 'objectives', 'tokensPerSession')
    GROUP BY agent_id, tenant, day, session_id
    ORDER BY hex(substring(SHA256(session_id), 1, 8))
    LIMIT 64 BY agent, tenant, day
)
GROUP BY agent, tenant, day
ORDER BY agent, tenant, day
