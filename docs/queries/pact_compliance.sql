-- Pact compliance: a row for each agent and pact. Healthy is above 99.5 % valid; below 99 % is an incident. Shares are
-- of the calls that the pact binds, by worst severity; the paths are the five violated most, with how often.
WITH counted AS
(
    SELECT agent_id, pact_id,
           countIf(bound) AS bound_calls,
           countIf(bound AND valid) AS valid_calls,
           countIf(bound AND severity = 'critical') AS critical,
           countIf(bound AND severity = 'major') AS major,
           countIf(bound AND severity = 'minor') AS minor,
           countIf(bound AND severity = 'info') AS info
    FROM room_events
    WHERE toStartOfFiveMinutes(received_at) >= {from:DateTime} AND toStartOfFiveMinutes(received_at) < {to:DateTime}
    GROUP BY agent_id, pact_id
),
violated AS
(
    SELECT agent_id, pact_id, sumMap(violations.param_path, arrayWithConstant(length(violations.param_path), 1)) AS paths
    FROM room_events
    WHERE type = 'tool_call' AND severity IN ('critical', 'major', 'minor', 'info') AND bound
      AND toStartOfFiveMinutes(received_at) >= {from:DateTime} AND toStartOfFiveMinutes(received_at) < {to:DateTime}
    GROUP BY agent_id, pact_id
),
named AS
(
    SELECT pact_id, argMax(name, version) AS name FROM pacts GROUP BY pact_id
)
SELECT counted.agent_id AS agent,
       assumeNotNull(counted.pact_id) AS pact,
       named.name AS name,
       bound_calls,
       100 * valid_calls / bound_calls AS valid_percent,
       100 * critical / bound_calls AS critical_percent,
       100 * major / bound_calls AS major_percent,
       100 * minor / bound_calls AS minor_percent,
       100 * info / bound_calls AS info_percent,
       arrayStringConcat(arrayMap(one -> concat(one.2, ' (', toString(-one.1), ')'), arraySlice(arraySort(
           arrayMap((path, times) -> (-toInt64(times), path), violated.paths.1, violated.paths.2)), 1, 5)), ', ') AS top_paths
FROM counted
LEFT JOIN violated ON counted.agent_id = violated.agent_id AND counted.pact_id = violated.pact_id
LEFT JOIN named ON counted.pact_id = named.pact_id
WHERE bound_calls > 0
ORDER BY valid_percent, agent, pact
