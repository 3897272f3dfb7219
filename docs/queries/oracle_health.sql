-- Oracle health: a row for each process of the oracle. Latency is to the head of the answer, as the upper bound of the
-- bucket that holds the quantile (10: beyond the last bound). Signatures are those of reports given out, checked with the
-- public keys alone; freshness is from an event's arrival to its seal, the longest.
WITH [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] AS bounds,
measured AS
(
    SELECT instance, sum(requests) AS queries, sum(seconds) AS measured_seconds, sum(failures) AS failed,
           arrayCumSum(sumForEach(buckets)) AS upto, sum(checks) AS checked, sum(failed_checks) AS forged,
           max(lag_seconds) AS freshness_seconds
    FROM oracle_samples FINAL
    WHERE at >= {from:DateTime} AND at < {to:DateTime}
    GROUP BY instance
)
SELECT instance,
       queries / measured_seconds AS queries_a_second,
       if(queries = 0, NULL, bounds[arrayFirstIndex(n -> n >= 0.5 * upto[-1], upto)]) AS p50_seconds,
       if(queries = 0, NULL, bounds[arrayFirstIndex(n -> n >= 0.99 * upto[-1], upto)]) AS p99_seconds,
       100 * failed / nullIf(queries, 0) AS failed_percent,
       100 * (checked - forged) / nullIf(checked, 0) AS signatures_held_percent,
       freshness_seconds
FROM measured
ORDER BY instance
