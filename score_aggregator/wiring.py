"""Puts the aggregator's parts together."""

from __future__ import annotations

from functools import partial

from pactstream.clickhouse.client import ClickHouse
from pactstream.kafka import topics
from pactstream.kafka.copier import Copier
from pactstream.kafka.processor import Plan, Processor
from score_aggregator import table
from score_aggregator.nightly import Nightly
from score_aggregator.projector import projector
from score_aggregator.settings import AggregatorSettings
from score_aggregator.task import ScoreTask

GROUP = "score-aggregator"


def nights(settings: AggregatorSettings, database: ClickHouse) -> list[Nightly]:
    """The loop that computes nightly scores, where this process is to do it."""
    delay = settings.aggregator_nightly_delay_seconds
    return [Nightly(database, delay)] if settings.aggregator_nightly else []


def build(settings: AggregatorSettings, database: ClickHouse) -> tuple[Processor, Copier]:
    """The loop that computes scores, and the one that copies them to ClickHouse."""
    plan = Plan(
        group=GROUP,
        source=topics.EVALUATED,
        changelog=topics.AGGREGATOR_STATE,
        make_task=ScoreTask,
        max_events=settings.aggregator_max_events,
        linger_seconds=settings.aggregator_linger_seconds,
    )
    rows = projector(settings, partial(table.insert, database), settings.aggregator_projection_seconds)
    return Processor(settings, plan), rows
