"""Prometheus metrics of judgement. Labels come from fixed sets: nothing a tenant sends becomes one."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from evaluator_worker.judging import Outcome

VERDICTS = Counter("pactstream_verdicts_total", "Calls judged, by verdict.", ["verdict"])
DUPLICATES = Counter("pactstream_duplicate_events_total", "Events left out: judged before under the same id.")
REFUSED = Counter("pactstream_refused_events_total", "Events put in the dead letter queue one by one.")
CROSSINGS = Counter("pactstream_window_crossings_total", "Windows that a call took beyond their limit.")
PREFLIGHTS = Counter(
    "pactstream_evaluator_preflights_total", "Pre-flight questions answered, or not.", ["answer"]
)
RELEASED = Counter("pactstream_holds_released_total", "Holds that their call has taken up.")

DIVERGENCE = Counter(
    "pactstream_evaluator_divergence_total",
    "Calls that, taken alone, are judged otherwise here than by the gateway: always a fault.",
)
HOT_AGENTS = Gauge("pactstream_evaluator_hot_agents", "Agents in memory as objects.")
AGENT_LOADS = Counter("pactstream_evaluator_agent_loads_total", "Agents read from the store.")


def count(outcome: Outcome, events: int) -> None:
    """Count one batch of so many events."""
    for verdict in outcome.verdicts:
        label = (
            (verdict.severity or "violated") if not verdict.valid else "valid" if verdict.bound else "unbound"
        )
        VERDICTS.labels(label).inc()
    REFUSED.inc(len(outcome.refused))
    DUPLICATES.inc(events - len(outcome.refused) - len(outcome.marks))
    CROSSINGS.inc(outcome.crossings)
    RELEASED.inc(outcome.released)
    DIVERGENCE.inc(outcome.diverged)
