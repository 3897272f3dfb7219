-- Pacts as analysts see them; the topic `pacts` is the original.

CREATE TABLE IF NOT EXISTS pacts
(
    pact_id     UUID COMMENT 'The same over all versions.',
    version     UInt32 COMMENT 'From 1 without gaps; a version never changes.',
    tenant_id   String COMMENT 'The tenant that owns it. Private: public views show pseudonyms.',
    agent_id    Nullable(UUID) COMMENT 'The agent it is for; null: any agent of the tenant.',
    name        String COMMENT 'As its author calls it.',
    hash        FixedString(32) COMMENT 'SHA-256 of document; leaves carry it in hexadecimal.',
    document    String CODEC(ZSTD(1)) COMMENT 'The pact, RFC 8785 JSON.',
    created_at  DateTime64(6, 'UTC') COMMENT 'When the version was made.',
    created_by  String COMMENT 'Public id of the API key that made it.'
)
ORDER BY (pact_id, version)
SETTINGS non_replicated_deduplication_window = 10000, replicated_deduplication_window = 10000
COMMENT 'Every version of every pact.';
