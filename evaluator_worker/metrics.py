"""Prometheus metrics of judgement. Labels come from fixed sets: nothing a tenant sends becomes one."""

from __future__ import annotations

from functools import cache

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


_of_verdict = cache(VERDICTS.labels)
"""The counter of a verdict: finding it by its label costs more than counting."""


def count(outcome: Outcome, events: int) -> None:
    """Count one batch of so many events."""
    taken: dict[str, int] = {}
    for verdict in outcome.verdicts:
        label = _label(verdict)
        taken[label] = taken.get(label, 0) + 1
    for label, number in taken.items():
        _of_verdict(label).inc(number)
    # Most batches have none of what follows.
    if duplicates := events - len(outcome.refused) - len(outcome.marks):
        DUPLICATES.inc(duplicates)
    for counter, number in (
        (REFUSED, len(outcome.refused)),
        (CROSSINGS, outcome.crossings),
        (RELEASED, outcome.released),
        (DIVERGENCE, outcome.diverged),
    ):
        if number:
            counter.inc(number)


def _label(verdict: Verdict) -> str:
    if verdict.valid:
        return "valid" if verdict.bound else "unbound"
    return verdict.severity or "violated"
