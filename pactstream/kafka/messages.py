"""The client's messages as records."""

from __future__ import annotations

from typing import cast

from confluent_kafka import Message

from pactstream.errors import Fatal
from pactstream.kafka.records import Headers, Record


def as_record(message: Message) -> Record:
    """A consumed message, free of the client. Raises `Fatal` for one without a position."""
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    if topic is None or partition is None or offset is None:
        raise Fatal("the Kafka client returned a record without a position")
    headers = cast(Headers, message.headers() or ())
    return Record(topic, partition, offset, message.key(), message.value(), headers)
