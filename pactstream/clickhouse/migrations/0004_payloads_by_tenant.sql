-- An erasure is one tenant's: what it deletes is found by tenant and agent.

ALTER TABLE room_event_payloads
    ADD COLUMN IF NOT EXISTS tenant LowCardinality(String) COMMENT 'Pseudonym of the tenant whose value it is.' AFTER agent_id;
