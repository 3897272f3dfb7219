-- Sealing delay.
SELECT quantiles(0.5, 0.99)(dateDiff('millisecond', e.received_at, s.sealed_at) / 1000) AS seconds_p50_p99
FROM room_events AS e
ASOF JOIN ledger_segments AS s ON e.log = s.log AND e.leaf_index < s.tree_size
WHERE e.received_at > now64(6) - toIntervalHour({hours:UInt32})
