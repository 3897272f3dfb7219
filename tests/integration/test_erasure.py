"""Erased values are gone from every table for good, and every hash, link and proof still verifies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from evaluator_worker import wiring as evaluator
from evaluator_worker.settings import EvaluatorSettings
from pactstream import avro
from pactstream.control.pacts import PactBook
from pactstream.control.tenants import Agent, Tenant
from pactstream.kafka import topics
from tests.cli_tools import Run, runner
from tests.kafka_tools import produce
from tests.sealer_stack import Setup, build, database, environment, running, shared_settings
from tests.sealer_tools import START_MICROS, agent_id, event_id
from tests.stack import StackAddresses, eventually, fresh_prefix

AGENTS = 8
TENANTS = {
    name: Tenant(
        tenant_id=name,
        name=f"{name} Ltd",
        pseudonym=f"tenant-{pseudonym}",
        created_at_micros=1,
        agents={agent_id(one): Agent(agent_id(one), "agent", "active", 1) for one in range(AGENTS)},
    )
    for name, pseudonym in (("acme", "aaaa"), ("globex", "bbbb"))
}


class World:
    """Evaluator, sealer and projector, and what they left in ClickHouse."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self._offset = 0

    def send(self, tenant: str, agent: int, session: str, *, count: int = 2) -> list[str]:
        """A batch of calls with two private values each; their ids."""
        of = TENANTS[tenant]
        ids = [event_id(agent, self._offset + number) for number in range(count)]
        self._offset += count
        events = [
            {
                "type": "tool_call",
                "event_id": one,
                "session_id": session,
                "occurred_at_micros": START_MICROS,
                "tool": "transfer_funds",
                "outcome": "success",
                "params": json.dumps({"amount": 250.1, "memo": "swordfish"}).encode(),
            }
            for one in ids
        ]
        batch = {
            "tenant_id": of.tenant_id,
            "tenant_pseudonym": of.pseudonym,
            "agent_id": agent_id(agent),
            "key_id": "k",
            "request_id": "r",
            "received_at_micros": START_MICROS,
            "events": events,
        }
        record = (agent_id(agent).encode(), avro.encode("TelemetryBatch", batch))
        produce(self.setup.settings, topics.BATCHES, [record], partition=-1)
        return ids

    def left(self, *agents: int) -> set[tuple[str, int, str]]:
        """Tenant, agent and session of each private value of these agents."""
        sql = "SELECT DISTINCT tenant, toString(agent_id), session_id FROM room_event_payloads"
        numbers = {agent_id(one): one for one in agents}
        return {
            (tenant.removeprefix("tenant-"), numbers[agent], session)
            for tenant, agent, session in self.setup.database.rows(sql)
            if agent in numbers
        }

    def wait_for(self, *events: str) -> None:
        """Until the segments of these events are in ClickHouse."""
        sql = (
            "SELECT uniqExact(event_id) FROM room_events WHERE has({events:Array(String)}, toString(event_id))"
        )
        parameters = {"events": list(events)}
        eventually(lambda: self.setup.database.rows(sql, parameters) == [(len(events),)], 60, 0.1)

    def erasures(self, *agents: int) -> list[tuple[Any, ...]]:
        """Pseudonym, session and event of each erasure of these agents."""
        sql = "SELECT toString(agent_id), tenant, session_id, event FROM erasures ORDER BY received_at"
        wanted = {agent_id(one) for one in agents}
        return [tuple(row) for agent, *row in self.setup.database.rows(sql) if agent in wanted]


