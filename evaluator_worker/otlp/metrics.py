"""What the relay measures."""

from __future__ import annotations

from pactstream import metrics

SPANS = metrics.counter("pactstream_otlp_spans_total")
for _outcome in ("exported", "rejected", "refused"):
    SPANS.labels(_outcome)  # from 0 on, or the first would be no increase
FAILED_REQUESTS = metrics.counter("pactstream_otlp_failed_requests_total")
SKIPPED_RECORDS = metrics.counter("pactstream_otlp_skipped_records_total")
