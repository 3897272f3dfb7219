"""State of the evaluator: `python -m tests.bench.bench_state [KEYS]`, on a Kafka of its own.

- Restoring KEYS records from a changelog, into memory and onto disk (the promise is 100,000 keys/s); beside it
  the same records read by a bare consumer that looks at key and value alone: what the client allows.
- An agent with 10,000 seen ids: memory as an object and as records; microseconds to read it from either store.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import tracemalloc
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from evaluator_worker.agents import Agents, Memory
from evaluator_worker.task import EvaluatorTask
from pactstream import avro
from pactstream.devstack.stack import Stack
from pactstream.kafka import changelog, config, topics
from pactstream.kafka.disk_store import Origin, Shared, open_store
from pactstream.kafka.state_store import MemoryStore, StateStore
from pactstream.settings import KafkaSettings
from tests.evaluator_tools import Pacts

MEMORY = Memory(events=10_000, hours=24)
BLOCK_IDS = 75
ORIGIN = Origin("bench", "bench", "bench", 0)


def fill(settings: KafkaSettings, keys: int) -> None:
    """A changelog of agents with a chain and nine blocks of 25 ids each."""
    topics.apply(settings, partitions=1, replication=1)
    producer = Producer(config.producer(settings) | {"queue.buffering.max.messages": 1_000_000})
    chain = avro.encode("AgentChain", {"sequence": 225, "head": bytes(32)})
    full = topics.name(settings, topics.EVALUATOR_STATE)
    for number in range(keys):
        owner = uuid.UUID(int=number // 10)
        name = "" if number % 10 == 0 else f"/{number % 10 * 25 + 1}"
        block = {"received_at_micros": number, "event_ids": os.urandom(16 * 25)} if name else None
        value = chain if block is None else avro.encode("SeenEvents", block)
        producer.produce(full, value, f"{owner}{name}", 0)
        producer.poll(0)
    producer.flush()


def restore(settings: KafkaSettings, store: StateStore) -> str:
    """Records a second, and a second of this thread's CPU."""
    task = EvaluatorTask(0, Pacts(), MEMORY, store)
    job = changelog.Restore(settings, "bench", topics.EVALUATOR_STATE, {0: task})
    started, used = time.perf_counter(), time.thread_time()
    while not job.finished:
        job.step()
    seconds, used = time.perf_counter() - started, time.thread_time() - used
    job.close()
    return f"{job.count / seconds:,.0f} keys/s, {job.count / used:,.0f} in a second of CPU"


def bare(settings: KafkaSettings, keys: int) -> str:
    """The same of a consumer that does nothing else."""
    with closing(Consumer(config.reader(settings))) as reader:
        reader.assign([TopicPartition(topics.name(settings, topics.EVALUATOR_STATE), 0, OFFSET_BEGINNING)])
        started, used, seen = time.perf_counter(), time.thread_time(), 0
        while seen < keys:
            for message in reader.consume(2_000, 0.05):
                seen += message.error() is None and message.key() is not None and message.value() is not None
        seconds, used = time.perf_counter() - started, time.thread_time() - used
    return f"{seen / seconds:,.0f} keys/s, {seen / used:,.0f} in a second of CPU"


def full_agent(agents: Agents, agent_id: str) -> None:
    """10,000 ids of one agent, written and checkpointed."""
    agent = agents.get(agent_id)
    for _ in range(10_000 // BLOCK_IDS):
        marks = [os.urandom(16) for _ in range(BLOCK_IDS)]
        agent.extend(type(agent.head)(agent.head.sequence + BLOCK_IDS, bytes(32)), marks, 1)
    agents.changed(agent_id, agent, 1, lambda *_: None)
    agents.flush(1, lambda *_: None)


def reading(store: StateStore) -> float:
    """Microseconds of CPU to read an agent with 10,000 ids, of two hundred, in turn."""
    agents = Agents(Memory(10_000, 24, hot_bytes=0), store)
    for number in range(200):
        full_agent(agents, f"{number:036d}")
    agents.checkpoint(100_000)
    started = time.thread_time()
    for number in range(200):
        agents.get(f"{number:036d}")
    return (time.thread_time() - started) / 200 * 1e6


def memory_of(make: Callable[[], object]) -> int:
    """Bytes that what `make` returns holds."""
    tracemalloc.start()
    kept = make()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del kept
    return size


def hot() -> Agents:
    agents = Agents(MEMORY)
    full_agent(agents, "a")
    agents.checkpoint(1_000)
    return agents


def cold() -> Agents:
    agents = Agents(Memory(10_000, 24, hot_bytes=0))
    full_agent(agents, "a")
    agents.checkpoint(1_000)
    agents._shrink(None)
    return agents


def main(keys: int) -> None:
    """Run, and print."""
    shared = Shared.new()
    with tempfile.TemporaryDirectory() as directory:
        where = Path(directory)
        print(f"10,000 ids: {memory_of(hot):,} B as object and records, {memory_of(cold):,} B as records")
        print(f"  read from memory {reading(MemoryStore()):,.0f} us")
        disk = open_store(where / "agents", ORIGIN, shared, lambda _: None)
        print(f"  read from disk   {reading(disk):,.0f} us")
        disk.close()
        with Stack(where / "stack") as stack:
            settings = KafkaSettings(kafka_bootstrap=stack.kafka_bootstrap, kafka_topic_prefix="bench.")
            fill(settings, keys)
            print(f"bare consumer     {bare(settings, keys)}")
            print(f"restore to memory {restore(settings, MemoryStore())}")
            disk = open_store(where / "restored", ORIGIN, shared, lambda _: None)
            print(f"restore to disk   {restore(settings, disk)}")
            disk.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500_000)
