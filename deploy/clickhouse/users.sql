-- A user for each service, with what it needs and no more. Run as an administrator after `pactstream migrate`
-- has made the tables; replace the passwords. The names are those of the chart: `clickhouse.userPrefix` and the service.

CREATE USER IF NOT EXISTS pactstream_operator IDENTIFIED WITH sha256_password BY 'change-me-operator';
CREATE USER IF NOT EXISTS pactstream_sealer IDENTIFIED WITH sha256_password BY 'change-me-sealer';
CREATE USER IF NOT EXISTS pactstream_aggregator IDENTIFIED WITH sha256_password BY 'change-me-aggregator';
CREATE USER IF NOT EXISTS pactstream_oracle IDENTIFIED WITH sha256_password BY 'change-me-oracle';
CREATE USER IF NOT EXISTS pactstream_console IDENTIFIED WITH sha256_password BY 'change-me-console';
CREATE USER IF NOT EXISTS pactstream_push IDENTIFIED WITH sha256_password BY 'change-me-push';
CREATE USER IF NOT EXISTS pactstream_paging IDENTIFIED WITH sha256_password BY 'change-me-paging';
CREATE USER IF NOT EXISTS pactstream_anomaly IDENTIFIED WITH sha256_password BY 'change-me-anomaly';

-- Migrations, `ledger rebuild`, `ledger verify`, `erase`, `pact replay`.
GRANT ALL ON pactstream.* TO pactstream_operator;

-- The projector is the only writer of the ledger's tables; it deletes private values when an erasure says so.
GRANT SELECT, INSERT ON pactstream.room_events TO pactstream_sealer;
GRANT SELECT, INSERT, ALTER DELETE ON pactstream.room_event_payloads TO pactstream_sealer;
GRANT SELECT, INSERT ON pactstream.ledger_segments TO pactstream_sealer;
GRANT SELECT, INSERT ON pactstream.pacts TO pactstream_sealer;

GRANT SELECT ON pactstream.room_events TO pactstream_aggregator;
-- What it inserts into `scores` goes to `latest_scores` too, by a view that acts as the operator who made it.
GRANT SELECT, INSERT ON pactstream.scores TO pactstream_aggregator;
GRANT INSERT ON pactstream.score_regressions TO pactstream_aggregator;

-- Strangers talk to the oracle: it reads what is public, and no private value.
GRANT SELECT ON pactstream.scores TO pactstream_oracle;
GRANT SELECT ON pactstream.latest_scores TO pactstream_oracle;
GRANT SELECT ON pactstream.room_events TO pactstream_oracle;
GRANT SELECT ON pactstream.ledger_segments TO pactstream_oracle;
GRANT SELECT ON pactstream.oracle_samples TO pactstream_oracle;

-- The console shows a tenant its own private values, and changes nothing.
GRANT SELECT ON pactstream.room_events TO pactstream_console;
GRANT SELECT ON pactstream.room_event_payloads TO pactstream_console;
GRANT SELECT ON pactstream.ledger_segments TO pactstream_console;
GRANT SELECT ON pactstream.pacts TO pactstream_console;
GRANT SELECT ON pactstream.pages TO pactstream_console;
GRANT SELECT ON pactstream.anomalies TO pactstream_console;
GRANT SELECT ON pactstream.scores TO pactstream_console;
GRANT SELECT ON pactstream.score_regressions TO pactstream_console;
GRANT SELECT ON pactstream.oracle_samples TO pactstream_console;

GRANT INSERT ON pactstream.oracle_samples TO pactstream_push;

-- Pages hold private values: nobody else but the console's user reads them.
GRANT SELECT, INSERT ON pactstream.pages TO pactstream_paging;
GRANT SELECT ON pactstream.score_regressions TO pactstream_paging;
GRANT SELECT ON pactstream.anomalies TO pactstream_paging;

GRANT INSERT ON pactstream.anomalies TO pactstream_anomaly;
