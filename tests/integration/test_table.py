"""Compacted topics as tables, and changes to them that never overwrite one another."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from pactstream import avro
from pactstream.errors import Backpressure, Fatal, InvalidInput, Retryable
from pactstream.kafka import topics
from pactstream.kafka.publisher import Publisher
from pactstream.kafka.table import Changes, Table
from pactstream.settings import KafkaSettings
from tests.kafka_tools import create_topics, produce, read_all, service_settings


@pytest.fixture
def settings(kafka_bootstrap: str, topic_prefix: str) -> KafkaSettings:
    ours = service_settings(kafka_bootstrap, topic_prefix)
    create_topics(ours)
    return ours


def number(data: bytes) -> int:
    if not data.isdigit():
        raise InvalidInput("not a number")
    return int(data)


@contextmanager
def table(settings: KafkaSettings) -> Iterator[Table[int]]:
    opened = Table(settings, topics.TENANTS, number)
    try:
        yield opened
    finally:
        opened.close()


def test_shows_the_newest_value_of_each_key_and_forgets_deleted_ones(settings: KafkaSettings) -> None:
    produce(settings, topics.TENANTS, [(b"a", b"1"), (b"b", b"2"), (b"a", b"3"), (b"b", None)])
    with table(settings) as ours:
        ours.catch_up()
        assert (ours.get("a"), ours.get("b")) == (3, None)
        assert ours.values() == [3]


def test_a_bad_record_is_skipped_and_the_rest_is_read(settings: KafkaSettings) -> None:
    produce(settings, topics.TENANTS, [(b"a", b"1"), (b"b", b"junk"), (b"c", b"3")])
    with table(settings) as ours:
        ours.catch_up()
        assert sorted(ours.values()) == [1, 3]


def test_nothing_old_is_told_once_a_newer_program_has_written(settings: KafkaSettings) -> None:
    """The record may revoke a key: to skip it would let the key go on."""
    newer = b"\0" + (avro.registered()[-1].id + 1).to_bytes(4, "big")
    opened = Table(settings, topics.TENANTS, lambda data: number(data) if data != newer else avro.decode(data))
    try:
        produce(settings, topics.TENANTS, [(b"a", b"1")])
        opened.catch_up()
        assert opened.get("a") == 1
        produce(settings, topics.TENANTS, [(b"a", newer)])
        with pytest.raises(Fatal, match="a newer one wrote it"):
            opened.catch_up()
        for ask in (lambda: opened.get("a"), opened.values, lambda: opened.wait_for("b", 1)):
            with pytest.raises(Fatal, match="a newer one wrote it"):
                ask()
    finally:
        opened.close()


def test_waiting_for_a_key_that_is_on_its_way(settings: KafkaSettings) -> None:
    with table(settings) as ours, ThreadPoolExecutor() as pool:
        waiting = pool.submit(ours.wait_for, "late", 10)
        produce(settings, topics.TENANTS, [(b"late", b"7")])
        assert waiting.result() == 7
        assert ours.wait_for("never", 0.05) is None


def test_changes_by_several_processes_never_overwrite_each_other(settings: KafkaSettings) -> None:
    """Ten increments by each of two writers, as two gateways would: the sum shows that none was lost."""
    with table(settings) as one, table(settings) as two:

        def increment(ours: Table[int]) -> None:
            changes = Changes(settings, "control", [ours])
            for _ in range(10):
                changes.apply(lambda: [(topics.TENANTS, "count", str((ours.get("count") or 0) + 1).encode())])

        with ThreadPoolExecutor() as pool:
            for done in [pool.submit(increment, ours) for ours in (one, two)]:
                done.result()
        one.catch_up()
        assert one.get("count") == 20


def test_a_decision_that_refuses_writes_nothing(settings: KafkaSettings) -> None:
    def refuse() -> list[tuple[str, str, bytes | None]]:
        raise InvalidInput("no")

    with table(settings) as ours:
        with pytest.raises(InvalidInput):
            Changes(settings, "control", [ours]).apply(refuse)
        assert read_all(settings, topics.TENANTS) == []


def test_a_missing_topic_is_reported_not_waited_for(kafka_bootstrap: str, topic_prefix: str) -> None:
    with (
        table(service_settings(kafka_bootstrap, topic_prefix)) as ours,
        pytest.raises(Retryable, match="tenants"),
    ):
        ours.catch_up(2)


def test_publishing_returns_after_the_acknowledgement(settings: KafkaSettings) -> None:
    async def publish() -> None:
        publisher = Publisher(settings)
        try:
            writes = [
                publisher.publish(topics.BATCHES, b"k", b"%d" % n, headers=[("h", b"v")]) for n in range(50)
            ]
            await asyncio.gather(*writes)
        finally:
            publisher.close()

    asyncio.run(publish())
    found = read_all(settings, topics.BATCHES)
    assert [message.value() for message in found] == [b"%d" % n for n in range(50)]
    assert found[0].headers() == [("h", b"v")]


def test_a_broker_that_does_not_answer_is_back_pressure() -> None:
    async def publish() -> None:
        publisher = Publisher(service_settings("127.0.0.1:1", ""), timeout_seconds=0.3)
        with pytest.raises(Backpressure, match="did not acknowledge"):
            await publisher.publish(topics.BATCHES, b"k", b"v")
        publisher.close()

    asyncio.run(publish())


def test_a_record_beyond_the_limit_is_the_senders_fault(settings: KafkaSettings) -> None:
    async def publish() -> None:
        publisher = Publisher(settings)
        with pytest.raises(InvalidInput, match="larger"):
            await publisher.publish(topics.BATCHES, b"k", bytes(9 << 20))
        publisher.close()

    asyncio.run(publish())


def test_the_topics_are_created_once_and_their_partitions_are_fixed(settings: KafkaSettings) -> None:
    again = topics.apply(settings, partitions=2, replication=1)
    assert all(line.startswith("exists") for line in again)
    with pytest.raises(Fatal, match="has 2 partitions, not 3"):
        topics.apply(settings, partitions=3, replication=1)
    assert len(again) == len(topics.TOPICS)
