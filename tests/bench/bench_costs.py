"""What an event costs in each process, topic, table and file: `python -m tests.bench.bench_costs [EVENTS]`.

The figures of `pactstream plan` (`pactstream/costs.py`) that no other bench has. All workers run on an embedded
stack. Batches of 25 calls, each with seven private values under a pact of seven rules, one batch an agent and
minute, are put into `telemetry.batches`. When everything has come to its end: CPU time of each process (what it
takes when idle is taken off), the size of topics and tables as they lie there, and that of the published files.

CPU time is inflated by whatever else runs on the machine, for all alike: `plan` scales it by the evaluator's
figure on a quiet machine.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, Final
from uuid import UUID

import msgspec
import psutil
from confluent_kafka import Consumer, Producer, TopicPartition

from pactstream import avro, clock
from pactstream.clickhouse.client import ClickHouse
from pactstream.control.pacts import PactVersion
from pactstream.devstack import ports
from pactstream.devstack.services import PAGING, Services
from pactstream.devstack.stack import Stack
from pactstream.devstack.supervisor import python_program
from pactstream.kafka import config, topics
from pactstream.ledger.note import Checkpoint, parse_note
from pactstream.pacts import parse_pact
from tests.bench.bench_pacts import ADDRESSES
from tests.bench.worker_job import DOCUMENT, PACT_ID
from tests.kafka_tools import read_all
from tests.stack import eventually

EVENTS: Final = 40_000
BATCH: Final = 25
AGENTS: Final = 160
PARTITIONS: Final = 2
_MINUTE: Final = 60_000_000
_HISTORY: Final = 20 * _MINUTE
_WORDS: Final = ("invoice", "vendor", "order", "May", "June", "travel", "hosting", "refund", "licence", "fee")
_IDLE_SECONDS: Final = 6.0
WORKERS: Final = ("evaluator_worker", "ledger_sealer", "score_aggregator", PAGING)
FURTHER: Final = {"evaluator_worker.behaviour": "BEHAVIOUR", "evaluator_worker.anomaly": "ANOMALY"}
READERS: Final = {
    topics.BATCHES: ("evaluator",),
    topics.EVALUATED: ("ledger-sealer", "score-aggregator", "behaviour", "paging"),
    topics.CHECKPOINTS: ("ledger-projector", "ledger-publisher"),
    topics.WINDOWS: ("anomaly",),
    topics.SCORES: ("score-projector",),
}


def params(chance: Random) -> bytes:
    """Seven values that differ from call to call, as an agent's would."""
    price = chance.randrange(1, 200)
    return msgspec.json.encode(
        {
            "destination": chance.choice(ADDRESSES),
            "amount": 2 * price,
            "currency": "USDC",
            "memo": " ".join(chance.choice(_WORDS) for _ in range(4)) + f" {chance.randrange(10_000)}",
            "vendor": {"id": f"v-{chance.randrange(5_000)}"},
            "priority": "normal",
            "items": [{"price": price}, {"price": price}],
        }
    )


