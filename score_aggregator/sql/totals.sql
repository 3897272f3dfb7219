-- What each agent has done in all, whatever the window. Parameter: the end of arrival, microseconds since 1970.
SELECT
    toString(agent_id) AS agent,
    max(sequence) AS through_sequence,
    toUnixTimestamp64Micro(argMin(received_at, sequence)) AS first_received_at_micros,
    toUnixTimestamp64Micro(max(received_at)) AS last_received_at_micros,
    countIf(type = 'session_start') AS sessions,
    countIf(type = 'tool_call') AS tool_calls,
    countIf(type = 'tool_call' AND bound) AS bound_calls,
    countIf(type = 'tool_call' AND bound AND valid) AS valid_calls,
    sumMapIf([if(severity = 'warning', 'info', toString(severity))], [toUInt64(1)], type = 'tool_call' AND bound AND valid = false) AS violations
FROM room_events
WHERE received_at < fromUnixTimestamp64Micro({to:Int64})
GROUP BY agent_id
ORDER BY agent
