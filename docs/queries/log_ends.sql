-- Log ends.
SELECT log, max(tree_size) AS leaves, max(segment_index) + 1 AS segments,
       dateDiff('millisecond', max(sealed_at), now64(6)) / 1000 AS seconds_since_sealed
FROM ledger_segments
GROUP BY log
ORDER BY log
