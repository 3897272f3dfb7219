-- Share of bound calls that violate nothing, and violating calls by severity, in steps of `step` seconds (a multiple of 300).
SELECT toStartOfInterval(toStartOfFiveMinutes(received_at), toIntervalSecond({step:UInt32})) AS time,
       100 * countIf(bound AND valid) / nullIf(countIf(bound), 0) AS valid_percent,
       countIf(bound AND severity = 'critical') AS critical,
       countIf(bound AND severity = 'major') AS major,
       countIf(bound AND severity = 'minor') AS minor,
       countIf(bound AND severity = 'info') AS info
FROM room_events
WHERE toStartOfFiveMinutes(received_at) >= {from:DateTime} AND toStartOfFiveMinutes(received_at) < {to:DateTime}
GROUP BY time
ORDER BY time
