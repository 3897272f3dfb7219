"""Prometheus metrics of judgement. Labels come from fixed sets: nothing a tenant sends becomes one."""

from __future__ import annotations

from functools import cache

from evaluator_worker.judging import Outcome
from pactstream import metrics
from pactstream.pacts import Verdict

VERDICTS = metrics.counter("pactstream_verdicts_total")
DUPLICATES = metrics.counter("pactstream_duplicate_events_total")
REFUSED = metrics.counter("pactstream_refused_events_total")
CROSSINGS = metrics.counter("pactstream_window_crossings_total")
PREFLIGHTS = metrics.counter("pactstream_evaluator_preflights_total")
RELEASED = metrics.counter("pactstream_holds_released_total")
DIVERGENCE = metrics.counter("pactstream_evaluator_divergence_total")
HOT_AGENTS = metrics.gauge("pactstream_evaluator_hot_agents")
AGENT_LOADS = metrics.counter("pactstream_evaluator_agent_loads_total")


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
