"""Prometheus metrics of the processing loop."""

from __future__ import annotations

from pactstream import metrics

RECORDS = metrics.counter("pactstream_records_total")
EVENTS = metrics.counter("pactstream_events_total")
COMMITS = metrics.counter("pactstream_commits_total")
ABORTS = metrics.counter("pactstream_aborts_total")
RESTARTS = metrics.counter("pactstream_restarts_total")
DEAD_LETTERS = metrics.counter("pactstream_dead_letters_total")
COMMIT_SECONDS = metrics.histogram("pactstream_transaction_seconds")
RESTORED = metrics.counter("pactstream_restored_records_total")
RESTORE_LEFT = metrics.gauge("pactstream_restore_offsets_left")
