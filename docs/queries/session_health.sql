-- Session health: a row for each agent. Counts are kept for five minutes at a time; durations count where both ends are
-- known and the last arrived between `from` and `to`; a session may have begun up to a day before.
WITH counted AS
(
    SELECT agent_id,
           countIf(type = 'session_start') AS begun,
           countIf(type = 'session_end') AS ended,
           countIf(type = 'session_end' AND outcome = 'success') AS succeeded,
           countIf(type = 'tool_call') AS calls,
           countIf(type = 'tool_call' AND outcome = 'error') AS errors,
           countIf(bound) AS bound_calls,
           countIf(bound AND valid) AS valid_calls
    FROM room_events
    WHERE toStartOfFiveMinutes(received_at) >= {from:DateTime} AND toStartOfFiveMinutes(received_at) < {to:DateTime}
    GROUP BY agent_id
),
lasted AS
(
    SELECT agent_id, quantiles(0.5, 0.95, 0.99)(toFloat64(last) - toFloat64(first)) AS seconds
    FROM
    (
        SELECT agent_id,
               minIf(occurred_at, type = 'session_start') AS first,
               maxIf(occurred_at, type = 'session_end') AS last,
               maxIf(received_at, type = 'session_end') AS done,
               countIf(type = 'session_start') AS starts
        FROM room_events
        WHERE type IN ('session_start', 'session_end') AND severity = ''
          AND received_at >= {from:DateTime} - INTERVAL 1 DAY AND received_at < {to:DateTime}
        GROUP BY agent_id, cityHash64(session_id)
        HAVING starts > 0 AND done >= {from:DateTime}
    )
    GROUP BY agent_id
)
SELECT counted.agent_id AS agent,
       begun / (dateDiff('second', {from:DateTime}, {to:DateTime}) / 60) AS sessions_a_minute,
       100 * succeeded / nullIf(ended, 0) AS success_percent,
       if(empty(lasted.seconds), NULL, lasted.seconds[1]) AS p50_seconds,
       if(empty(lasted.seconds), NULL, lasted.seconds[2]) AS p95_seconds,
       if(empty(lasted.seconds), NULL, lasted.seconds[3]) AS p99_seconds,
       100 * errors / nullIf(calls, 0) AS tool_error_percent,
       100 * (bound_calls - valid_calls) / nullIf(bound_calls, 0) AS violation_percent
FROM counted
LEFT JOIN lasted ON counted.agent_id = lasted.agent_id
ORDER BY violation_percent DESC NULLS LAST, agent
