-- Share of all bound calls that violate nothing, in per cent; null where none was bound.
SELECT 100 * countIf(bound AND valid) / nullIf(countIf(bound), 0) AS valid_percent
FROM room_events
WHERE toStartOfFiveMinutes(received_at) >= {from:DateTime} AND toStartOfFiveMinutes(received_at) < {to:DateTime}
