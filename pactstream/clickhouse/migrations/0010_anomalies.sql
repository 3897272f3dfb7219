-- Drift of one agent in one tenant, and changes of an agent in all of its tenants; the topic `anomalies` is the
-- original for 90 days. A row shows figures of its own tenant and of no other.

CREATE TABLE IF NOT EXISTS anomalies
(
    tenant_id    UUID COMMENT 'Whose windows moved; nobody else may see the row.',
    agent_id     UUID COMMENT 'The agent.',
    anomaly_id   UUID COMMENT 'One change of an agent has one id in all its tenants.',
    kind         LowCardinality(String) COMMENT 'drift or agent_changed.',
    status       LowCardinality(String) COMMENT 'open or closed.',
    since        DateTime64(6, 'UTC') COMMENT 'Start of the minute in which it most likely began.',
    detected_at  DateTime64(6, 'UTC') COMMENT 'End of the minute with which it was detected.',
    features     String COMMENT 'JSON list of {feature, direction, observed, usual, effect}: the tenant''s own figures.',
    attribution  String COMMENT 'JSON {model_version?, prompt_version?}, where the tenant''s own metadata changed.',
    evidence     Float64 COMMENT 'The e-value at detection.',
    version      UInt64 COMMENT 'Of several rows the highest counts.'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (tenant_id, agent_id, anomaly_id)
COMMENT 'One row for each anomaly and tenant; read with FINAL, always by tenant.';
