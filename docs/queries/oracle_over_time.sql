-- Queries a second, failures, signatures and freshness of all processes of the oracle, in steps of `step` seconds.
SELECT toStartOfInterval(at, toIntervalSecond({step:UInt32})) AS time,
       sum(requests) / {step:UInt32} AS queries_a_second,
       100 * sum(failures) / nullIf(sum(requests), 0) AS failed_percent,
       100 * (sum(checks) - sum(failed_checks)) / nullIf(sum(checks), 0) AS signatures_held_percent,
       max(lag_seconds) AS freshness_seconds
FROM oracle_samples FINAL
WHERE at >= {from:DateTime} AND at < {to:DateTime}
GROUP BY time
ORDER BY time
