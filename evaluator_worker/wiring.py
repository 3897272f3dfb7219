"""Puts the evaluator's parts together."""

from __future__ import annotations

from evaluator_worker.agents import Memory
from evaluator_worker.settings import EvaluatorSettings
from evaluator_worker.task import GROUP, EvaluatorTask
from pactstream.control.pacts import PactBook
from pactstream.kafka import topics
from pactstream.kafka.processor import Plan, Processor


def build(settings: EvaluatorSettings, pacts: PactBook) -> Processor:
    """The processing loop over `telemetry.batches`."""
    memory = Memory(settings.evaluator_dedup_events, settings.evaluator_dedup_hours)
    plan = Plan(
        group=GROUP,
        source=topics.BATCHES,
        changelog=topics.EVALUATOR_STATE,
        make_task=lambda partition: EvaluatorTask(partition, pacts, memory),
        max_events=settings.evaluator_max_events,
        linger_seconds=settings.evaluator_linger_seconds,
    )
    return Processor(settings, plan)
