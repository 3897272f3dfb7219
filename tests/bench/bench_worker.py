"""The evaluator end to end, from a full topic, exactly once: `python -m tests.bench.bench_worker [EVENTS]`.

The same job (decode a batch, judge each call against seven rules, make leaves, encode them) on Quix Streams
and on faust-streaming, both exactly once and with what the evaluator keeps of each agent (its head, the ids
judged) in their own state; and in a bare transactional loop without state, there also without leaves,
so that it writes verdicts only.

Progress is what the group has committed, which all of them do in their transactions. Time and CPU time (of the
process alone, its Kafka client's threads included) run from the first commit to the last, or to the time-out.
The broker and everything else share the machine: on two cores, events per CPU-second say more.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from evaluator_worker.task import GROUP
from pactstream.control.pacts import PactVersion
from pactstream.devstack import ports
from pactstream.kafka import config, topics
from pactstream.pacts import parse_pact
from pactstream.settings import ServiceSettings
from tests.bench.figures import report
from tests.bench.worker_job import AGENTS, DOCUMENT, PACT_ID, batches
from tests.kafka_tools import service_settings
from tests.stack import choose_mode, docker_answers, fresh_prefix, running

EVENTS: Final = 200_000
TIMEOUT_SECONDS: Final = 25.0
# aiokafka reads zstd only with a further library.
PLAIN: Final = {"compression.type": "none"}
PEERS_PYTHON: Final = Path(".venv-bench/bin/python")
TARGETS: Final = {
    "Quix Streams": "≥ 4 ×",
    "faust-streaming": "≥ 15 ×",
    "bare loop": "≥ 0.8 ×",
    "bare loop with leaves": "≥ 0.8 ×",
}


@dataclass(frozen=True, slots=True)
class Rate:
    """What one program did."""

    per_second: float
    per_cpu_second: float

    def __str__(self) -> str:
        return f"{self.per_second:,.0f}/s, {self.per_cpu_second:,.0f}/CPU-s"


@dataclass(frozen=True, slots=True)
class Load:
    """What is in the topic."""

    events: int
    batch: int
    partitions: int


def fill(settings: ServiceSettings, load: Load) -> None:
    """Topics, the pact, and a full source."""
    topics.apply(settings, partitions=load.partitions, replication=1)
    pact = parse_pact(DOCUMENT)
    version = PactVersion(PACT_ID, 1, "t", None, pact.name, pact.canonical, pact.hash, 0, "k")
    producer = Producer(config.producer(settings, linger_ms=50) | PLAIN)
    producer.produce(topics.name(settings, topics.PACTS), version.encode(), version.key.encode(), 0)
    full = topics.name(settings, topics.BATCHES)
    for number, (key, value) in enumerate(batches(load.events, load.batch)):
        producer.produce(full, value, key.encode(), number % AGENTS % load.partitions)
        if number % 1_000 == 0:
            producer.flush(60)
    if producer.flush(60):
        raise RuntimeError("records were not acknowledged")


class Progress:
    """How many records a group has committed."""

    def __init__(self, settings: ServiceSettings, group: str, partitions: int) -> None:
        self._reader = Consumer(config.reader(settings) | {"group.id": settings.kafka_topic_prefix + group})
        full = topics.name(settings, topics.BATCHES)
        self._partitions = [TopicPartition(full, number) for number in range(partitions)]
        self._seen = 0

    def records(self) -> int:
        """Of all partitions."""
        # A broker that has just created its topic of offsets refuses for a moment.
        with suppress(KafkaException):
            self._seen = sum(max(one.offset, 0) for one in self._reader.committed(self._partitions, 10))
        return self._seen

    def close(self) -> None:
        """Close the client."""
        self._reader.close()


def measure(processes: list[subprocess.Popen[bytes]], progress: Progress, load: Load) -> Rate:
    """From the first commit on."""
    watched = [psutil.Process(one.pid) for one in processes]

    def cpu() -> float:
        return sum(sum(one.cpu_times()[:2]) for one in watched)

    deadline = time.monotonic() + 60
    while (first := progress.records()) == 0:
        if time.monotonic() > deadline or any(one.poll() is not None for one in processes):
            raise RuntimeError("nothing was committed; see the program's output")
        time.sleep(0.02)
    began, cpu_began = time.monotonic(), cpu()
    done = first
    ended, cpu_ended = began, cpu_began
    while done < load.events // load.batch and time.monotonic() < began + TIMEOUT_SECONDS:
        time.sleep(0.02)
        if (now := progress.records()) != done:
            done, ended, cpu_ended = now, time.monotonic(), cpu()
    events = (done - first) * load.batch
    return Rate(events / (ended - began), events / (cpu_ended - cpu_began))


@dataclass(frozen=True, slots=True)
class Contender:
    """Programs of one group that take the same topic."""

    name: str
    group: str
    commands: list[list[str]]

    def run(self, settings: ServiceSettings, load: Load, directory: Path) -> Rate:
        """Start, measure, stop."""
        environment = {
            "PACTSTREAM_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
            "PACTSTREAM_KAFKA_TOPIC_PREFIX": settings.kafka_topic_prefix,
        }
        with ExitStack() as stack, Path(directory, f"{self.group}.log").open("ab") as log:
            progress = stack.enter_context(closing(Progress(settings, self.group, load.partitions)))
            started = []
            for number, command in enumerate(self.commands):
                own = {"PACTSTREAM_INSTANCE": f"w{number}", "PACTSTREAM_EVALUATOR_PORT": str(ports.free_port())}
                one = subprocess.Popen(command, env=os.environ | environment | own, stdout=log, stderr=log)
                stack.callback(one.wait)
                stack.callback(one.kill)
                started.append(one)
            try:
                return measure(started, progress, load)
            except RuntimeError as error:
                raise SystemExit(f"{self.name}: {error}\n{Path(log.name).read_text()[-2_000:]}") from error


def evaluators(count: int) -> Contender:
    """Ours."""
    return Contender("evaluator", GROUP, [[sys.executable, "-m", "evaluator_worker"]] * count)


def others(settings: ServiceSettings, load: Load, directory: Path) -> list[Contender]:
    """The bare loops, and the peers that are installed."""

    def contender(name: str, python: str, module: str, mode: str = "plain") -> Contender:
        group = f"{module}-{mode}"
        arguments = [settings.kafka_bootstrap, settings.kafka_topic_prefix, group, mode, str(load.batch)]
        state = str(Path(directory, group))
        return Contender(name, group, [[python, "-m", f"tests.bench.{module}", *arguments, state]])

    found = [
        contender("bare loop", sys.executable, "worker_bare"),
        contender("bare loop with leaves", sys.executable, "worker_bare", "leaves"),
    ]
    if PEERS_PYTHON.exists():
        peers = str(PEERS_PYTHON)
        found += [
            contender("Quix Streams", peers, "worker_quix", "state"),
            contender("faust-streaming", peers, "worker_faust", "state"),
        ]
    return found


def compare(bootstrap: str, load: Load, directory: Path) -> None:
    """One evaluator and all others on one full partition."""
    settings = service_settings(bootstrap, fresh_prefix())
    fill(settings, load)
    ours = evaluators(1).run(settings, load, directory)
    what = f"worker, batches of {load.batch}"
    report(what, str(ours))
    for other in others(settings, load, directory):
        theirs = other.run(settings, load, directory)
        ratio = ours.per_second / theirs.per_second
        report(what, str(ours), f"{other.name} {theirs}", ratio, TARGETS.get(other.name, ""))
        report(
            f"{what}, per CPU-second",
            f"{ours.per_cpu_second:,.0f}",
            f"{other.name} {theirs.per_cpu_second:,.0f}",
            ours.per_cpu_second / theirs.per_cpu_second,
            TARGETS.get(other.name, ""),
        )


def scale(bootstrap: str, load: Load, directory: Path) -> None:
    """One worker and two on the same two partitions."""
    rates = []
    for count in (1, 2):
        settings = service_settings(bootstrap, fresh_prefix())
        fill(settings, load)
        rates.append(evaluators(count).run(settings, load, directory))
    one, two = rates
    ratio = two.per_second / one.per_second
    report("two workers, two partitions", str(two), f"one worker {one}", ratio, "≥ 1.7 × when cores allow")
    print(f"  cores: {os.cpu_count()}, shared with the broker; load average {os.getloadavg()[0]:.1f}")


def main() -> None:
    """Run and print."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with running(choose_mode(os.environ, docker_answers), Path(name, "stack")) as stack:
            for batch in (25, 1):
                compare(stack.kafka_bootstrap, Load(events if batch > 1 else events // 2, batch, 1), directory)
            scale(stack.kafka_bootstrap, Load(2 * events, 25, 2), directory)


if __name__ == "__main__":
    main()
