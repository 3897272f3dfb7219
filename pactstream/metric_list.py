"""The closed list of Prometheus metrics of all processes; `metrics` makes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pactstream.metric_kinds import FAST, PROCESSES, Metric
from pactstream.metric_list_beside import BESIDE

_HTTP: Final = ("gateway", "oracle", "console", "sidecar")
_LOOPS: Final = (
    "evaluator",
    "sealer",
    "aggregator",
    "push",
    "paging",
    "behaviour",
    "anomaly",
    "external",
    "otlp",
)
_ON_KAFKA: Final = tuple(process for process in PROCESSES if process != "sidecar")

_HTTP_METRICS: Final = (
    Metric(
        "pactstream_http_requests_total",
        "counter",
        "requests",
        "Requests answered.",
        _HTTP,
        ("method", "route", "status"),
    ),
    Metric(
        "pactstream_http_request_seconds",
        "histogram",
        "seconds",
        "From a request's head to the head of its answer.",
        _HTTP,
        ("method", "route"),
    ),
)
_GATEWAY_METRICS: Final = (
    Metric(
        "pactstream_gateway_events_total",
        "counter",
        "events",
        "Events accepted, by type and inline verdict.",
        ("gateway",),
        ("type", "verdict"),
    ),
    Metric(
        "pactstream_gateway_rejected_total",
        "counter",
        "events",
        "Events rejected one by one.",
        ("gateway",),
        ("code",),
    ),
    Metric(
        "pactstream_gateway_otlp_unmapped_total",
        "counter",
        "spans",
        "OpenTelemetry spans that gave no event: `not_genai`, `no_agent`, `no_tool`, `bad_ids`, `bad_times`.",
        ("gateway",),
        ("reason",),
    ),
    Metric(
        "pactstream_gateway_preflights_total",
        "counter",
        "questions",
        "Pre-flight questions.",
        ("gateway",),
        ("verdict",),
    ),
    Metric(
        "pactstream_gateway_auth_failures_total",
        "counter",
        "requests",
        "Requests without a key that fits.",
        ("gateway",),
        ("reason",),
    ),
    Metric(
        "pactstream_gateway_publish_seconds",
        "histogram",
        "seconds",
        "From handing a request's events to Kafka to their acknowledgement.",
        ("gateway",),
        buckets=FAST,
    ),
)
_LOOP_METRICS: Final = (
    Metric("pactstream_records_total", "counter", "records", "Source records processed.", _LOOPS, ("group",)),
    Metric(
        "pactstream_events_total", "counter", "events", "Events in committed transactions.", _LOOPS, ("group",)
    ),
    Metric(
        "pactstream_commits_total", "counter", "transactions", "Transactions committed.", _LOOPS, ("group",)
    ),
    Metric("pactstream_aborts_total", "counter", "transactions", "Transactions abandoned.", _LOOPS, ("group",)),
    Metric(
        "pactstream_restarts_total",
        "counter",
        "restarts",
        "Times a loop began again from the last commit.",
        _LOOPS,
        ("group",),
    ),
    Metric(
        "pactstream_dead_letters_total",
        "counter",
        "records",
        "Records put in the dead letter queue whole.",
        _LOOPS,
        ("group",),
    ),
    Metric(
        "pactstream_transaction_seconds",
        "histogram",
        "seconds",
        "From opening a transaction to its commit.",
        _LOOPS,
        ("group",),
    ),
    Metric(
        "pactstream_restored_records_total",
        "counter",
        "records",
        "Changelog records read back.",
        _LOOPS,
        ("group",),
    ),
    Metric(
        "pactstream_restore_offsets_left",
        "gauge",
        "offsets",
        "Changelog offsets still to be read back.",
        _LOOPS,
        ("group",),
    ),
    Metric(
        "pactstream_consumer_lag_records",
        "gauge",
        "offsets",
        "From where a partition held here is read to its end, ten seconds old at most; for the anomaly app, "
        "and a relay whose collector takes nothing, from the commit. No series where a process is in no group.",
        _ON_KAFKA,
        ("group", "topic", "partition"),
    ),
)
_STATE_METRICS: Final = (
    Metric(
        "pactstream_state_bytes",
        "gauge",
        "bytes",
        "State held here, in memory or in files, without overhead.",
        ("evaluator",),
        ("group",),
    ),
    Metric(
        "pactstream_state_disk_free_bytes",
        "gauge",
        "bytes",
        "Left on the disk of the state directory; absent where state is in memory.",
        ("evaluator",),
        ("group",),
    ),
)
_EVALUATOR_METRICS: Final = (
    Metric("pactstream_verdicts_total", "counter", "calls", "Calls judged.", ("evaluator",), ("verdict",)),
    Metric(
        "pactstream_duplicate_events_total",
        "counter",
        "events",
        "Events left out: judged before under the same id.",
        ("evaluator",),
    ),
    Metric(
        "pactstream_refused_events_total",
        "counter",
        "events",
        "Events put in the dead letter queue one by one.",
        ("evaluator",),
    ),
    Metric(
        "pactstream_window_crossings_total",
        "counter",
        "windows",
        "Windows that a call took beyond their limit.",
        ("evaluator",),
    ),
    Metric(
        "pactstream_evaluator_preflights_total",
        "counter",
        "questions",
        "Pre-flight questions that the holder of the state was asked.",
        ("evaluator",),
        ("answer",),
    ),
    Metric(
        "pactstream_holds_released_total",
        "counter",
        "holds",
        "Holds that their call has taken up.",
        ("evaluator",),
    ),
    Metric(
        "pactstream_evaluator_divergence_total",
        "counter",
        "calls",
        "Calls that, taken alone, are judged otherwise here than by the gateway: always a fault.",
        ("evaluator",),
    ),
    Metric(
        "pactstream_evaluator_hot_agents", "gauge", "agents", "Agents in memory as objects.", ("evaluator",)
    ),
    Metric(
        "pactstream_evaluator_agent_loads_total",
        "counter",
        "agents",
        "Agents read from the store.",
        ("evaluator",),
    ),
)
_SEALER_METRICS: Final = (
    Metric(
        "pactstream_seal_seconds",
        "histogram",
        "seconds",
        "From the arrival of a segment's oldest event at the gateway to its sealing.",
        ("sealer",),
        buckets=(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0),
    ),
    Metric(
        "pactstream_projected_segments_total",
        "counter",
        "segments",
        "Segments written to ClickHouse.",
        ("sealer",),
        ("log",),
    ),
    Metric(
        "pactstream_projected_leaves_total",
        "counter",
        "leaves",
        "Leaves written to ClickHouse.",
        ("sealer",),
        ("log",),
    ),
    Metric(
        "pactstream_projected_pacts_total",
        "counter",
        "versions",
        "Pact versions written to ClickHouse.",
        ("sealer",),
    ),
    Metric(
        "pactstream_skipped_pacts_total",
        "counter",
        "records",
        "Records of the topic `pacts` that are no versions.",
        ("sealer",),
    ),
    Metric(
        "pactstream_projection_lag_seconds",
        "gauge",
        "seconds",
        "Age of the oldest sealed segment that waits for ClickHouse; 0 when none does.",
        ("sealer",),
        ("log",),
    ),
    Metric(
        "pactstream_publication_lag_seconds",
        "gauge",
        "seconds",
        "Age of the oldest sealed segment that waits to be published; 0 when none does.",
        ("sealer",),
        ("log",),
    ),
    Metric(
        "pactstream_published_leaves",
        "gauge",
        "leaves",
        "Leaves under the published checkpoint.",
        ("sealer",),
        ("log",),
    ),
    Metric(
        "pactstream_published_cosignatures",
        "gauge",
        "witnesses",
        "Witnesses that cosigned the published checkpoint.",
        ("sealer",),
        ("log",),
    ),
    Metric(
        "pactstream_publication_failures_total",
        "counter",
        "attempts",
        "Attempts to publish that are to be repeated.",
        ("sealer",),
        ("log",),
    ),
    Metric(
        "pactstream_quorum_failures_total",
        "counter",
        "attempts",
        "Of these, those that too few witnesses cosigned.",
        ("sealer",),
        ("log",),
    ),
)
_AGGREGATOR_METRICS: Final = (
    Metric("pactstream_score_rows_total", "counter", "rows", "Scores written to ClickHouse.", ("aggregator",)),
    Metric(
        "pactstream_score_rows_skipped_total",
        "counter",
        "records",
        "Records of `trust.scores` that are no scores.",
        ("aggregator",),
    ),
    Metric("pactstream_score_nightly_total", "counter", "scores", "Nightly scores written.", ("aggregator",)),
    Metric(
        "pactstream_score_regressions_total",
        "counter",
        "agents",
        "Composites that fell by more than five points overnight.",
        ("aggregator",),
    ),
    Metric(
        "pactstream_score_nightly_day",
        "gauge",
        "days",
        "Day since 1970 of the last complete nightly run; 0 before the first.",
        ("aggregator",),
    ),
)
# The console is built of the oracle's parts; its own series of these stay at 0.
_ORACLE: Final = ("oracle", "console")
_ORACLE_METRICS: Final = (
    Metric(
        "pactstream_oracle_self_checks_total",
        "counter",
        "reports",
        "Own reports verified with the public keys alone: `held` or `failed`.",
        _ORACLE,
        ("outcome",),
    ),
    Metric(
        "pactstream_oracle_freshness_seconds",
        "gauge",
        "seconds",
        "From an event's arrival to its seal, the longest of the last minute; 0 while nothing is sealed.",
        _ORACLE,
    ),
    Metric(
        "pactstream_oracle_samples_lost_total",
        "counter",
        "samples",
        "Own measurements that Kafka did not take.",
        _ORACLE,
    ),
    Metric(
        "pactstream_webhook_attempts_total",
        "counter",
        "attempts",
        "Attempts to deliver a notice: `delivered`, `failed`, or `given_up` after the last.",
        ("push", "paging"),
        ("outcome",),
    ),
)
METRICS: Final = {
    one.name: one
    for one in (
        *_HTTP_METRICS,
        *_GATEWAY_METRICS,
        *_LOOP_METRICS,
        *_STATE_METRICS,
        *_EVALUATOR_METRICS,
        *_SEALER_METRICS,
        *_AGGREGATOR_METRICS,
        *_ORACLE_METRICS,
        *BESIDE,
    )
}
"""The list, by name."""


def markdown_table(metrics: Iterable[Metric]) -> str:
    """The documentation of `metrics`: one row each."""
    lines = ["| metric | type | unit | labels | exported by | meaning |", "|---|---|---|---|---|---|"]
    for one in metrics:
        labels = ", ".join(f"`{name}`" for name in one.labels)
        where = ", ".join(one.processes)
        lines.append(f"| `{one.name}` | {one.kind} | {one.unit} | {labels} | {where} | {one.meaning} |")
    return "\n".join(lines) + "\n"
