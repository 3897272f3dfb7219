"""Old and new workers in one group across an additive change of schemas: every event is judged, and once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from threading import Event, Thread
from typing import Any

import fastavro
import pytest
import urllib3
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition

from pactstream import avro
from pactstream.devstack import ports
from pactstream.kafka import config, topics
from pactstream.ledger import merkle
from pactstream.ledger.leaf import GENESIS, AgentHead, agent_link, parse_leaf
from pactstream.settings import ServiceSettings, environment
from tests.evaluator_tools import call
from tests.kafka_tools import read_all, service_settings
from tests.stack import eventually

ROOT = Path(__file__).parents[2]
PARTITIONS = 4
AGENTS = [f"00000000-0000-4000-8000-{number:012}" for number in range(2 * PARTITIONS)]
KNOWN = avro.registered()[-1].id
NEW_BATCH, NEW_EVALUATED = KNOWN + 1, KNOWN + 2
_http = urllib3.PoolManager(retries=False, timeout=2.0)


def next_version(directory: Path) -> Path:
    """The program of tomorrow: a batch has a region, before judgement and after, as the evaluator copies it."""
    tree = directory / "next"
    shutil.copytree(ROOT / "schemas", tree / "schemas")
    shutil.copytree(ROOT / "evaluator_worker", tree / "evaluator_worker")
    (tree / "pactstream").symlink_to(ROOT / "pactstream")
    task = tree / "evaluator_worker" / "task.py"
    before = task.read_text()
    after = before.replace("evaluated = {\n", 'evaluated = {\n            "region": batch["region"],\n')
    assert after != before
    task.write_text(after)
    registry = tree / "schemas" / "registry.json"
    entries = json.loads(registry.read_text())
    for name, schema_id in (("TelemetryBatch", NEW_BATCH), ("EvaluatedBatch", NEW_EVALUATED)):
        last = [one for one in entries if one["name"] == name][-1]
        schema = json.loads((tree / "schemas" / last["file"]).read_text())
        schema["fields"].append({"name": "region", "type": ["null", "string"], "default": None})
        added = last | {"id": schema_id, "version": last["version"] + 1, "file": f"avro/{name}.next.avsc"}
        (tree / "schemas" / added["file"]).write_text(json.dumps(schema))
        entries.append(added)
    registry.write_text(json.dumps(entries))
    return tree


@dataclass
class Worker:
    """An evaluator of one version: the tree that it is run from."""

    tree: Path
    settings: ServiceSettings
    log: Path
    more: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=ports.free_port)

    def __enter__(self) -> Worker:
        ours = {
            "PYTHONPATH": str(self.tree),
            "PACTSTREAM_INSTANCE": self.log.stem,
            "PACTSTREAM_KAFKA_BOOTSTRAP": self.settings.kafka_bootstrap,
            "PACTSTREAM_KAFKA_TOPIC_PREFIX": self.settings.kafka_topic_prefix,
            "PACTSTREAM_EVALUATOR_PORT": str(self.port),
        }
        with self.log.open("wb") as log:
            # -P: not from the present directory.
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "evaluator_worker"],
                env=environment() | ours | self.more,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return _http.request("GET", f"http://127.0.0.1:{self.port}/readyz").status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(30)


class Traffic:
    """Batches of all agents, one after another, until it is stopped; with a `region`, of the next version."""

    def __init__(self, settings: ServiceSettings, newest: Any) -> None:
        self.sent: dict[str, list[str]] = {agent: [] for agent in AGENTS}
        self.first: dict[str, bytes] = {}
        self.region: str | None = None
        self.undelivered: list[KafkaError] = []
        self._newest = newest
        self._topic = topics.name(settings, topics.BATCHES)
        self._producer = Producer(config.producer(settings))
        self._stop = Event()
        self._thread = Thread(target=self._run)

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        assert self._producer.flush(30) == 0
        assert self.undelivered == []

    def _delivered(self, error: KafkaError | None, _: object) -> None:
        if error is not None:
            self.undelivered.append(error)

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            for number, agent in enumerate(AGENTS):
                value = self._batch(agent)
                self.first.setdefault(agent, value)
                self._producer.produce(
                    self._topic, value, agent.encode(), number % PARTITIONS, on_delivery=self._delivered
                )
            self._producer.poll(0)

    def _batch(self, agent: str) -> bytes:
        events = [call(pact_id=None, pact_version=None) for _ in range(2)]
        self.sent[agent] += [one["event_id"] for one in events]
        batch = {
            "tenant_id": "t",
            "tenant_pseudonym": "tenant-1",
            "agent_id": agent,
            "key_id": "k",
            "request_id": "r",
            "received_at_micros": time.time_ns() // 1_000,
            "events": events,
        }
        if self.region is None:
            return avro.encode("TelemetryBatch", batch)
        out = BytesIO(b"\0" + NEW_BATCH.to_bytes(4, "big"))
        out.seek(5)
        fastavro.schemaless_writer(out, self._newest, batch | {"region": self.region})
        return out.getvalue()


@pytest.fixture
def settings(kafka_bootstrap: str, topic_prefix: str) -> ServiceSettings:
    ours = service_settings(kafka_bootstrap, topic_prefix)
    topics.apply(ours, partitions=PARTITIONS, replication=1)
    return ours


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    return next_version(tmp_path)


def schema_of(tree: Path, name: str) -> Any:
    return fastavro.parse_schema(
        json.loads((tree / "schemas" / "avro" / f"{name}.next.avsc").read_text()), named_schemas={}
    )


class Judged:
    """Follows `telemetry.evaluated`: every batch with its schema id, in order within an agent."""

    def __init__(self, settings: ServiceSettings, newest: Any) -> None:
        self.batches: list[tuple[int, dict[str, Any]]] = []
        self.count = 0  # of events
        self._newest = newest
        self._reader = Consumer(config.reader(settings))
        topic = topics.name(settings, topics.EVALUATED)
        self._reader.assign([TopicPartition(topic, one, OFFSET_BEGINNING) for one in range(PARTITIONS)])

    def __enter__(self) -> Judged:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    def more(self) -> Judged:
        for message in self._reader.consume(1_000, 0.2):
            if message.error() is None:
                self._take(message.value() or b"")
        return self

    def _take(self, value: bytes) -> None:
        schema_id = int.from_bytes(value[1:5], "big")
        if schema_id == NEW_EVALUATED:
            batch: Any = fastavro.schemaless_reader(BytesIO(value[5:]), self._newest, None)
        else:
            batch = avro.decode_as("EvaluatedBatch", value)
        self.batches.append((schema_id, batch))
        self.count += len(batch["events"])


def test_workers_of_two_versions_side_by_side_lose_and_double_nothing(
    settings: ServiceSettings, newer: Path, tmp_path: Path
) -> None:
    old = [Worker(ROOT, settings, tmp_path / f"old-{n}.log") for n in (1, 2)]
    # As the first phase of an upgrade: reads everything, writes what the old ones read.
    held = {"PACTSTREAM_WRITE_SCHEMAS_UP_TO": str(KNOWN)}
    new = [
        Worker(newer, settings, tmp_path / "new-1.log", held),
        Worker(newer, settings, tmp_path / "new-2.log"),
    ]
    with (
        Judged(settings, schema_of(newer, "EvaluatedBatch")) as found,
        Traffic(settings, schema_of(newer, "TelemetryBatch")) as traffic,
        old[0],
        old[1],
    ):
        for one in old:
            eventually(one.ready, timeout=60)
        with new[0], new[1]:
            for one in new:
                eventually(one.ready, timeout=60)
            assert old[0].end() == 0
            eventually(lambda: len({one for one, _ in found.more().batches}) == 2, timeout=30)
            # The old one that is left meets a record of the next version: it stops, and says why in one line.
            traffic.region = "eu"
            assert old[1].process.wait(30) == 3
            (error,) = [one for one in old[1].log.read_text().splitlines() if "schema id" in one]
            assert (
                f"ERROR evaluator_worker: a record has schema id {NEW_BATCH}, this program knows ids" in error
            )
            eventually(lambda: any(one.get("region") for _, one in found.more().batches), timeout=30)
            traffic.stop()
            resend(settings, traffic.first)
            eventually(lambda: found.more().count >= sum(map(len, traffic.sent.values())), timeout=60)
            assert [one.end() for one in new] == [0, 0]
        found.more()

    regions = {
        one.get("region", "none of it") for schema_id, one in found.batches if schema_id == NEW_EVALUATED
    }
    assert regions == {None, "eu"}
    for agent, ids in traffic.sent.items():
        events = [event for _, one in found.batches if one["agent_id"] == agent for event in one["events"]]
        assert [event["event_id"] for event in events] == ids
        assert_linked(events)
    assert read_all(settings, topics.BATCHES + ".dlq") == []


def resend(settings: ServiceSettings, batches: dict[str, bytes]) -> None:
    """Batches once more: what an old worker remembered of them, a new one does."""
    producer = Producer(config.producer(settings))
    for number, (agent, value) in enumerate(batches.items()):
        producer.produce(topics.name(settings, topics.BATCHES), value, agent.encode(), number % PARTITIONS)
    assert producer.flush(30) == 0


def assert_linked(events: list[dict[str, Any]]) -> None:
    head = GENESIS
    for event in events:
        leaf = parse_leaf(event["leaf"])
        assert agent_link(leaf, head) is None
        head = AgentHead(leaf.sequence, merkle.leaf_hash(event["leaf"]))
