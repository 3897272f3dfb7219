"""Exactly once, proven: workers join and leave, are killed and paused past their session, the broker restarts.

Forty thousand events (or PACTSTREAM_FAULT_EVENTS) of forty agents, one batch in fifty sent twice, go through
one, three, one evaluators. Afterwards every event must have been judged once, in the order of its agent, each
leaf linked to the one before; and the workers' state must be that of a single worker that nobody disturbed.
The disturbed ones keep their state on disk, and have memory for few agents; the single one keeps it in memory.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from pactstream import avro
from pactstream.control.pacts import PactVersion
from pactstream.devstack import ports
from pactstream.devstack.stack import Stack
from pactstream.devstack.supervisor import Program, Supervisor, python_program
from pactstream.errors import Retryable
from pactstream.kafka import config, topics
from pactstream.kafka.offsets import high_watermarks
from pactstream.ledger import merkle
from pactstream.ledger.leaf import GENESIS, AgentHead, agent_link, parse_leaf
from pactstream.pacts import parse_pact
from pactstream.settings import KafkaSettings
from tests.kafka_tools import read_all
from tests.stack import eventually, fresh_prefix

EVENTS = int(os.environ.get("PACTSTREAM_FAULT_EVENTS", "40000"))
AGENTS = 40
BATCH = 25
PARTITIONS = 6
SLICES = 8
PAUSE_SECONDS = 1.5 * KafkaSettings().kafka_session_seconds
PACT_ID = "11111111-1111-4111-8111-111111111111"
DOCUMENT = {
    "name": "Spending",
    "conditions": [
        {
            "type": "param_binding",
            "severity": "major",
            "parameterBinding": {
                "tool": "spend",
                "rules": [{"paramPath": "amount", "valueRange": {"max": 900}}],
            },
        },
        # Every agent crosses it once: amounts only add up.
        {
            "type": "window",
            "severity": "minor",
            "window": {
                "aggregate": "sum",
                "tools": ["spend"],
                "paramPath": "amount",
                "over": {"sliding": "P1D"},
                "limit": 5000,
            },
        },
    ],
}


@dataclass(frozen=True, slots=True)
class Batch:
    """One record of `telemetry.batches`."""

    agent_id: str
    partition: int
    value: bytes
    event_ids: tuple[str, ...]


def batches(seed: int) -> list[Batch]:
    """The input, the same for every run; repeats follow at a distance, as retries do."""
    chance = Random(seed)
    agents = [str(uuid.UUID(int=chance.getrandbits(128), version=4)) for _ in range(AGENTS)]
    made: list[Batch] = []
    for number in range(EVENTS // BATCH):
        agent = number % AGENTS
        events = [_event(chance, number * BATCH + index) for index in range(BATCH)]
        record = {
            "tenant_id": "t",
            "tenant_pseudonym": "p",
            "agent_id": agents[agent],
            "key_id": "k",
            "request_id": str(number),
            "received_at_micros": 1_700_000_000_000_000 + number,
            "events": events,
        }
        ids = tuple(event["event_id"] for event in events)
        made.append(Batch(agents[agent], agent % PARTITIONS, avro.encode("TelemetryBatch", record), ids))
        if number >= AGENTS and chance.random() < 0.02:
            made.append(made[-AGENTS])
    return made


def _event(chance: Random, number: int) -> dict[str, Any]:
    return {
        "type": "tool_call",
        "event_id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        "session_id": "s",
        "occurred_at_micros": 1_700_000_000_000_000 + number,
        "pact_id": PACT_ID,
        "pact_version": 1,
        "tool": "spend",
        "params": b'{"amount":%d}' % chance.randrange(1_000),
        "outcome": "success",
    }


@dataclass
class Cluster:
    """Evaluators on one prefix."""

    settings: KafkaSettings
    supervisor: Supervisor
    directory: Path
    state_dir: str = ""
    log: list[str] = field(default_factory=list)
    seen: int = 0
    wanted: int = 0

    def prepare(self) -> None:
        topics.apply(self.settings, partitions=PARTITIONS, replication=1)
        pact = parse_pact(DOCUMENT)
        version = PactVersion(PACT_ID, 1, "t", None, pact.name, pact.canonical, pact.hash, 0, "k")
        producer = Producer(config.producer(self.settings))
        producer.produce(topics.name(self.settings, topics.PACTS), version.encode(), version.key.encode(), 0)
        assert producer.flush(30) == 0

    def produce(self, some: list[Batch]) -> None:
        # Looked at before: a worker may be done with them before we could look.
        self.wanted = self.judged() + len(some) * 3 // 4
        producer = Producer(config.producer(self.settings))
        full = topics.name(self.settings, topics.BATCHES)
        for batch in some:
            producer.produce(full, batch.value, batch.agent_id.encode(), batch.partition)
        assert producer.flush(60) == 0

    def start(self, name: str) -> None:
        self.supervisor.start(self._program(name))
        self.note(f"start {name}")

    def kill(self, name: str) -> None:
        self.supervisor.stop(name, kill=True)
        self.note(f"SIGKILL {name}")

    def stop(self, name: str) -> None:
        self.supervisor.stop(name)
        self.note(f"SIGTERM {name}")

    def pause(self, name: str) -> None:
        self.supervisor.child(name).process.send_signal(signal.SIGSTOP)
        self.note(f"SIGSTOP {name}")

    def resume(self, name: str) -> None:
        self.supervisor.child(name).process.send_signal(signal.SIGCONT)
        self.note(f"SIGCONT {name}, paused past its session")

    def note(self, what: str) -> None:
        self.log.append(what)

    def _program(self, name: str) -> Program:
        environment = {
            "PACTSTREAM_KAFKA_BOOTSTRAP": self.settings.kafka_bootstrap,
            "PACTSTREAM_KAFKA_TOPIC_PREFIX": self.settings.kafka_topic_prefix,
            "PACTSTREAM_INSTANCE": name,
            "PACTSTREAM_STATE_DIR": self.state_dir,
            # So little that agents are read from their store again and again.
            "PACTSTREAM_EVALUATOR_HOT_MB": "1",
            "PACTSTREAM_EVALUATOR_PORT": str(ports.free_port()),
        }
        log = self.directory / f"{name}.log"
        return python_program(name, "evaluator_worker", log_file=log, env=environment)

    def judged(self) -> int:
        """A rough measure of progress: records in `telemetry.evaluated`, markers included."""
        admin = AdminClient(config.client(self.settings))
        full = topics.name(self.settings, topics.EVALUATED)
        # A broker that has just come back may answer that it does not know yet.
        with contextlib.suppress(Retryable):
            self.seen = sum(high_watermarks(admin, full, range(PARTITIONS), 30).values())
        return self.seen

    def wait_for_more(self) -> None:
        """Until most of what was produced last has been judged, or as much of what was there before."""
        eventually(lambda: self.judged() >= self.wanted, timeout=90, interval=0.2)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out: by agent the event ids and verdicts in order; and the workers' state."""

    judged: dict[str, list[tuple[str, bool]]]
    sequences: dict[str, int]
    seen: dict[str, frozenset[bytes]]
    conditions: dict[bytes, bytes]


