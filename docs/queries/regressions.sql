-- Regressions.
SELECT day, agent_id, previous, composite, change_micros / 1e6 AS points,
       arraySort(part -> part.2, arrayZip(contributions.dimension, contributions.micros)) AS by_dimension,
       arrayZip(events.sequence, events.dimension, events.what) AS moved_by
FROM score_regressions FINAL
WHERE day > today() - toIntervalDay(30)
ORDER BY day DESC, points