@pytest.fixture(scope="module")
def setup(stack: StackAddresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    keys = tmp_path_factory.mktemp("erasure") / "keys"
    with (
        database(stack.clickhouse) as address,
        build(stack.kafka_bootstrap, fresh_prefix(), address, keys) as made,
    ):
        tenants = [(name.encode(), one.encode()) for name, one in TENANTS.items()]
        produce(made.settings, topics.TENANTS, tenants)
        yield made


@pytest.fixture(scope="module")
def world(setup: Setup) -> Iterator[World]:
    settings = EvaluatorSettings(**shared_settings(setup, EvaluatorSettings))
    book = PactBook(settings)
    try:
        with running(*evaluator.build(settings, book).loops, setup.sealer(), setup.projector()):
            yield World(setup)
    finally:
        book.close()


@pytest.fixture
def run(setup: Setup, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    for name, value in environment(setup.settings).items():
        monkeypatch.setenv(name, value)
    return runner(monkeypatch, capsys)


def test_each_scope_erases_what_it_says_and_nothing_else(world: World, run: Run) -> None:
    sent, everything = list[str](), set[tuple[str, int, str]]()
    for tenant, of in TENANTS.items():
        for agent in (0, 1):
            for session in ("s-1", "s-2"):
                sent += world.send(tenant, agent, session)
                everything.add((of.pseudonym.removeprefix("tenant-"), agent, session))
    world.wait_for(*sent)
    assert world.left(0, 1) == everything

    done = run("erase", "--tenant", "acme", "--agent", agent_id(0), "--session", "s-1", "--yes")
    assert (done.code, "erased: 4 values of 2 events" in done.out) == (0, True), done
    assert "the deletion is done, and stands in the ledger: leaf" in done.out
    assert "Kafka until its retention" in done.err
    everything -= {("aaaa", 0, "s-1")}
    assert world.left(0, 1) == everything

    assert run("erase", "--tenant", "globex", "--agent", agent_id(1), "--yes").code == 0
    everything -= {("bbbb", 1, "s-1"), ("bbbb", 1, "s-2")}
    assert world.left(0, 1) == everything

    # The session of both agents: one erasure in each one's history.
    assert run("erase", "--tenant", "acme", "--session", "s-2", "--yes").code == 0
    everything -= {("aaaa", 0, "s-2"), ("aaaa", 1, "s-2")}
    assert world.left(0, 1) == everything
    assert sorted(world.erasures(0, 1)) == [
        ("tenant-aaaa", "s-1", None),
        ("tenant-aaaa", "s-2", None),
        ("tenant-aaaa", "s-2", None),
        ("tenant-bbbb", "", None),
    ]
    assert world.setup.findings() == []
    # Nor does anything that is published name a tenant.
    public = repr(
        [world.setup.database.rows(f"SELECT * FROM {one}") for one in ("room_events", "ledger_segments")]
    )
    assert "tenant-aaaa" in public
    assert not [name for one in TENANTS.values() for name in (one.tenant_id, one.name) if name in public]


def test_one_event_of_a_session(world: World, run: Run) -> None:
    one, other = world.send("acme", 2, "s-1")
    world.wait_for(one, other)
    assert run("erase", "--tenant", "acme", "--event", one, "--yes", "--reason", "on request").code == 0
    sql = "SELECT toString(event_id), count() FROM room_event_payloads WHERE agent_id = {agent:UUID} GROUP BY 1"
    left = dict(world.setup.database.rows(sql, {"agent": agent_id(2)}))
    assert left.pop(other) == 2
    assert list(left.values()) == [1]  # the reason, a private value of the erasure itself
    assert one not in left
    ((pseudonym, session, event),) = world.erasures(2)
    assert (pseudonym, session, str(event)) == ("tenant-aaaa", "s-1", one)
    # Again: there is nothing any more.
    assert run("erase", "--tenant", "acme", "--event", one, "--yes").code == 1


def test_nobody_erases_what_is_anothers(world: World, run: Run) -> None:
    event, _ = world.send("acme", 3, "s-3")
    world.wait_for(event)
    refused = [
        run("erase", "--tenant", "globex", "--event", event, "--yes"),
        run("erase", "--tenant", "globex", "--session", "s-3", "--yes"),
        run("erase", "--tenant", "acme", "--agent", agent_id(77), "--yes"),
        run("erase", "--tenant", "nobody", "--agent", agent_id(3), "--yes"),
    ]
    assert [one.code for one in refused] == [1, 1, 1, 1]
    assert run("erase", "--tenant", "acme").code == 3
    assert run("erase", "--tenant", "acme", "--event", "no-uuid").code == 3
    assert world.left(3) == {("aaaa", 3, "s-3")}
    assert world.erasures(3) == []


def test_what_comes_after_an_erasure_is_kept(world: World, run: Run) -> None:
    setup, of_agent = world.setup, f"WHERE agent_id = toUUID('{agent_id(4)}')"
    world.wait_for(*world.send("acme", 4, "s-1"))
    setup.alter(f"CREATE TABLE backup ENGINE = Memory AS SELECT * FROM room_event_payloads {of_agent}")
    assert run("erase", "--tenant", "acme", "--agent", agent_id(4), "--yes").code == 0
    assert world.left(4) == set()
    # From a backup they come back as they were: sound, but erased.
    setup.alter("INSERT INTO room_event_payloads SELECT * FROM backup")
    (finding,) = setup.findings()
    assert finding.message == "4 private values that it erased are there"
    setup.alter(f"ALTER TABLE room_event_payloads DELETE {of_agent}")
    assert setup.findings() == []
    world.wait_for(*world.send("acme", 4, "s-1"))
    assert world.left(4) == {("aaaa", 4, "s-1")}
