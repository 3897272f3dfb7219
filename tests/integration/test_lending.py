"""Lending tasks and writing beside the transactions, on a real broker; and who holds a partition."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import pytest
from confluent_kafka import Producer

from pactstream.errors import Retryable
from pactstream.kafka import config, topics
from pactstream.kafka.owners import Owners, client_id, partition_of
from pactstream.kafka.processor import NotHeld, Plan, Processor
from pactstream.kafka.records import Emit, Record, Restored, Task
from pactstream.kafka.side_writer import SideWriter
from pactstream.settings import ServiceSettings
from tests.kafka_tools import PARTITIONS, create_topics, produce, read_all, service_settings
from tests.stack import eventually


class Keeping(Task):
    """Counts records, and remembers what was written beside."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.count = 0
        self.kept: dict[bytes, bytes | None] = {}

    @property
    def side(self) -> Restored:
        return Side(self.kept)

    def restore(self, key: bytes, value: bytes | None) -> None:
        self.count = int(value or b"0")

    def process(self, record: Record, emit: Emit) -> int:
        self.count += 1
        return 1

    def flush(self, emit: Emit) -> None:
        emit(topics.EVALUATOR_STATE, b"count", str(self.count).encode(), partition=self.partition)

    def checkpoint(self, position: int) -> None:
        return

    def close(self) -> None:
        return


class Side(Restored):
    """The second changelog of a `Keeping`."""

    def __init__(self, kept: dict[bytes, bytes | None]) -> None:
        self._kept = kept

    def restore(self, key: bytes, value: bytes | None) -> None:
        self._kept[key] = value

    def checkpoint(self, position: int) -> None:
        return


PLAN = Plan(
    group="keeping",
    source=topics.BATCHES,
    changelog=topics.EVALUATOR_STATE,
    make_task=Keeping,
    max_events=10,
    linger_seconds=0.01,
    side=topics.HOLDS,
    client_id=client_id("http://127.0.0.1:1"),
)


@contextmanager
def running(settings: ServiceSettings, plan: Plan = PLAN) -> Iterator[tuple[Processor, SideWriter]]:
    """A processor and a writer in threads, ready."""
    stop, processor = Event(), Processor(settings, plan)
    writer = SideWriter(settings, topics.HOLDS, processor)
    threads = [Thread(target=processor.run, args=(stop,)), Thread(target=writer.run, args=(stop,))]
    for thread in threads:
        thread.start()
    try:
        yield processor, writer
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert not any(thread.is_alive() for thread in threads)


@pytest.fixture
def settings(kafka_bootstrap: str, topic_prefix: str) -> ServiceSettings:
    ours = service_settings(kafka_bootstrap, topic_prefix)
    create_topics(ours)
    return ours


def caught_up(processor: Processor, partition: int = 0) -> bool:
    try:
        with processor.lend(partition) as loan:
            return loan.caught_up and loan.at_end
    except NotHeld:
        return False


def test_a_lent_task_shows_what_was_processed_and_where_it_stands(settings: ServiceSettings) -> None:
    with running(settings) as (processor, _):
        eventually(lambda: caught_up(processor), timeout=30)
        produce(settings, topics.BATCHES, [(b"k", b"v")] * 3)

        def three() -> bool:
            with processor.lend(0) as loan:
                assert isinstance(loan.task, Keeping)
                return (loan.task.count, loan.next_offset) == (3, 3)

        eventually(three)
        eventually(lambda: caught_up(processor))
    with pytest.raises(NotHeld), processor.lend(0):
        pass


def test_what_is_written_beside_is_certain_and_restored(settings: ServiceSettings) -> None:
    with running(settings) as (processor, writer):
        eventually(lambda: caught_up(processor), timeout=30)
        with processor.lend(0) as loan:
            done = [writer.submit(0, loan.task, [(f"k{n}", b"v"), ("gone", None)]) for n in range(20)]
        given_up = done.pop()
        given_up.cancel()
        for one in done:
            one.result(10)
        stranger = Keeping(0)
        with pytest.raises(Retryable, match="has moved"):
            writer.submit(0, stranger, [("stray", b"v")]).result(10)
    keys = {message.key() for message in read_all(settings, topics.HOLDS)}
    assert keys == {b"gone", b"stray", *(f"k{n}".encode() for n in range(20))}
    with running(settings) as (processor, _):
        eventually(lambda: caught_up(processor), timeout=30)
        with processor.lend(0) as loan:
            assert isinstance(loan.task, Keeping)
            assert loan.task.kept.keys() == keys


