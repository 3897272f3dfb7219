"""How long a rebalance stalls partitions that do not move: `python -m tests.bench.bench_rebalance [KEYS]`.

Three evaluators on six partitions, an event for each partition every 50 ms, and a changelog of a million keys
(or KEYS). Workers join, one is killed, one leaves. For each of these: the longest time without output on a
partition that had the same holder before and after, and, for comparison, on one that moved.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack, closing
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread
from typing import Final

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from evaluator_worker.task import GROUP
from pactstream import avro
from pactstream.devstack import ports
from pactstream.kafka import config, topics
from pactstream.settings import ServiceSettings
from tests.bench.bench_worker import Load, fill
from tests.bench.figures import report
from tests.bench.worker_job import batches
from tests.kafka_tools import service_settings
from tests.stack import choose_mode, docker_answers, eventually, fresh_prefix, running

KEYS: Final = 1_000_000
PARTITIONS: Final = 6
EVERY_SECONDS: Final = 0.05
SETTLE_SECONDS: Final = 4.0
TARGET_SECONDS: Final = 3.0


def fill_changelog(settings: ServiceSettings, keys: int) -> None:
    """So many blocks of seen events, of a thousand agents."""
    value = avro.encode("SeenEvents", {"received_at_micros": 1_700_000_000_000_000, "event_ids": bytes(32)})
    producer = Producer(config.producer(settings, linger_ms=50))
    full = topics.name(settings, topics.EVALUATOR_STATE)
    agents = [str(uuid.uuid4()) for _ in range(1_000)]
    for number in range(keys):
        agent = number % len(agents)
        producer.produce(full, value, f"{agents[agent]}/{number}".encode(), agent % PARTITIONS)
        if number % 10_000 == 0:
            producer.flush(60)
    producer.flush(60)


class Flow:
    """Events go in steadily; when they come out of each partition is noted."""

    def __init__(self, settings: ServiceSettings) -> None:
        self.seen: dict[int, list[float]] = defaultdict(list)
        self._settings = settings
        self._stop = Event()
        self._threads = [Thread(target=self._write), Thread(target=self._read)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop both."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _write(self) -> None:
        producer = Producer(config.producer(self._settings))
        full = topics.name(self._settings, topics.BATCHES)
        for number, (key, value) in enumerate(batches(1_000_000, 1)):
            producer.produce(full, value, key.encode(), number % PARTITIONS)
            if number % PARTITIONS == 0 and self._stop.wait(EVERY_SECONDS):
                break
            producer.poll(0)
        producer.flush(10)

    def _read(self) -> None:
        full = topics.name(self._settings, topics.EVALUATED)
        with closing(Consumer(config.reader(self._settings))) as reader:
            reader.assign([TopicPartition(full, number, 0) for number in range(PARTITIONS)])
            while not self._stop.is_set():
                message = reader.poll(0.1)
                if message is not None and message.error() is None:
                    self.seen[message.partition() or 0].append(time.monotonic())

    def longest(self, partition: int, since: float) -> float:
        """The longest time without output since then, in seconds."""
        times = [since, *(one for one in self.seen[partition] if one > since), time.monotonic()]
        return max(after - before for before, after in pairwise(times))


class Workers:
    """Evaluators by name."""

    def __init__(self, settings: ServiceSettings, directory: Path) -> None:
        self._settings = settings
        self._directory = directory
        self._admin = AdminClient(config.client(settings))
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        """Start one."""
        environment = {
            "PACTSTREAM_KAFKA_BOOTSTRAP": self._settings.kafka_bootstrap,
            "PACTSTREAM_KAFKA_TOPIC_PREFIX": self._settings.kafka_topic_prefix,
            "PACTSTREAM_INSTANCE": name,
            "PACTSTREAM_EVALUATOR_PORT": str(ports.free_port()),
            "PACTSTREAM_STATE_DIR": str(self._directory / name),
        }
        with Path(self._directory, f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-m", "evaluator_worker"],
                env=os.environ | environment,
                stdout=log,
                stderr=log,
                cwd=Path.cwd(),
            )

    def stop(self, name: str, *, kill: bool) -> None:
        """Stop one and wait until it is gone."""
        process = self._running.pop(name)
        (process.kill if kill else process.terminate)()
        process.wait()

    def close(self) -> None:
        """Kill all."""
        for name in list(self._running):
            self.stop(name, kill=True)

    def holders(self) -> dict[int, str]:
        """The member that holds each partition."""
        group = self._settings.kafka_topic_prefix + GROUP
        try:
            described = self._admin.describe_consumer_groups([group])[group].result(10)
        except KafkaException:
            return {}
        return {
            place.partition: member.member_id
            for member in described.members
            for place in member.assignment.topic_partitions
        }

    def settled(self, count: int) -> bool:
        """Whether so many members hold all partitions."""
        holders = self.holders()
        return len(holders) == PARTITIONS and len(set(holders.values())) == count


def measure(what: str, flow: Flow, workers: Workers, act: Callable[[], None], count: int) -> None:
    """Do it, wait until all partitions flow again, report."""
    before = workers.holders()
    began = time.monotonic()
    act()
    eventually(lambda: workers.settled(count), timeout=90, interval=0.1)
    after = workers.holders()
    assigned = time.monotonic()
    moved = {one for one in after if before.get(one) != after[one]}
    eventually(lambda: all(flow.seen[one][-1] > assigned for one in moved), timeout=120, interval=0.1)
    time.sleep(SETTLE_SECONDS)
    stays = max((flow.longest(one, began) for one in after if one not in moved), default=0.0)
    moves = max((flow.longest(one, began) for one in moved), default=0.0)
    report(
        f"rebalance, {what}: {len(moved)} of {PARTITIONS} move",
        f"unmoved stall {stays:.2f} s, moved {moves:.2f} s",
        "",
        TARGET_SECONDS / stays if stays else None,
        f"unmoved < {TARGET_SECONDS:g} s",
    )


def main() -> None:
    """Run and print."""
    keys = int(sys.argv[1]) if len(sys.argv) > 1 else KEYS
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        mode = choose_mode(os.environ, docker_answers)
        bootstrap = stack.enter_context(running(mode, directory / "stack")).kafka_bootstrap
        settings = service_settings(bootstrap, fresh_prefix())
        fill(settings, Load(0, 1, PARTITIONS))
        fill_changelog(settings, keys)
        print(f"  {keys:,} keys in the changelog of {PARTITIONS} partitions", flush=True)
        flow = stack.enter_context(closing(Flow(settings)))
        workers = stack.enter_context(closing(Workers(settings, directory)))
        workers.start("one")
        eventually(lambda: len(flow.seen) == PARTITIONS, timeout=180, interval=0.2)
        time.sleep(SETTLE_SECONDS)
        measure("a second worker joins", flow, workers, lambda: workers.start("two"), 2)
        measure("a third joins", flow, workers, lambda: workers.start("three"), 3)
        measure("one is killed", flow, workers, lambda: workers.stop("three", kill=True), 2)
        measure("one leaves", flow, workers, lambda: workers.stop("two", kill=False), 1)


if __name__ == "__main__":
    main()
