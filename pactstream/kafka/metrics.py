"""Prometheus metrics of the processing loop, labelled by consumer group."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

RECORDS = Counter("pactstream_records_total", "Source records processed.", ["group"])
EVENTS = Counter("pactstream_events_total", "Events in committed transactions.", ["group"])
COMMITS = Counter("pactstream_commits_total", "Transactions committed.", ["group"])
ABORTS = Counter("pactstream_aborts_total", "Transactions abandoned.", ["group"])
RESTARTS = Counter("pactstream_restarts_total", "Times the loop began again from the last commit.", ["group"])
DEAD_LETTERS = Counter("pactstream_dead_letters_total", "Records put in the dead letter queue.", ["group"])
COMMIT_SECONDS = Histogram(
    "pactstream_transaction_seconds", "From a transaction's first record to its commit.", ["group"]
)
RESTORED = Counter("pactstream_restored_records_total", "Changelog records read back.", ["group"])
RESTORE_LEFT = Gauge("pactstream_restore_offsets_left", "Changelog offsets still to be read back.", ["group"])
