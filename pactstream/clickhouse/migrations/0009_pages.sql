-- Pages as their tenants see them; the topic `pages` is the original.
--
-- One row for each page, the newest: a row written again, or an older after a newer, does not show. Read with
-- FINAL. Private to the tenant: failing values and parameters stand here. On a cluster that names replicas by
-- table engine, use ReplicatedReplacingMergeTree.

CREATE TABLE IF NOT EXISTS pages
(
    tenant_id     UUID COMMENT 'Whose page it is: every query names it.',
    page_id       UUID COMMENT 'The page; also the event id of its opening in the ledger.',
    agent_id      UUID COMMENT 'The agent.',
    pact_id       UUID COMMENT 'The pact that was violated.',
    pact_version  UInt32 COMMENT 'The version that judged the first violation.',
    rule          LowCardinality(String) COMMENT 'The rule, as in violations.',
    param_path    String COMMENT 'And where: with rule, agent and pact what the page is about.',
    severity      LowCardinality(String) COMMENT 'Of the violation: critical.',
    tool          LowCardinality(String) COMMENT 'The tool of the first violating call.',
    session_id    String COMMENT 'And its session.',
    status        LowCardinality(String) COMMENT 'open, acknowledged or closed.',
    resolution    LowCardinality(String) COMMENT 'accepted, blocked or rotated; empty until it is closed.',
    occurrences   UInt64 COMMENT 'Violations since it was opened, the first included.',
    opened_at     DateTime64(6, 'UTC') COMMENT 'Arrival of the first violating call.',
    last_at       DateTime64(6, 'UTC') COMMENT 'Arrival of the latest.',
    updated_at    DateTime64(6, 'UTC') COMMENT 'When this row came to be what it is.',
    event_id      UUID COMMENT 'The first violating event.',
    last_event_id UUID COMMENT 'The latest.',
    violations    String CODEC(ZSTD(1)) COMMENT 'JSON: all violations of the first call, [{paramPath, rule, severity, value, expected, message}].',
    recent_calls  String CODEC(ZSTD(1)) COMMENT 'JSON: up to ten calls, newest first, [{eventId, tool, outcome, valid, severity, occurredAt, params}].',
    history       String CODEC(ZSTD(1)) COMMENT 'JSON: what was done, [{at, by, action, reason}].',
    deliveries    String CODEC(ZSTD(1)) COMMENT 'JSON: where it was sent, [{route, kind, state, attempts, error}].',
    version       UInt64 COMMENT 'Place in the topic of the latest record that is reflected here.'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (tenant_id, page_id)
COMMENT 'One row for each page; FROM pages FINAL WHERE tenant_id = … .';
