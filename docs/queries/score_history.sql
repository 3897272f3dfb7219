-- Score history.
SELECT day, composite, points, confidence, covered_weight, tier, through_sequence
FROM scores FINAL WHERE agent_id = {agent:UUID} AND nightly
ORDER BY day DESC LIMIT 90
