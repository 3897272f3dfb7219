"""The part of the closed list of metrics that is about processes beside the way to the ledger."""

from __future__ import annotations

from typing import Final

from pactstream.metric_kinds import FAST, Metric

_PAGING_METRICS: Final = (
    Metric("pactstream_pages_opened_total", "counter", "pages", "Pages opened.", ("paging",)),
    Metric(
        "pactstream_pages_repeated_total",
        "counter",
        "violations",
        "Violations counted on a page that was open already.",
        ("paging",),
    ),
    Metric(
        "pactstream_page_deliveries_total",
        "counter",
        "attempts",
        "Attempts to deliver a page: `delivered`, `failed`, or `given_up` after the last.",
        ("paging",),
        ("kind", "outcome"),
    ),
    Metric(
        "pactstream_page_delivery_seconds",
        "histogram",
        "seconds",
        "From the decision to tell to the receiver's answer.",
        ("paging",),
        buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 3_600),
    ),
    Metric(
        "pactstream_pages_undelivered_total",
        "counter",
        "pages",
        "Pages that reach nobody: no route takes them, or all fail.",
        ("paging",),
    ),
)
_ANOMALY_METRICS: Final = (
    Metric(
        "pactstream_anomaly_windows_total",
        "counter",
        "windows",
        "Windows of behaviour read, those that change nothing included.",
        ("anomaly",),
    ),
    Metric(
        "pactstream_anomaly_windows_skipped_total",
        "counter",
        "records",
        "Records of the topic `behaviour.windows` that are no windows.",
        ("anomaly",),
    ),
    Metric(
        "pactstream_anomalies_total",
        "counter",
        "anomalies",
        "Anomalies written, opened or closed.",
        ("anomaly",),
    ),
)
_EXTERNAL_METRICS: Final = (
    Metric(
        "pactstream_evaluations_total",
        "counter",
        "questions",
        "Calls that a third party was to evaluate: `valid`, `violated`, `abstained`, or why there is none, "
        "one of `deadline`, `unavailable`, `refused`, `malformed`, `failed`, `resting`, `unknown`, `revoked`.",
        ("external",),
        ("outcome",),
    ),
    Metric(
        "pactstream_evaluation_seconds",
        "histogram",
        "seconds",
        "From a question to its answer, or to the deadline.",
        ("external",),
        buckets=FAST,
    ),
)

_OTLP_METRICS: Final = (
    Metric(
        "pactstream_otlp_spans_total",
        "counter",
        "spans",
        "Spans that collectors took (`exported`), left out of a request that they took (`rejected`), or "
        "refused with all of it (`refused`).",
        ("otlp",),
        ("outcome",),
    ),
    Metric(
        "pactstream_otlp_failed_requests_total",
        "counter",
        "requests",
        "Requests to collectors that had to be sent again.",
        ("otlp",),
    ),
    Metric(
        "pactstream_otlp_skipped_records_total",
        "counter",
        "records",
        "Records of the topic `telemetry.evaluated` that are no batches of leaves.",
        ("otlp",),
    ),
)
_SIDECAR_METRICS: Final = (
    Metric(
        "pactstream_sidecar_events_total",
        "counter",
        "events",
        "Events `taken` from agents; `delivered` to the gateway; `refused` by it for good; `lost`, which were "
        "refused and made room for later ones.",
        ("sidecar",),
        ("outcome",),
    ),
    Metric(
        "pactstream_sidecar_failed_attempts_total",
        "counter",
        "attempts",
        "Times that a batch had to be sent again.",
        ("sidecar",),
    ),
    Metric(
        "pactstream_sidecar_waiting_batches",
        "gauge",
        "batches",
        "Batches that the gateway does not have yet.",
        ("sidecar",),
    ),
    Metric(
        "pactstream_sidecar_oldest_seconds",
        "gauge",
        "seconds",
        "How long the oldest of them has waited; 0 where none does.",
        ("sidecar",),
    ),
    Metric(
        "pactstream_sidecar_dead_letters",
        "gauge",
        "letters",
        "Refusals that are kept.",
        ("sidecar",),
    ),
    Metric(
        "pactstream_sidecar_buffer_bytes",
        "gauge",
        "bytes",
        "What the buffer holds on disk.",
        ("sidecar",),
    ),
    Metric(
        "pactstream_sidecar_room_bytes",
        "gauge",
        "bytes",
        "What the buffer may take yet, by its limit and by what is left on its disk.",
        ("sidecar",),
    ),
)

BESIDE: Final = (
    *_PAGING_METRICS,
    *_ANOMALY_METRICS,
    *_EXTERNAL_METRICS,
    *_OTLP_METRICS,
    *_SIDECAR_METRICS,
)
"""All of them."""
