-- Failing values of an event.
SELECT field, value FROM room_event_payloads
WHERE agent_id = {agent:UUID} AND event_id = {event:UUID} AND field LIKE 'violations.%'
ORDER BY field
