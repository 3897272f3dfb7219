-- Segment of an event.
SELECT e.log, e.leaf_index, s.segment_index, s.sealed_at, s.checkpoint
FROM room_events AS e
ASOF JOIN ledger_segments AS s ON e.log = s.log AND e.leaf_index < s.tree_size
WHERE e.event_id = {event:UUID}
