"""Puts the parts of the windows of behaviour together."""

from __future__ import annotations

from evaluator_worker.behaviour.settings import BehaviourSettings
from evaluator_worker.behaviour.task import BehaviourTask
from pactstream.kafka import topics
from pactstream.kafka.processor import Plan, Processor

GROUP = "behaviour"


def build(settings: BehaviourSettings) -> Processor:
    """The loop from `telemetry.evaluated` to `behaviour.windows`."""
    plan = Plan(
        group=GROUP,
        source=topics.EVALUATED,
        changelog=topics.BEHAVIOUR_STATE,
        make_task=BehaviourTask,
        max_events=settings.behaviour_max_events,
        linger_seconds=settings.behaviour_linger_seconds,
    )
    return Processor(settings, plan)
