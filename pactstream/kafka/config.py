"""librdkafka configuration for every client, with TLS and SASL from the settings.

Names and meanings are librdkafka's (its CONFIGURATION.md).
"""

from __future__ import annotations

import logging
from typing import Any

from pactstream import clock
from pactstream.kafka import lag
from pactstream.settings import KafkaSettings

Config = dict[str, Any]

# A transaction left open by a killed process holds back every reader for this long, and until the broker looks.
TRANSACTION_TIMEOUT_MS = 10_000
# The largest record: a gateway body is at most 1 MiB, and judging about triples it.
MAX_MESSAGE_BYTES = 8 * 1024 * 1024

READER_GROUP = "reader"
"""Of consumers outside any group: the client wants a name, looks for its coordinator, and commits nothing."""

_SAME_LINE_SECONDS = 10.0


class _Seldom(logging.Filter):
    """Passes one line of each client and kind in ten seconds: librdkafka repeats what it cannot mend."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this line is the first of its kind (`FAIL [rdkafka#consumer-2]`) for a while."""
        kind = record.getMessage().partition("]")[0]
        now = clock.monotonic_seconds()
        if now - self._last.get(kind, -_SAME_LINE_SECONDS) < _SAME_LINE_SECONDS:
            return False
        self._last[kind] = now
        return True


_log = logging.getLogger("pactstream.kafka.client")
_log.addFilter(_Seldom())


def client(settings: KafkaSettings) -> Config:
    """What every client needs: addresses, TLS, SASL, logging through `logging`."""
    config: Config = {
        "bootstrap.servers": settings.kafka_bootstrap,
        "security.protocol": settings.kafka_security_protocol,
        "logger": _log,
        "log.connection.close": False,
        "socket.nagle.disable": True,
        "reconnect.backoff.max.ms": 2_000,
        "topic.metadata.refresh.interval.ms": 30_000,
    }
    if settings.kafka_security_protocol.startswith("SASL_"):
        config["sasl.mechanisms"] = settings.kafka_sasl_mechanism
        config["sasl.username"] = settings.kafka_sasl_username
        config["sasl.password"] = settings.kafka_sasl_password.get_secret_value()
    if settings.kafka_security_protocol.endswith("SSL"):
        config["ssl.endpoint.identification.algorithm"] = "https"
        paths = {
            "ssl.ca.location": settings.kafka_ssl_ca,
            "ssl.certificate.location": settings.kafka_ssl_certificate,
            "ssl.key.location": settings.kafka_ssl_key,
        }
        config.update({name: str(path) for name, path in paths.items() if path is not None})
    return config


def producer(settings: KafkaSettings, *, linger_ms: float = 2) -> Config:
    """An idempotent producer: every record acknowledged by all in-sync replicas, once, in order."""
    return client(settings) | {
        "enable.idempotence": True,
        "acks": "all",
        "linger.ms": linger_ms,
        # The default, and relied on: `owners.partition_of` computes the same.
        "partitioner": "consistent_random",
        "compression.type": "zstd",
        # Less time than level 3, the default, and smaller: of judged events 2.4 µs each and not 6.0, 432 bytes
        # and not 501. Hashes in hexadecimal are half of them, and their four bits are all there is to gain.
        "compression.level": 1,
        "message.max.bytes": MAX_MESSAGE_BYTES,
        # A record that nobody acknowledged in this time is reported as failed; the sender tries again.
        "delivery.timeout.ms": 30_000,
    }


def transactional_producer(settings: KafkaSettings, transactional_id: str) -> Config:
    """An idempotent producer whose records become visible together, on commit.

    `retry.backoff.ms`: a new transaction is refused while the last one's markers are being written, and the
    client then waits out this back-off: 100 ms by default, which would be most of a small transaction's time.
    """
    return producer(settings) | {
        "transactional.id": settings.kafka_topic_prefix + transactional_id,
        "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
        "delivery.timeout.ms": TRANSACTION_TIMEOUT_MS,
        "retry.backoff.ms": 1,
        "retry.backoff.max.ms": 200,
    }


def consumer(settings: KafkaSettings, group: str) -> Config:
    """A member of a consumer group that sees committed records only and commits nothing by itself."""
    return _consumer(settings, group) | {
        "statistics.interval.ms": lag.INTERVAL_MS,
        "stats_cb": lag.ConsumerLag(group, settings.kafka_topic_prefix),
    }


def reader(settings: KafkaSettings) -> Config:
    """A consumer outside any group, for reading partitions from a chosen offset; reports their ends."""
    return _consumer(settings, READER_GROUP) | {"enable.partition.eof": True}


def _consumer(settings: KafkaSettings, group: str) -> Config:
    return client(settings) | {
        "group.id": settings.kafka_topic_prefix + group,
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": int(settings.kafka_session_seconds * 1_000),
        "heartbeat.interval.ms": int(settings.kafka_session_seconds * 100),
        "fetch.wait.max.ms": 100,
        "fetch.message.max.bytes": MAX_MESSAGE_BYTES,
    }
