"""Partitions are added under agents with a history: nobody moves, nothing breaks, wherever it is cut off."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest

from evaluator_worker import wiring as evaluator
from evaluator_worker.settings import EvaluatorSettings
from ingest_gateway.pact_store import PactStore
from ingest_gateway.tenancy import Tenancy
from pactstream import avro, clock, settings
from pactstream.control import growing
from pactstream.control.pacts import PactBook
from pactstream.control.placement import Placement, count_partitions
from pactstream.control.tenants import CHANGES_ID, Agent, Tenant, TenantDirectory
from pactstream.errors import Backpressure, Fatal
from pactstream.kafka import topics
from pactstream.kafka.owners import partition_of
from pactstream.kafka.publisher import Publisher
from pactstream.kafka.table import Changes
from pactstream.ledger.leaf import Leaf, parse_leaf
from tests.kafka_tools import create_topics, produce, read_all, service_settings
from tests.sealer_stack import Setup, build, environment, running, shared_settings
from tests.stack import ClickHouseAddress, eventually, fresh_prefix

BEFORE, AFTER = 3, 7
PACT = str(uuid.uuid4())
LIMIT = 4  # calls of each old agent before the partitions are there: one for each cut
DOCUMENT = {
    "name": "At most so many payments an hour",
    "conditions": [
        {
            "type": "window",
            "severity": "critical",
            "window": {"aggregate": "count", "tools": ["pay"], "over": {"sliding": "PT1H"}, "limit": LIMIT},
        }
    ],
}
# The command, killed as it is about to do something for the n-th time.
DYING = """
import os, sys
from pactstream.cli.app import main
from pactstream.kafka import topics
from pactstream.kafka.table import Changes
def deadly(function, turns=[int(sys.argv[2])]):
    def wrapped(*arguments, **named):
        turns[0] -= 1
        return os._exit(9) if turns[0] < 0 else function(*arguments, **named)
    return wrapped
if sys.argv[1] == "pin":
    Changes._apply_once = deadly(Changes._apply_once)
else:
    topics._add_partitions = deadly(topics._add_partitions)
sys.argv = ["pactstream", "topics", "grow", "--partitions", "7"]
main()
"""
CUTS = (("pin", 0), ("pin", 1), ("add", 6), ("add", 13))


class Fleet:
    """Two tenants with agents of an earlier release, one of them in both; and a gateway's parts."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.old = [str(uuid.uuid4()) for _ in range(8)]
        self.new: list[str] = []
        self.sent: dict[str, list[str]] = {}
        self.tenants = (uuid.uuid4(), uuid.uuid4())
        shares = (self.old[:5], self.old[4:])
        for number, (tenant, agents) in enumerate(zip(self.tenants, shares, strict=True)):
            known = {one: Agent(one, "old", "active", 1) for one in agents}
            record = Tenant(str(tenant), f"{number}", f"tenant-{number}", 1, agents=known)
            produce(setup.settings, topics.TENANTS, [(record.tenant_id.encode(), record.encode())])
        count = count_partitions(setup.settings)
        self.directory, self.pacts = TenantDirectory(setup.settings), PactBook(setup.settings)
        tables = self.directory.table, self.pacts.table
        changes = Changes(setup.settings, CHANGES_ID, tables)
        placement = Placement(self.directory, count, lambda: count_partitions(setup.settings))
        self.tenancy = Tenancy(self.directory, changes, placement)
        store = PactStore(self.pacts, self.directory, changes, versions_per_tenant=9)
        store.put(str(self.tenants[0]), PACT, msgspec.json.encode(DOCUMENT), "test")
        self._runner = asyncio.Runner()
        self._publisher = self._runner.run(self._connect(placement))

    def register(self, count: int) -> None:
        for _ in range(count):
            agent = uuid.uuid4()
            self.tenancy.put_agent(self.tenants[0], agent, "new")
            self.new.append(str(agent))

    def send(self, agents: Sequence[str], events: Sequence[str] | None = None) -> None:
        """A call of each agent, or these again."""
        for number, agent in enumerate(agents):
            identity = str(uuid.uuid4()) if events is None else events[number]
            self.sent.setdefault(agent, []).append(identity)
            call = {
                "type": "tool_call",
                "event_id": identity,
                "session_id": "s-1",
                "occurred_at_micros": clock.now_micros(),
                "pact_id": PACT,
                "pact_version": 1,
                "tool": "pay",
                "params": b"{}",
                "outcome": "success",
            }
            batch = {
                "tenant_id": str(self.tenants[0]),
                "tenant_pseudonym": "tenant-0",
                "agent_id": agent,
                "key_id": "k",
                "request_id": "r",
                "received_at_micros": clock.now_micros(),
                "events": [call],
            }
            self._publish(agent, avro.encode("TelemetryBatch", batch))

    def leaves(self) -> dict[str, list[tuple[int, Leaf]]]:
        """Each agent's leaves, in the order of their log, with the log's number."""
        found: dict[str, list[tuple[int, Leaf]]] = {}
        for message in read_all(self.setup.settings, topics.EVALUATED):
            for event in avro.decode_as("EvaluatedBatch", message.value())["events"]:
                leaf = parse_leaf(event["leaf"])
                found.setdefault(leaf.agent_id, []).append((message.partition() or 0, leaf))
        return found

    def wait_for(self, leaves: int) -> None:
        eventually(lambda: sum(map(len, self.leaves().values())) >= leaves, 60, 0.2)

    def close(self) -> None:
        self._publisher.close()
        self._runner.close()
        for table in (self.directory, self.pacts):
            table.close()

    async def _connect(self, placement: Placement) -> Publisher:
        return Publisher(self.setup.settings, placement.of)

    def _publish(self, agent: str, value: bytes) -> None:
        """As a client does: once more where the gateway has not heard of a partition yet."""
        for patience in (True, False):
            try:
                return self._runner.run(self._publisher.publish(topics.BATCHES, agent.encode(), value))
            except Backpressure:
                if not patience:
                    raise
        return None


