"""Small Kafka helpers for tests: settings, topics, writing, and reading everything committed."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, Producer, TopicPartition

from pactstream.kafka import config, reach, topics
from pactstream.settings import KafkaSettings, ServiceSettings

PARTITIONS = 2


def service_settings(bootstrap: str, prefix: str, instance: str = "one") -> ServiceSettings:
    """Settings of a service on the test's broker; the environment plays no part."""
    return ServiceSettings(kafka_bootstrap=bootstrap, kafka_topic_prefix=prefix, instance=instance)


def create_topics(settings: KafkaSettings, partitions: int = PARTITIONS) -> None:
    """All topics, so many partitions where they are sharded."""
    topics.apply(settings, partitions=partitions, replication=1)


def produce(
    settings: KafkaSettings, topic: str, records: Iterable[tuple[bytes, bytes | None]], partition: int = 0
) -> None:
    """Write records and wait until they are acknowledged."""
    failures: list[KafkaError] = []

    def on_delivery(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failures.append(error)

    producer = Producer(config.producer(settings))
    reach.connect(producer, topics.name(settings, topic))
    for key, value in records:
        producer.produce(topics.name(settings, topic), value, key, partition, on_delivery=on_delivery)
    if producer.flush(30) or failures:
        raise AssertionError(f"records were not acknowledged: {failures}")


def read_all(settings: KafkaSettings, topic: str) -> list[Message]:
    """Every committed record of a topic, partition by partition, up to its present end."""
    full = topics.name(settings, topic)
    with closing(Consumer(config.reader(settings) | {"fetch.wait.max.ms": 10})) as reader:
        partitions = reader.list_topics(full, timeout=10).topics[full].partitions
        found: dict[int, list[Message]] = {partition: [] for partition in sorted(partitions)}
        unread = set(found)
        reader.assign([TopicPartition(full, partition, OFFSET_BEGINNING) for partition in found])
        while unread:
            message = reader.poll(10)
            if message is None:
                raise AssertionError(f"{full}: {unread} do not come to their end")
            error, partition = message.error(), message.partition() or 0
            if error is None:
                found[partition].append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                unread.discard(partition)
    return [message for messages in found.values() for message in messages]
