-- Latest dimensions.
SELECT d.name AS dimension, d.weight AS weight, d.score AS score, d.confidence AS confidence,
       d.sample_size AS sample_size, d.inputs AS inputs
FROM
(
    SELECT * FROM scores FINAL WHERE agent_id = {agent:UUID}
    ORDER BY through_sequence DESC, computed_at DESC LIMIT 1
)
ARRAY JOIN dimensions AS d
