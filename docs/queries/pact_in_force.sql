-- Pact in force.
SELECT p.version, p.name, p.document
FROM pacts AS p
JOIN room_events AS e ON p.pact_id = e.pact_id AND p.version = e.pact_version
WHERE e.agent_id = {agent:UUID} AND e.event_id = {event:UUID}
