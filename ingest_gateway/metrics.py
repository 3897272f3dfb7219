"""Prometheus metrics of the gateway. Labels come from fixed sets: nothing a tenant sends becomes one."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

from pactstream.pacts import Verdict

EVENTS = Counter(
    "pactstream_gateway_events_total", "Events accepted, by type and inline verdict.", ["type", "verdict"]
)
REJECTED = Counter("pactstream_gateway_rejected_total", "Events rejected one by one, by code.", ["code"])
PREFLIGHTS = Counter("pactstream_gateway_preflights_total", "Pre-flight questions, by verdict.", ["verdict"])
AUTH_FAILURES = Counter(
    "pactstream_gateway_auth_failures_total", "Requests without a key that fits.", ["reason"]
)
PUBLISH_SECONDS = Histogram(
    "pactstream_gateway_publish_seconds",
    "From handing a request's events to Kafka to their acknowledgement.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)


def verdict_label(verdict: Verdict | None) -> str:
    """A verdict as a label: `none`, `valid`, `unbound`, or the severity of its violations."""
    return "none" if verdict is None else label(verdict.valid, verdict.bound, verdict.severity)


def label(valid: bool, bound: bool, severity: str | None) -> str:
    """As `verdict_label`, of a verdict that is known in brief only."""
    if valid:
        return "valid" if bound else "unbound"
    return severity or "violated"
