-- What each agent's leaves of each tenant and day (UTC, by arrival) come to: the fields of `evidence.Counts`.
-- Parameters: the half-open interval of arrival, microseconds since 1970.
WITH
    -- A stratum of work: 0 calls of tools that no pact names, 1 to 13 the others by hash, 14 ends of sessions,
    -- 15 responses. A slot is an hour of a stratum.
    multiIf(type = 'session_end', 14, type = 'response', 15, bound, 1 + CRC32(tool) % 13, 0) AS stratum,
    toHour(received_at) AS hour,
    stratum * 24 + hour AS slot,
    type = 'tool_call' AS called,
    valid = false AND severity IN ('critical', 'major', 'minor') AND called AND bound AS violated,
    severity IN ('critical', 'major') AS grave,
    type IN ('tool_call', 'response') AS timed,
    JSONExtract(leaf, 'confidence', 'Nullable(UInt8)') AS confidence,
    JSONExtract(leaf, 'objectives', 'latencyP95Ms', 'Nullable(UInt64)') AS latency_objective_ms,
    JSONExtractString(leaf, 'objectives', 'model') AS model,
    outcome = 'success' OR (type = 'response' AND outcome = 'partial') OR outcome = 'error' AS answered,
    timed AND answered AND confidence IS NOT NULL AS calibrated,
    if(type = 'response', 2, toUInt8(bound)) * 5
        + arrayCount(edge -> edge <= ifNull(confidence, 0), [50, 70, 85, 95]) AS cell,
    outcome = 'success' AND ifNull(valid, true) AS hit,
    arrayFlatten(arrayMap(power -> arrayMap(part -> part * exp2(power), [1., 1.25, 1.5, 1.75]), range(22))) AS edges,
    arrayCount(edge -> edge <= ifNull(latency_ms, 0), edges) AS bucket,
    timed AND stratum != 0 AND latency_ms IS NOT NULL AND latency_objective_ms IS NOT NULL AS aimed
SELECT
    toString(agent_id) AS agent,
    tenant,
    toUInt32(toDate(received_at)) AS day,
    uniqExactIf(slot, outcome = 'success' AND called AND bound) AS worked,
    uniqExactIf(slot, outcome = 'success' AND (called AND NOT bound OR type IN ('response', 'session_end'))) AS worked_elsewhere,
    uniqExactIf(slot, called AND bound AND valid) AS kept,
    uniqExactIf(slot, violated AND outcome != 'success') AS admitted,
    uniqExactIf(slot, violated AND grave AND outcome IN ('denied', 'refused')) AS stopped,
    uniqExactIf(hour, called AND NOT bound) AS unbound_hours,
    uniqExactIf(hour, type = 'session_end' AND outcome NOT IN ('aborted', 'timeout')) AS ended_hours,
    uniqExactIf(hour, model = 'allowed') AS model_allowed_hours,
    uniqExactIf(hour, model = 'unstated') AS model_unstated_hours,
    countIf(timed AND outcome = 'error' OR type = 'session_end' AND outcome IN ('failure', 'timeout', 'aborted')) AS failures,
    countIf(violated AND severity = 'critical') AS critical,
    countIf(violated AND severity = 'major') AS major,
    countIf(violated AND severity = 'minor') AS minor,
    countIf(violated AND outcome = 'success') AS hidden,
    countIf(violated AND grave AND outcome NOT IN ('denied', 'refused')) AS executed,
    countIf(type = 'session_end' AND outcome IN ('aborted', 'timeout')) AS broken_sessions,
    countIf(type = 'session_start') AS starts,
    countIf(type = 'session_end') AS ends,
    countIf(model = 'other') AS model_other,
    sumMapIf([cell], [toUInt64(1)], [toUInt64(ifNull(confidence, 0))], [toUInt64(hit)], calibrated) AS calibration,
    sumMapIf([toUInt8(stratum)], [toUInt64(1)], [toUInt64(ifNull(latency_ms > latency_objective_ms, false))], aimed) AS latency,
    sumMapIf([toUInt8(bucket)], [toUInt64(1)], timed AND latency_ms IS NOT NULL) AS durations
FROM room_events
WHERE received_at >= fromUnixTimestamp64Micro({from:Int64}) AND received_at < fromUnixTimestamp64Micro({to:Int64})
  AND type IN ('session_start', 'tool_call', 'response', 'session_end')
GROUP BY agent_id, tenant, day
ORDER BY agent, tenant, day
