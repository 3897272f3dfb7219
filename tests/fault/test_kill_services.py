"""Any one service killed outright while Atlas runs, and started again: the same forty rows, once each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from threading import Thread

import pytest

from pactstream import atlas
from pactstream.demo import reflections, report_url
from pactstream.devstack.services import SERVICES, Services
from pactstream.fetch import fetch
from tests.pipeline import assert_ledger_sound, new_agent, pipeline, rows_of
from tests.stack import StackAddresses, eventually, fresh_database, fresh_prefix

EVENTS = 40


@pytest.fixture(scope="module")
def services(stack: StackAddresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    with (
        fresh_database(stack) as database,
        pipeline(
            stack.kafka_bootstrap, database, fresh_prefix(), tmp_path_factory.mktemp("pipeline")
        ) as running,
    ):
        yield running


@pytest.mark.parametrize("victim", SERVICES)
def test_a_killed_service_costs_and_doubles_nothing(services: Services, victim: str) -> None:
    agent = new_agent(services)
    with agent.telemetry(services, batch_size=3, flush_interval_seconds=0.05) as telemetry:
        day = Thread(
            target=atlas.run,
            args=(telemetry, 7),
            kwargs={"pact_id": agent.pact_id, "pause_seconds": 0.4},
        )
        day.start()
        eventually(lambda: telemetry.stats().accepted >= 5, timeout=20)
        services.supervisor.stop(victim, kill=True)
        services.start([victim])
        day.join(60)
        assert telemetry.flush(60)
        assert telemetry.stats().accepted == EVENTS

    for _ in reflections(services, EVENTS, agent.agent_id):
        pass
    rows = rows_of(services, agent.agent_id)
    assert [sequence for sequence, *_ in rows] == list(range(1, EVENTS + 1))
    assert len({event_id for _, event_id, *_ in rows}) == EVENTS
    assert [valid for *_, valid in rows].count(False) == 1
    report = json.loads(fetch(report_url(services, agent.agent_id)))
    assert report["pactCompliance"]["rate"] == 0.96
    assert report["observation"]["toolCalls"] == 25
    assert_ledger_sound(services)


@pytest.mark.parametrize("service", SERVICES)
def test_sigterm_ends_a_service_cleanly(services: Services, service: str) -> None:
    child = services.supervisor.child(service)
    child.process.terminate()
    assert child.process.wait(20) == 0
    services.supervisor.stop(service)
    services.start([service])