def test_what_waits_when_the_worker_stops_is_told_so(settings: ServiceSettings) -> None:
    with running(settings) as (processor, writer):
        eventually(lambda: caught_up(processor), timeout=30)
    late = writer.submit(0, Keeping(0), [("k", b"v")])
    stop = Event()
    stop.set()
    writer.run(stop)
    with pytest.raises(Retryable, match="stopping"):
        late.result(1)


def test_the_holder_of_each_partition_is_found(settings: ServiceSettings) -> None:
    other = settings.model_copy(update={"instance": "two"})
    plans = [replace(PLAN, client_id=client_id(f"http://127.0.0.1:{port}")) for port in (1, 2)]
    owners = Owners(settings, PLAN.group, PLAN.source)

    async def found() -> set[str | None]:
        return {await owners.address(partition, stale=await owners.address(partition)) for partition in (0, 1)}

    assert asyncio.run(found()) == {None}
    with running(settings, plans[0]) as _, running(other, plans[1]) as _:
        expected = {"http://127.0.0.1:1", "http://127.0.0.1:2"}
        eventually(lambda: asyncio.run(found()) == expected, timeout=30, interval=0.3)


def test_a_partition_is_the_one_that_the_producer_takes(settings: ServiceSettings) -> None:
    keys = [str(uuid.uuid4()).encode() for _ in range(200)]
    producer = Producer(config.producer(settings))
    for key in keys:
        producer.produce(topics.name(settings, topics.BATCHES), b"v", key)
    assert producer.flush(30) == 0
    where = {message.key(): message.partition() for message in read_all(settings, topics.BATCHES)}
    assert where == {key: partition_of(key, PARTITIONS) for key in keys}


# A member of its own process, so that it can be paused with its client's threads: it asks the group to confirm
# it, again and again, and says how that went.
MEMBER = """
import sys, threading, time
from confluent_kafka import KafkaException
from tests.integration.test_lending import PLAN
from pactstream.kafka.processor import Processor
from pactstream.errors import PactstreamError
from tests.kafka_tools import service_settings
processor = Processor(service_settings(sys.argv[1], sys.argv[2], "paused"), PLAN)
threading.Thread(target=processor.run, args=(threading.Event(),), daemon=True).start()
while True:
    session = processor._session
    try:
        member = session._consumer.memberid()
        session.confirm()
        print("yes", member, flush=True)
    except (KafkaException, PactstreamError, AttributeError) as error:
        print("no", type(error).__name__, flush=True)
    time.sleep(0.02)
"""


def test_the_group_does_not_confirm_a_member_that_it_took_for_dead(
    settings: ServiceSettings, tmp_path: Path
) -> None:
    log = tmp_path / "member.log"
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": root}
    arguments = [sys.executable, "-c", MEMBER, settings.kafka_bootstrap, settings.kafka_topic_prefix]
    with log.open("w") as out, subprocess.Popen(arguments, env=environment, stdout=out, stderr=out) as member:
        try:
            eventually(lambda: "yes" in log.read_text(), timeout=30)
            member.send_signal(signal.SIGSTOP)
            before = log.read_text().splitlines()
            with running(settings) as (processor, _):
                eventually(lambda: caught_up(processor, 0) and caught_up(processor, 1), timeout=60)
                member.send_signal(signal.SIGCONT)
                eventually(lambda: len(log.read_text().splitlines()) > len(before) + 5, timeout=30)
        finally:
            member.kill()
    after = log.read_text().splitlines()[len(before) :]
    # The old member is not confirmed again; an answer that was on its way when it was paused may come first.
    assert before[-1].startswith("yes pactstream@"), before[-3:]
    assert before[-1] not in after[1:], after[:9]
    assert any(line.startswith("no") for line in after)
