"""Puts the evaluator's parts together."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from threading import Event

from evaluator_worker.agents import Memory
from evaluator_worker.preflight import Limits, Preflight
from evaluator_worker.preflight_server import PreflightServer, may_serve
from evaluator_worker.settings import EvaluatorSettings
from evaluator_worker.task import GROUP, EvaluatorTask
from pactstream.control.pacts import PactBook
from pactstream.kafka import topics
from pactstream.kafka.owners import client_id
from pactstream.kafka.processor import Plan, Processor
from pactstream.kafka.side_writer import SideWriter
from pactstream.kafka.stores import Stores

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """The processing loop over `telemetry.batches`, and it with all that runs beside it."""

    processor: Processor
    loops: list[Callable[[Event], None]]


def build(settings: EvaluatorSettings, pacts: PactBook) -> Parts:
    """The evaluator on a real Kafka. Raises Fatal: an address cannot be had."""
    host = settings.evaluator_preflight_host or settings.bind_host
    if not may_serve(settings, host):
        _log.error(
            "answers no pre-flight questions: %s is not loopback, and PACTSTREAM_PREFLIGHT_SECRET is unset",
            host,
        )
        processor = Processor(settings, _plan(settings, pacts))
        return Parts(processor, [processor.run])
    server = PreflightServer(
        settings, host, settings.evaluator_preflight_port, settings.evaluator_advertised_host
    )
    processor = Processor(settings, _plan(settings, pacts, client_id(server.address)))
    writer = SideWriter(settings, topics.HOLDS, processor)
    limits = Limits(
        settings.evaluator_holds_per_agent,
        settings.evaluator_hold_seconds,
        settings.evaluator_hold_max_seconds,
    )
    preflight = Preflight(processor, pacts, writer, limits)
    return Parts(processor, [processor.run, writer.run, partial(server.serve, preflight)])


def _plan(settings: EvaluatorSettings, pacts: PactBook, client: str = GROUP) -> Plan:
    memory = Memory(
        settings.evaluator_dedup_events, settings.evaluator_dedup_hours, settings.evaluator_hot_mb << 20
    )
    stores = Stores(settings, GROUP, topics.EVALUATOR_STATE)
    return Plan(
        group=GROUP,
        source=topics.BATCHES,
        changelog=topics.EVALUATOR_STATE,
        side=topics.HOLDS,
        client_id=client,
        make_task=lambda partition: EvaluatorTask(partition, pacts, memory, stores.open(partition)),
        max_events=settings.evaluator_max_events,
        linger_seconds=settings.evaluator_linger_seconds,
    )
