"""The transactional loop on a real broker: once, in order, through crashes, refusals and rebalances."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Event, Thread

import pytest
from confluent_kafka import Consumer, TopicPartition
from prometheus_client import REGISTRY

from pactstream.errors import Fatal, InvalidInput, Retryable
from pactstream.kafka import lag, places, processor, topics
from pactstream.kafka.processor import Plan, Processor
from pactstream.kafka.records import Emit, Record, Task
from pactstream.settings import ServiceSettings
from tests.kafka_tools import create_topics, produce, read_all, service_settings
from tests.stack import eventually


class Summing(Task):
    """Adds up numbers by key; output is the running sum, the changelog is the sum."""

    def __init__(self, partition: int, fail: Callable[[str], None]) -> None:
        self._partition = partition
        self._fail = fail
        self._sums: dict[bytes, int] = {}

    def restore(self, key: bytes, value: bytes | None) -> None:
        self._sums[key] = int(value or b"0")

    def process(self, record: Record, emit: Emit) -> int:
        self._fail("process")
        if record.value == b"poison":
            emit(topics.EVALUATED, b"never", b"seen")
            raise InvalidInput("not a number")
        key = record.key or b""
        self._sums[key] = self._sums.get(key, 0) + int(record.value or b"0")
        emit(topics.EVALUATED, key, str(self._sums[key]).encode(), partition=self._partition)
        return 1

    def flush(self, emit: Emit) -> None:
        for key, total in self._sums.items():
            emit(topics.EVALUATOR_STATE, key, str(total).encode(), partition=self._partition)
        self._fail("flush")


class Passing(Task):
    """Hands on what it reads, and remembers nothing."""

    def __init__(self, partition: int) -> None:
        self._partition = partition

    def restore(self, key: bytes, value: bytes | None) -> None:
        raise AssertionError("there is nothing to restore")

    def process(self, record: Record, emit: Emit) -> int:
        emit(topics.EVALUATED, record.key or b"", record.value, partition=self._partition)
        return 1


def nothing(_: str) -> None:
    """Does not fail."""


def plan(fail: Callable[[str], None] = nothing, source: str = topics.BATCHES) -> Plan:
    return Plan(
        group="summing",
        source=source,
        changelog=topics.EVALUATOR_STATE,
        make_task=lambda partition: Summing(partition, fail),
        max_events=10,
        linger_seconds=0.01,
    )


@contextmanager
def running(settings: ServiceSettings, of: Plan) -> Iterator[Processor]:
    """A processor in a thread, stopped gracefully on leaving; its failure, if any, fails the test."""
    stop, processor, failures = Event(), Processor(settings, of), []

    def run() -> None:
        try:
            processor.run(stop)
        except BaseException as error:  # noqa: BLE001 - handed to the test
            failures.append(error)

    thread = Thread(target=run)
    thread.start()
    try:
        yield processor
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()
    assert failures == []


@pytest.fixture
def settings(kafka_bootstrap: str, topic_prefix: str) -> ServiceSettings:
    ours = service_settings(kafka_bootstrap, topic_prefix)
    create_topics(ours)
    return ours


def numbers(start: int, stop: int) -> list[tuple[bytes, bytes]]:
    return [(f"k{n % 3}".encode(), str(n).encode()) for n in range(start, stop)]


def running_sums(stop: int) -> dict[bytes, list[bytes]]:
    sums: dict[bytes, list[bytes]] = {}
    totals: dict[bytes, int] = {}
    for key, value in numbers(0, stop):
        totals[key] = totals.get(key, 0) + int(value)
        sums.setdefault(key, []).append(str(totals[key]).encode())
    return sums


Due = Callable[[int], dict[bytes, list[bytes]]]


def outputs(settings: ServiceSettings) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    for message in read_all(settings, topics.EVALUATED):
        found.setdefault(message.key() or b"", []).append(message.value() or b"")
    return found


def expect(settings: ServiceSettings, stop: int, due: Due = running_sums) -> None:
    eventually(lambda: sum(map(len, outputs(settings).values())) >= stop, timeout=30, interval=0.1)
    assert outputs(settings) == due(stop)


def test_a_partition_that_stays_paused_is_noticed(
    settings: ServiceSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Lame(Consumer):
        """The client loses what the first session resumes."""

        lost = 0

        def resume(self, partitions: list[TopicPartition]) -> None:
            if Lame.lost:
                monkeypatch.setattr(places, "SILENT_SECONDS", 60)
                super().resume(partitions)
            Lame.lost += 1

    monkeypatch.setattr(processor, "Consumer", Lame)
    monkeypatch.setattr(places, "SILENT_SECONDS", 0.5)
    with running(settings, plan()):
        produce(settings, topics.BATCHES, numbers(0, 6))
        expect(settings, 6)
    assert "begins again from the last commit: nothing is heard of partition" in caplog.text


def test_lag_shows_for_each_partition_held(settings: ServiceSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lag, "INTERVAL_MS", 50)
    produce(settings, topics.BATCHES, numbers(0, 50))

    def shown(partition: int) -> float | None:
        labels = {"group": "lagging", "topic": topics.BATCHES, "partition": str(partition)}
        return REGISTRY.get_sample_value("pactstream_consumer_lag_records", labels)

    assert shown(0) is None
    with running(settings, replace(plan(), group="lagging")):
        expect(settings, 50)
        eventually(lambda: [shown(0), shown(1)] == [0.0, 0.0], 30)


def test_state_survives_a_restart(settings: ServiceSettings) -> None:
    produce(settings, topics.BATCHES, numbers(0, 50))
    with running(settings, plan()):
        expect(settings, 50)
    produce(settings, topics.BATCHES, numbers(50, 80))
    with running(settings, plan()):
        expect(settings, 80)


@pytest.mark.parametrize("where", ["process", "flush"])
def test_an_abandoned_transaction_leaves_nothing_and_is_done_again(
    settings: ServiceSettings, where: str
) -> None:
    calls = {"process": 0, "flush": 0}

    def fail(at: str) -> None:
        calls[at] += 1
        if at == where and calls[at] in (2, 5):
            raise Retryable(f"planned, in {at}")

    produce(settings, topics.BATCHES, numbers(0, 60))
    with running(settings, plan(fail)):
        expect(settings, 60)
    assert calls[where] > 5


def test_a_poison_record_goes_to_the_dead_letters_alone(settings: ServiceSettings) -> None:
    produce(settings, topics.BATCHES, [*numbers(0, 5), (b"k", b"poison"), *numbers(5, 9)])
    with running(settings, plan()):
        expect(settings, 9)
        (letter,) = eventually(lambda: read_all(settings, topics.BATCHES + ".dlq"))
    headers = dict(letter.headers() or ())
    assert (letter.key(), letter.value()) == (b"k", b"poison")
    assert headers["error.class"] == b"InvalidInput"
    assert headers["error.message"] == b"not a number"
    assert headers["source.offset"] == b"5"


def test_partitions_move_between_members_and_nothing_is_lost_or_doubled(settings: ServiceSettings) -> None:
    second = settings.model_copy(update={"instance": "two"})
    with running(settings, plan()):
        for partition in (0, 1):
            produce(settings, topics.BATCHES, [(b"p%d" % partition, b"1")] * 30, partition)
        with running(second, plan()) as joined:
            for partition in (0, 1):
                produce(settings, topics.BATCHES, [(b"p%d" % partition, b"1")] * 30, partition)
            eventually(lambda: joined.ready, timeout=30)
            for partition in (0, 1):
                produce(settings, topics.BATCHES, [(b"p%d" % partition, b"1")] * 30, partition)
        for partition in (0, 1):
            produce(settings, topics.BATCHES, [(b"p%d" % partition, b"1")] * 10, partition)
        eventually(lambda: sum(map(len, outputs(settings).values())) >= 200, timeout=30, interval=0.1)
    once = [str(n).encode() for n in range(1, 101)]
    assert outputs(settings) == {b"p0": once, b"p1": once}


class Behind(Consumer):
    """A member that learns late of new generations: at times it names the one before, as by a race."""

    refused = 0
    late = Event()
    _first: object = None

    def consumer_group_metadata(self) -> object:
        now = super().consumer_group_metadata()
        # Before the group has met a second member there is one generation only.
        if Behind._first is None:
            Behind._first = now
        elif Behind.late.is_set() and Behind.refused < 3:
            Behind.refused += 1
            return Behind._first
        return now


@pytest.fixture
def behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pactstream.kafka.processor.Consumer", Behind)
    monkeypatch.setattr(Behind, "refused", 0)
    monkeypatch.setattr(Behind, "_first", None)
    monkeypatch.setattr(Behind, "late", Event())


def handed_on(stop: int) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    for key, value in numbers(0, stop):
        found.setdefault(key, []).append(value)
    return found


@pytest.mark.usefixtures("behind")
@pytest.mark.parametrize("stateless", [False, True])
def test_a_commit_that_meets_a_new_generation_is_done_again_and_its_member_stays(
    settings: ServiceSettings, stateless: bool
) -> None:
    group = f"rewound-{stateless}"

    def count(name: str) -> float:
        return REGISTRY.get_sample_value(f"pactstream_{name}_total", {"group": group}) or 0.0

    ours = replace(plan(), group=group)
    if stateless:
        ours = replace(ours, changelog=None, make_task=Passing)
    due = handed_on if stateless else running_sums
    with running(settings, ours):
        produce(settings, topics.BATCHES, numbers(0, 30))
        expect(settings, 30, due)
        second = settings.model_copy(update={"instance": "two"})
        with running(second, ours) as joined:
            eventually(lambda: joined.ready, timeout=30)
        aborted, restarted = count("aborts"), count("restarts")
        Behind.late.set()
        for stop in range(40, 100, 10):
            produce(settings, topics.BATCHES, numbers(stop - 10, stop))
            expect(settings, stop, due)
    assert Behind.refused == 3
    assert (count("aborts"), count("restarts")) == (aborted + 3, restarted)


def test_a_second_process_of_the_same_instance_cuts_off_the_first(settings: ServiceSettings) -> None:
    """Whichever of the two is fenced begins again; the sums still come out once each."""
    produce(settings, topics.BATCHES, numbers(0, 30))
    with running(settings, plan()), running(settings, plan()):
        produce(settings, topics.BATCHES, numbers(30, 60))
        expect(settings, 60)


def test_a_missing_topic_stops_the_loop_and_says_what_to_do(kafka_bootstrap: str, topic_prefix: str) -> None:
    settings = service_settings(kafka_bootstrap, topic_prefix)
    with pytest.raises(Fatal, match="pactstream topics apply"):
        Processor(settings, plan()).run(Event())
