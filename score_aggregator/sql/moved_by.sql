-- Events of an agent that count against a dimension, the latest five of each.
-- Parameters: the agent; the half-open interval of arrival, microseconds since 1970.
WITH
    type = 'tool_call' AS called,
    called AND bound AND valid = false AND severity IN ('critical', 'major', 'minor') AS violated,
    JSONExtractString(leaf, 'attestation') AS signed,
    tryBase64URLDecode(splitByChar('.', signed)[2]) AS said,
    JSONExtract(leaf, 'confidence', 'Nullable(UInt8)') AS confidence
SELECT toString(event_id) AS event, sequence, against.1 AS dimension, against.2 AS what
FROM
(
    SELECT event_id, sequence, arrayJoin(arrayConcat(
        if(outcome = 'error', [('reliability', concat(type, ' failed'))], []),
        if(type = 'session_end' AND outcome IN ('failure', 'timeout', 'aborted'), [('reliability', concat('session: ', outcome))], []),
        if(type = 'session_end' AND outcome IN ('timeout', 'aborted'), [('harness_stability', concat('session: ', outcome))], []),
        if(violated, [('safety', concat(severity, ' violation by ', tool))], []),
        if(violated AND outcome = 'success', [('self_audit', concat('violation by ', tool, ' reported as a success'))], []),
        if(violated AND severity IN ('critical', 'major') AND outcome IN ('success', 'error'), [('runtime_compliance', concat(severity, ' violation by ', tool, ' not stopped'))], []),
        if(called AND NOT bound, [('runtime_compliance', concat('call of ', tool, ' under no pact'))], []),
        if(latency_ms > JSONExtract(leaf, 'objectives', 'latencyP95Ms', 'Nullable(UInt64)'), [('latency', concat(toString(latency_ms), ' ms'))], []),
        if(confidence >= 50 AND outcome = 'error', [('scope_honesty', concat('failed, ', toString(confidence), ' % sure'))], []),
        if(JSONExtractString(leaf, 'objectives', 'model') = 'other', [('model_compliance', 'model not allowed')], []),
        if(token_count > JSONExtract(leaf, 'objectives', 'tokensPerSession', 'Nullable(UInt64)'), [('cost_efficiency', concat(toString(token_count), ' tokens'))], []),
        if(type = 'attestation', [(JSONExtractString(said, 'claim', 'kind'), concat('attested by ', JSONExtractString(said, 'iss')))], [])
    )) AS against
    FROM room_events
    WHERE agent_id = {agent:UUID}
      AND received_at >= fromUnixTimestamp64Micro({from:Int64}) AND received_at < fromUnixTimestamp64Micro({to:Int64})
)
ORDER BY sequence DESC
LIMIT 5 BY dimension
LIMIT 60
