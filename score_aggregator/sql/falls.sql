-- Composites that are more than so many points below the agent's nightly score before, by the same method.
-- Parameters: the day, points.
SELECT
    toString(now.agent_id) AS agent,
    now.composite AS composite,
    now.covered_weight AS covered_weight,
    now.dimensions.score AS scores,
    last.1 AS previous_day,
    last.2 AS previous,
    last.3 AS previous_covered_weight,
    last.4 AS previous_scores
FROM (SELECT * FROM scores FINAL WHERE nightly AND day = {day:Date}) AS now
INNER JOIN
(
    SELECT agent_id, argMax((toUInt16(day), composite, covered_weight, dimensions.score, method), day) AS last
    FROM scores FINAL
    WHERE nightly AND day < {day:Date} AND day >= {day:Date} - 90
    GROUP BY agent_id
) AS before ON before.agent_id = now.agent_id
WHERE last.2 - now.composite > {points:Float64} AND last.5 = now.method
ORDER BY agent
