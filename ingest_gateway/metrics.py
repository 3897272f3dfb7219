"""Prometheus metrics of the gateway. Labels come from fixed sets: nothing a tenant sends becomes one."""

from __future__ import annotations

from pactstream import metrics
from pactstream.pacts import Verdict

EVENTS = metrics.counter("pactstream_gateway_events_total")
REJECTED = metrics.counter("pactstream_gateway_rejected_total")
OTLP_UNMAPPED = metrics.counter("pactstream_gateway_otlp_unmapped_total")
PREFLIGHTS = metrics.counter("pactstream_gateway_preflights_total")
AUTH_FAILURES = metrics.counter("pactstream_gateway_auth_failures_total")
PUBLISH_SECONDS = metrics.histogram("pactstream_gateway_publish_seconds")


def verdict_label(verdict: Verdict | None) -> str:
    """A verdict as a label: `none`, `valid`, `unbound`, or the severity of its violations."""
    return "none" if verdict is None else label(verdict.valid, verdict.bound, verdict.severity)


def label(valid: bool, bound: bool, severity: str | None) -> str:
    """As `verdict_label`, of a verdict that is known in brief only."""
    if valid:
        return "valid" if bound else "unbound"
    return severity or "violated"