def batches(events: int) -> Iterator[tuple[str, bytes]]:
    """Keys and values: each agent a batch a minute."""
    chance, begin = Random(1), clock.now_micros() - _HISTORY
    agents = [str(UUID(int=chance.getrandbits(128), version=4)) for _ in range(AGENTS)]
    for number in range(events // BATCH):
        at = begin + number // AGENTS * _MINUTE + number % AGENTS * 1_000
        calls = [
            {
                "type": "tool_call",
                "event_id": str(UUID(int=chance.getrandbits(128), version=4)),
                "session_id": f"s-{number % AGENTS}",
                "occurred_at_micros": at + one * 1_000,
                "pact_id": PACT_ID,
                "pact_version": 1,
                "tool": "pay",
                "params": params(chance),
                "outcome": "success",
                "latency_ms": 100.0 + chance.randrange(1_000) / 10,
            }
            for one in range(BATCH)
        ]
        record: dict[str, Any] = {
            "tenant_id": "11111111-2222-4333-8444-555555555555",
            "tenant_pseudonym": "tenant-0123456789abcdef",
            "agent_id": agents[number % AGENTS],
            "key_id": "0123456789abcdef",
            "request_id": str(UUID(int=chance.getrandbits(128), version=4)),
            "received_at_micros": at + 50_000,
            "events": calls,
        }
        yield record["agent_id"], avro.encode("TelemetryBatch", record)


def fill(services: Services, events: int) -> None:
    """As gateways do: small batches, compressed as ours are."""
    producer = Producer(config.producer(services.kafka))
    for number, (key, value) in enumerate(batches(events)):
        producer.produce(topics.name(services.kafka, topics.BATCHES), value, key.encode(), number % PARTITIONS)
        if number % 20 == 19:
            producer.flush(30)
    if producer.flush(60):
        raise SystemExit("Kafka did not take the records")


def committed(services: Services) -> int:
    """How far all groups have come."""
    total = 0
    for topic, groups in READERS.items():
        full = topics.name(services.kafka, topic)
        for group in groups:
            reader = Consumer(
                config.reader(services.kafka) | {"group.id": services.kafka.kafka_topic_prefix + group}
            )
            places = [TopicPartition(full, one) for one in range(PARTITIONS)]
            total += sum(max(one.offset, 0) for one in reader.committed(places, 10))
            reader.close()
    return total


def published(services: Services) -> int:
    """Leaves in the published files."""
    found = 0
    for log in range(PARTITIONS):
        path = services.tiles_dir / "ledger" / str(log) / "checkpoint"
        if path.exists():
            found += Checkpoint.parse(parse_note(path.read_bytes()).text).size
    return found


def at_rest(services: Services, events: int) -> Callable[[], bool]:
    """Whether all has come to its end: everything is there, and no group has moved for a while."""
    last, since = -1, time.monotonic()

    def look() -> bool:
        nonlocal last, since
        with ClickHouse(services.clickhouse) as database:
            ((rows,),) = database.rows("SELECT count() FROM room_events")
        if rows < events or published(services) < events:
            return False
        now = committed(services)
        if now != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since > 5

    return look


def cpu(processes: dict[str, psutil.Process]) -> dict[str, float]:
    return {name: sum(one.cpu_times()[:2]) for name, one in processes.items()}


def show_cpu(before: dict[str, float], after: dict[str, float], idle: dict[str, float], events: int) -> None:
    for name, seconds in after.items():
        print(f"cpu    {name:32}{(seconds - before[name] - idle[name]) * 1e6 / events:10.2f} µs an event")


def show_sizes(services: Services, kafka: Path, events: int) -> None:
    by_topic: Counter[str] = Counter()
    for log in kafka.rglob("*.log"):
        topic = log.parent.name.rpartition("-")[0]
        if topic in {one.name for one in topics.TOPICS}:
            by_topic[topic] += log.stat().st_size
    for topic, size in by_topic.most_common():
        print(f"kafka  {topic:32}{size / events:10.2f} B an event, {size} B")
    with ClickHouse(services.clickhouse) as database:
        names = [row[0] for row in database.rows("SHOW TABLES")]
        for name in ("room_events", "room_event_payloads", "ledger_segments", "scores"):
            assert name in names
            database.command(f"OPTIMIZE TABLE {name} FINAL")
        sql = """SELECT table, sum(bytes_on_disk), sum(rows), sum(data_compressed_bytes) FROM system.parts
                 WHERE active AND database = currentDatabase() GROUP BY table ORDER BY table"""
        for table, size, rows, _ in database.rows(sql):
            print(f"table  {table:32}{size / events:10.2f} B an event, {size / rows:8.1f} B a row of {rows}")
    tiles = sum(one.stat().st_size for one in services.tiles_dir.rglob("*") if one.is_file())
    print(f"files  {'published':32}{tiles / events:10.2f} B an event")


def show_state(services: Services) -> None:
    for topic in (
        topics.EVALUATOR_STATE,
        topics.AGGREGATOR_STATE,
        topics.BEHAVIOUR_STATE,
        topics.PAGING_STATE,
        topics.ANOMALY_STATE,
        topics.SCORES,
    ):
        last: dict[bytes, bytes | None] = {
            one.key() or b"": one.value() for one in read_all(services.kafka, topic)
        }
        kept = {key: value for key, value in last.items() if value is not None}
        size = sum(len(key) + len(value) for key, value in kept.items())
        kinds: Counter[str] = Counter()
        for key, value in kept.items():
            kinds["/".join("#" if part.isdigit() else "id" for part in key.decode().split("/"))] += len(
                key
            ) + len(value)
        print(
            f"state  {topic:32}{size / AGENTS:10.1f} B an agent, {len(kept) / AGENTS:.1f} keys, {dict(kinds)}"
        )


def main(events: int) -> None:
    with tempfile.TemporaryDirectory() as directory, Stack(Path(directory, "stack")) as stack:
        services = Services(
            supervisor=stack.supervisor,
            data_dir=Path(directory),
            kafka_bootstrap=stack.kafka_bootstrap,
            clickhouse_host=stack.clickhouse_host,
            clickhouse_port=stack.clickhouse_port,
            gateway_port=ports.free_port(),
            oracle_port=ports.free_port(),
        )
        services.prepare(PARTITIONS)
        pact = parse_pact(DOCUMENT)
        version = PactVersion(PACT_ID, 1, "t", None, pact.name, pact.canonical, pact.hash, 0, "k")
        producer = Producer(config.producer(services.kafka))
        producer.produce(topics.name(services.kafka, topics.PACTS), version.encode(), version.key.encode(), 0)
        producer.flush(30)
        services.start(WORKERS)
        environment: dict[str, Any] = services.environment()
        for module, name in FURTHER.items():
            environment[f"PACTSTREAM_{name}_PORT"] = str(ports.free_port())
            environment["PACTSTREAM_ANOMALY_DATA_DIR"] = str(Path(directory, "anomaly"))
            log = Path(directory, f"{module}.log")
            stack.supervisor.start(python_program(module, module, log_file=log, env=environment))
        time.sleep(15)
        processes = {
            name: psutil.Process(stack.supervisor.child(name).process.pid)
            for name in (*WORKERS, *FURTHER, "Kafka", "ClickHouse")
        }
        first = cpu(processes)
        time.sleep(_IDLE_SECONDS)
        before, began = cpu(processes), time.monotonic()
        idle = {name: (before[name] - first[name]) / _IDLE_SECONDS for name in processes}
        fill(services, events)
        eventually(at_rest(services, events), 400, 1.0)
        after, took = cpu(processes), time.monotonic() - began
        print(f"{events} events in {took:.0f} s, load {psutil.getloadavg()}")
        show_cpu(before, after, {name: rate * took for name, rate in idle.items()}, events)
        for name, process in processes.items():
            print(f"memory {name:32}{process.memory_info().rss / 1e6:10.0f} MB, idle {idle[name] * 100:.1f} %")
        show_state(services)
        show_sizes(services, Path(directory, "stack", "kafka"), events)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS)