@pytest.fixture
def fleet(kafka_bootstrap: str, clickhouse_database: ClickHouseAddress, tmp_path: Any) -> Iterator[Fleet]:
    keys = tmp_path / "keys"
    with build(kafka_bootstrap, fresh_prefix(), clickhouse_database, keys, partitions=BEFORE) as setup:
        made = Fleet(setup)
        yield made
        made.close()


def grow_and_die(setup: Setup, where: str, turns: int) -> None:
    command = [sys.executable, "-c", DYING, where, str(turns)]
    variables = settings.environment() | environment(setup.settings)
    assert subprocess.run(command, env=variables, timeout=60, check=False).returncode == 9


def evaluators(setup: Setup, book: PactBook, name: str) -> list[Any]:
    ours = shared_settings(setup, EvaluatorSettings) | {"instance": name}
    return evaluator.build(EvaluatorSettings(**ours), book).loops


def test_agents_stay_and_go_on_while_partitions_are_added_and_the_command_dies(fleet: Fleet) -> None:
    setup = fleet.setup
    home = {agent: partition_of(agent.encode(), BEFORE) for agent in fleet.old}
    with running(*evaluators(setup, fleet.pacts, "one"), setup.sealer(), setup.projector()):
        for cut in CUTS:
            fleet.send(fleet.old)  # whatever the last attempt left, events go where they went
            grow_and_die(setup, *cut)
        assert (
            count_partitions(setup.settings) == BEFORE
        )  # new agents do not go anywhere new before all is there
        lines = list(growing.grow(setup.settings, AFTER))
        assert lines[0].endswith(f"telemetry.batches: {BEFORE} -> {AFTER}"), lines
        assert list(growing.grow(setup.settings, AFTER)) == [f"nothing to do: there are {AFTER} partitions"]
        fleet.register(6)
        fleet.send(fleet.old, [fleet.sent[agent][0] for agent in fleet.old])  # again: it was judged
        fleet.send(fleet.old)
        fleet.send(fleet.new * 2)
        # A member that joins has the group see the partitions; alone it would within half a minute.
        with running(*evaluators(setup, fleet.pacts, "two")):
            due = len(fleet.old) * (len(CUTS) + 2) + len(fleet.new) * 2  # each old agent breaks the limit once
            fleet.wait_for(due)
    with running(setup.sealer(), setup.projector()):
        setup.wait_for(due)
    found = fleet.leaves()
    assert {agent: {log for log, _ in found[agent]} for agent in fleet.old} == {
        agent: {log} for agent, log in home.items()
    }
    for agent, leaves in found.items():
        assert [leaf.sequence for _, leaf in leaves] == list(range(1, len(leaves) + 1)), agent
        calls = [leaf.event_id for _, leaf in leaves if leaf.type == "tool_call"]
        assert calls == list(dict.fromkeys(fleet.sent[agent]))
    broken = {
        agent for agent, leaves in found.items() if any(one.type.endswith("violation") for _, one in leaves)
    }
    assert broken == set(fleet.old)  # the window counts calls from before and after
    # Six agents to the emptiest of seven partitions: none of the new ones is left out.
    assert {log for agent in fleet.new for log, _ in found[agent]} >= {3, 4, 5, 6}
    assert setup.findings() == []


def test_a_second_tenant_finds_the_agent_where_it_is(fleet: Fleet) -> None:
    fleet.register(1)
    (agent,) = fleet.new
    place = fleet.directory.partition_of(agent)
    again, _ = fleet.tenancy.put_agent(fleet.tenants[1], uuid.UUID(agent), "the same")
    assert (again.partition, place is None) == (place, False)
    old, _ = fleet.tenancy.put_agent(fleet.tenants[1], uuid.UUID(fleet.old[0]), "an old one")
    assert old.partition == partition_of(fleet.old[0].encode(), BEFORE)


def test_what_cannot_be_grown_is_refused(
    kafka_bootstrap: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = service_settings(kafka_bootstrap, topic_prefix)
    with pytest.raises(Fatal, match="topics apply"):
        list(growing.grow(ours, 3))
    create_topics(ours, 2)
    with monkeypatch.context() as changed:
        changed.setenv("PACTSTREAM_WRITE_SCHEMAS_UP_TO", "35")
        with pytest.raises(Fatal, match="WRITE_SCHEMAS_UP_TO must be unset"):
            list(growing.grow(ours, 3))
    with pytest.raises(Fatal, match="there are 2 partitions, and Kafka takes none away"):
        list(growing.grow(ours, 1))
    first = next(iter(topics.partitions_to_grow(ours, 3)))
    topics._add_partitions(topics._admin(ours), first, 3)
    with pytest.raises(Fatal, match="growth to 3 was cut off"):
        list(growing.grow(ours, 4))
    with pytest.raises(Fatal, match="topics grow"):
        topics.apply(ours, partitions=2, replication=1)
