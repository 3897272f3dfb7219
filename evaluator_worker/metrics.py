"""Prometheus metrics of judgement. Labels come from fixed sets: nothing a tenant sends becomes one."""

from __future__ import annotations

from collections import Counter as Counted

from prometheus_client import Counter, Gauge

from evaluator_worker.judging import Outcome
from pactstream.pacts import Verdict

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
    # Added up first: finding a metric by its labels costs more than the rest of counting.
    for label, number in Counted(map(_label, outcome.verdicts)).items():
        VERDICTS.labels(label).inc(number)
    REFUSED.inc(len(outcome.refused))
    DUPLICATES.inc(events - len(outcome.refused) - len(outcome.marks))
    CROSSINGS.inc(outcome.crossings)
    RELEASED.inc(outcome.released)
    DIVERGENCE.inc(outcome.diverged)


def _label(verdict: Verdict) -> str:
    if verdict.valid:
        return "valid" if verdict.bound else "unbound"
    return verdict.severity or "violated"
