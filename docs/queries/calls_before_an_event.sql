-- Calls before an event.
SELECT sequence, received_at, tool, outcome, valid, severity
FROM room_events
WHERE agent_id = {agent:UUID} AND type = 'tool_call'
  AND sequence < (SELECT sequence FROM room_events WHERE agent_id = {agent:UUID} AND event_id = {event:UUID})
ORDER BY sequence DESC LIMIT 10
