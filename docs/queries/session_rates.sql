-- Sessions a minute, errors and violations of all agents, in steps of `step` seconds (a multiple of 300).
SELECT toStartOfInterval(toStartOfFiveMinutes(received_at), toIntervalSecond({step:UInt32})) AS time,
       countIf(type = 'session_start') * 60 / {step:UInt32} AS sessions_a_minute,
       100 * countIf(type = 'tool_call' AND outcome = 'error') / nullIf(countIf(type = 'tool_call'), 0) AS tool_error_percent,
       100 * (countIf(bound) - countIf(bound AND valid)) / nullIf(countIf(bound), 0) AS violation_percent
FROM room_events
WHERE toStartOfFiveMinutes(received_at) >= {from:DateTime} AND toStartOfFiveMinutes(received_at) < {to:DateTime}
GROUP BY time
ORDER BY time