def outcome(settings: KafkaSettings) -> Outcome:
    """Read everything committed, checking each agent's numbers and links on the way."""
    judged: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    heads: dict[str, AgentHead] = {}
    for message in read_all(settings, topics.EVALUATED):
        batch = avro.decode_as("EvaluatedBatch", message.value())
        for event in batch["events"]:
            leaf = parse_leaf(event["leaf"])
            assert agent_link(leaf, heads.get(leaf.agent_id, GENESIS)) is None
            heads[leaf.agent_id] = AgentHead(leaf.sequence, merkle.leaf_hash(event["leaf"]))
            assert leaf.verdict is not None
            judged[leaf.agent_id].append((leaf.event_id, leaf.verdict.valid))
    return Outcome(dict(judged), *_state(settings, heads))


def _state(
    settings: KafkaSettings, heads: dict[str, AgentHead]
) -> tuple[dict[str, int], dict[str, frozenset[bytes]], dict[bytes, bytes]]:
    """The changelog as a worker would restore it; its chains must end where the leaves do."""
    latest = {message.key() or b"": message.value() for message in read_all(settings, topics.EVALUATOR_STATE)}
    sequences: dict[str, int] = {}
    seen: dict[str, set[bytes]] = defaultdict(set)
    conditions: dict[bytes, bytes] = {}
    for key, value in latest.items():
        name, record = ("", {}) if value is None else avro.decode(value)
        agent_id = key.decode().partition("/")[0]
        if name == "AgentChain":
            sequences[agent_id] = record["sequence"]
            assert AgentHead(record["sequence"], record["head"]) == heads[agent_id]
        elif name == "SeenEvents":
            ids = record["event_ids"]
            seen[agent_id] |= {ids[at : at + 16] for at in range(0, len(ids), 16)}
        elif name == "ConditionState":
            conditions[key] = record["entry"]
    return sequences, {agent_id: frozenset(ids) for agent_id, ids in seen.items()}, conditions


