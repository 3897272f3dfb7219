"""Sealing from Kafka into ClickHouse and tiles, in one process: `python -m tests.bench.bench_sealer [LEAVES]`.

CPU time of the sealer's three loops (all threads, the Kafka client's too) for each decade of leaves, up to a
million unless told otherwise: a decade is produced by another process while they run, and ends when all three
are done with it. Kafka and ClickHouse are other processes too. Records are 20 events of about 1.1 kB of Avro
and three private values each; four thousand different events, over and over.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path

import psutil
from confluent_kafka import Producer

from ledger_sealer import metrics, wiring
from ledger_sealer.settings import SealerSettings
from pactstream.kafka import config, topics
from tests.sealer_stack import Setup, build, running
from tests.sealer_tools import Evaluated
from tests.stack import choose_mode, docker_answers, eventually, fresh_database, fresh_prefix
from tests.stack import running as stack_running

PROMISE = 25_000
PEER = 10_000 / 7
"""Tessera on NVMe: about 10,000 entries a second on seven cores."""
_WARM_UP = 1_000
BATCH = 20
DIFFERENT = 200


def produce(settings: SealerSettings, leaves: int) -> None:
    """Write so many leaves to `telemetry.evaluated`, partition 0."""
    source = Evaluated()
    records = source.batches(DIFFERENT, agents=BATCH, size=BATCH)
    producer = Producer(config.producer(settings, linger_ms=50))
    topic = topics.name(settings, topics.EVALUATED)
    for number in range(leaves // BATCH):
        key, value = records[number % DIFFERENT]
        while True:
            try:
                producer.produce(topic, value, key, 0)
                break
            except BufferError:
                producer.poll(0.1)
    if producer.flush(300):
        raise SystemExit("Kafka did not take the records")


def done() -> int:
    """Leaves in ClickHouse and published. Not by way of the registry, which collects all that it has."""
    samples = [*metrics.LEAVES.collect(), *metrics.PUBLISHED_LEAVES.collect()]
    found = {one.name: one.value for family in samples for one in family.samples if one.labels["log"] == "0"}
    names = ("pactstream_projected_leaves_total", "pactstream_published_leaves")
    return int(min(found.get(name, 0) for name in names))


def measure(setup: Setup, leaves: int, tiles: Path) -> None:
    """Run the three loops while records come in; prints a line for each decade."""
    process = psutil.Process()
    loops = [
        setup.sealer(),
        setup.projector(),
        wiring.build_publisher(setup.settings, setup.key, setup.database, tiles).run,
    ]
    print(f"{'leaves':>12}{'CPU µs a leaf':>16}{'leaves a CPU-s':>16}{'wall s':>10}{'RSS MB':>9}")
    with running(*loops):
        # Joining three groups costs the same whatever follows.
        count = _take(setup, 0, _WARM_UP)
        first, wall = time.process_time(), time.monotonic()
        cpu, target = first, 10_000
        while count < leaves:
            reached = _take(setup, count, min(target, leaves))
            now = time.process_time()
            micros = (now - cpu) / (reached - count) * 1e6
            rss = process.memory_info().rss / 1e6
            print(f"{reached:12,}{micros:16.1f}{1e6 / micros:16,.0f}{time.monotonic() - wall:10.1f}{rss:9.0f}")
            count, cpu, target = reached, now, target * 10
        rate = (leaves - _WARM_UP) / (time.process_time() - first)
    print(f"all: {rate:,.0f} leaves a CPU-second; promised {PROMISE:,}: {rate / PROMISE:.2f}")
    print(f"Tessera: about {PEER:,.0f} entries a second and core: {rate / PEER:.1f} times that")


def _take(setup: Setup, have: int, wanted: int) -> int:
    """Produce up to so many leaves, and wait until all are sealed, projected and published."""
    producer = get_context("spawn").Process(target=produce, args=(setup.settings, wanted - have))
    producer.start()
    eventually(lambda: done() >= wanted, 7_200, 0.1)
    producer.join()
    return wanted


def main() -> None:
    """Run and print."""
    leaves = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        addresses = stack.enter_context(
            stack_running(choose_mode(os.environ, docker_answers), directory / "stack")
        )
        database = stack.enter_context(fresh_database(addresses))
        setup = stack.enter_context(
            build(
                addresses.kafka_bootstrap,
                fresh_prefix(),
                database,
                directory / "keys",
                instance=uuid.uuid4().hex[:8],
                segment_interval_seconds=0.25,
            )
        )
        measure(setup, leaves, directory / "tiles")


if __name__ == "__main__":
    main()
