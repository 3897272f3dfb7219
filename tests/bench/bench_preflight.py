"""Pre-flights at a steady rate: `python -m tests.bench.bench_preflight [SECONDS] [RATE]`.

One gateway, one evaluator and one broker on this machine; questions about eight agents under a window, sent at
fixed moments whether or not earlier ones have been answered. Three kinds: answered by the gateway alone (a pact
without memory), as of now (the evaluator is asked), and with a reservation, which is durable before the answer.
Latency is what the asker sees. The peer of reservations is the naive way, measured here with the same broker: a
Kafka transaction for each, with the default back-off, one after the other.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
from confluent_kafka import Consumer, Producer, TopicPartition

from pactstream.kafka import config, topics
from pactstream.settings import KafkaSettings
from tests.preflight_stack import PACT, Cluster, Spender, cluster, post
from tests.stack import choose_mode, docker_answers, fresh_prefix
from tests.stack import running as stack_running

SECONDS = 10
RATE = 200
PROMISED_MS = {"gateway alone": (3, 15), "as of now": (3, 15), "reserved": (20, 80)}
_AGENTS = 8
_NAIVE = 50
_ALONE = {
    "name": "Alone",
    "conditions": [
        {
            "type": "param_binding",
            "severity": "critical",
            "parameterBinding": {"tool": "pay", "rules": [{"paramPath": "amount", "valueRange": {"max": 9}}]},
        }
    ],
}


def percentile(values: list[float], share: float) -> float:
    """A percentile of seconds, in milliseconds."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)] * 1_000


async def steady(seconds: float, rate: float, once: Callable[[int], Awaitable[None]]) -> list[float]:
    """Start `once` at fixed moments; the time that each took, in seconds."""
    taken: list[float] = []
    began = time.perf_counter()

    async def one(number: int) -> None:
        due = began + number / rate
        await asyncio.sleep(max(due - time.perf_counter(), 0))
        await once(number)
        # From when it was due: waiting for one's own turn counts.
        taken.append(time.perf_counter() - due)

    await asyncio.gather(*(one(number) for number in range(int(seconds * rate))))
    return taken


async def measure(
    gateway: str, spenders: list[Spender], seconds: float, rate: float, *, reserve: bool
) -> list[float]:
    """Latencies of one kind of question; what was not answered is said, and its time counts too."""
    failed: Counter[int] = Counter()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:

        async def once(number: int) -> None:
            spender = spenders[number % len(spenders)]
            asked = spender.asks(1, reserve=True, ttlSeconds=2) if reserve else spender.asks(1)
            status, answer = await post(http, gateway + spender.path, spender, asked)
            if status != 200 or not answer["valid"]:
                failed[status] += 1

        await steady(1, rate, once)  # connections are made, code is warm
        failed.clear()
        taken = await steady(seconds, rate, once)
    if failed:
        print(f"not answered: {dict(failed)}")
    return taken


def naive(settings: KafkaSettings) -> list[float]:
    """A transaction for each reservation, with the offsets that fence it, as a first attempt would have it."""
    consumer = Consumer(config.consumer(settings, "naive"))
    consumer.subscribe([topics.name(settings, topics.BATCHES)])
    while not consumer.assignment():
        consumer.poll(0.1)
    producer = Producer(config.transactional_producer(settings, "naive") | {"retry.backoff.ms": 100})
    producer.init_transactions(30)
    topic, taken = topics.name(settings, topics.HOLDS), []
    for _ in range(_NAIVE):
        began = time.perf_counter()
        producer.begin_transaction()
        producer.produce(topic, b"x" * 200, b"key", 0)
        offsets = [TopicPartition(topics.name(settings, topics.BATCHES), 0, 0)]
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), 30)
        producer.commit_transaction(30)
        taken.append(time.perf_counter() - began)
    consumer.close()
    return taken


def report(name: str, taken: list[float]) -> None:
    """One line: the figures, and what was promised."""
    p50, p99 = percentile(taken, 0.5), percentile(taken, 0.99)
    promised = PROMISED_MS.get(name)
    beside = "" if promised is None else f"  (promised {promised[0]} and {promised[1]})"
    print(f"{name:32}  p50 {p50:7.1f} ms  p99 {p99:7.1f} ms{beside}", flush=True)


def bench(running: Cluster, seconds: float, rate: float) -> None:
    """All kinds, one after the other."""
    gateway = running.gateways[0]
    roomy = {**PACT, "conditions": [_with_limit(one) for one in PACT["conditions"]]}
    looking = running.register(_AGENTS, roomy)
    alone = running.register(_AGENTS, _ALONE)
    print(f"{rate:g} questions a second for {seconds:g} s, {os.cpu_count()} cores")
    kinds = [("gateway alone", alone, False), ("as of now", looking, False), ("reserved", looking, True)]
    for name, spenders, reserve in kinds:
        report(name, asyncio.run(measure(gateway, spenders, seconds, rate, reserve=reserve)))
    slow = naive(running.settings)
    report("peer: naive transactions, serial", slow)
    print(f"one after the other they allow {len(slow) / sum(slow):.0f} reservations a second, not {rate:g}")


def _with_limit(condition: dict[str, Any]) -> dict[str, Any]:
    return condition | {"window": condition["window"] | {"limit": "1000000"}}


def main() -> None:
    """Measure on a stack of its own."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    rate = float(sys.argv[2]) if len(sys.argv) > 2 else RATE
    mode = choose_mode(os.environ, docker_answers)
    with tempfile.TemporaryDirectory() as directory, stack_running(mode, Path(directory) / "stack") as stack:
        settings = KafkaSettings(kafka_bootstrap=stack.kafka_bootstrap, kafka_topic_prefix=fresh_prefix())
        logs = Path(directory) / "logs"
        logs.mkdir()
        with cluster(settings, logs, gateways=1, workers=1) as made:
            bench(made, seconds, rate)


if __name__ == "__main__":
    main()