def undisturbed(some: list[Batch]) -> dict[str, list[str]]:
    """Each agent's event ids in order, repeats left out."""
    order: dict[str, dict[str, None]] = defaultdict(dict)
    for batch in some:
        order[batch.agent_id].update(dict.fromkeys(batch.event_ids))
    return {agent_id: list(ids) for agent_id, ids in order.items()}


@pytest.fixture
def workers_logs(tmp_path: Path) -> Iterator[Path]:
    """Where the workers log to; pytest shows the ends of it when the test fails."""
    yield tmp_path
    for log in sorted(tmp_path.glob("*.log")):
        print(f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A broker of this test's own: it will be restarted."""
    with Stack(tmp_path_factory.mktemp("own-stack")) as running:
        yield running


def all_judged(cluster: Cluster, expected: int) -> None:
    """Wait until the committed output holds every event, without decoding it each time."""
    last = -1

    def settled() -> bool:
        nonlocal last
        before, last = last, cluster.judged()
        return before == last and _committed_events(cluster.settings) >= expected

    eventually(settled, timeout=150, interval=1.0)


def _committed_events(settings: KafkaSettings) -> int:
    batches = (avro.decode_as("EvaluatedBatch", one.value()) for one in read_all(settings, topics.EVALUATED))
    return sum(len(batch["events"]) for batch in batches)


@pytest.mark.timeout(420)
def test_every_event_is_judged_once_through_kills_pauses_and_restarts(
    stack: Stack, tmp_path: Path, workers_logs: Path
) -> None:
    some = batches(seed=1)
    cut = [some[at * len(some) // SLICES : (at + 1) * len(some) // SLICES] for at in range(SLICES)]
    with Supervisor() as supervisor:
        settings = KafkaSettings(kafka_bootstrap=stack.kafka_bootstrap, kafka_topic_prefix=fresh_prefix())
        cluster = Cluster(settings, supervisor, workers_logs, state_dir=str(tmp_path / "state"))
        cluster.prepare()
        cluster.start("one")
        cluster.produce(cut[0])
        cluster.wait_for_more()
        cluster.start("two")
        cluster.start("three")
        cluster.produce(cut[1])
        cluster.wait_for_more()
        cluster.kill("two")
        cluster.produce(cut[2])
        cluster.start("two")
        cluster.wait_for_more()
        cluster.pause("three")
        cluster.produce(cut[3])
        paused_at = time.monotonic()
        cluster.kill("one")
        cluster.start("one")
        cluster.produce(cut[4])
        eventually(lambda: time.monotonic() - paused_at > PAUSE_SECONDS, timeout=2 * PAUSE_SECONDS)
        cluster.resume("three")
        cluster.produce(cut[5])
        cluster.wait_for_more()
        stack.restart_kafka()
        cluster.note("restart broker")
        cluster.produce(cut[6])
        cluster.wait_for_more()
        cluster.stop("two")
        cluster.kill("three")
        cluster.produce(cut[7])
        all_judged(cluster, EVENTS + AGENTS)
        disturbed = outcome(settings)
        cluster.stop("one")

        calm = KafkaSettings(kafka_bootstrap=stack.kafka_bootstrap, kafka_topic_prefix=fresh_prefix())
        alone = Cluster(calm, supervisor, workers_logs)
        alone.prepare()
        alone.produce(some)
        alone.start("alone")
        all_judged(alone, EVENTS + AGENTS)
        reference = outcome(calm)
        alone.stop("alone")

    print(f"{EVENTS} events, {len(some)} batches; " + ", ".join(cluster.log))
    sent = {
        agent: [event for event, _ in judged if uuid.UUID(event).version == 4]
        for agent, judged in disturbed.judged.items()
    }
    assert sent == undisturbed(some)
    assert {len(judged) - len(sent[agent]) for agent, judged in disturbed.judged.items()} == {1}
    assert disturbed == reference
