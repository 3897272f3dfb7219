"""A look at Kafka before anything begins: what waiting will not mend is said in one line, at once."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from pactstream.errors import Fatal
from pactstream.kafka import config
from pactstream.settings import KafkaSettings

_LOOKS: Final = 5
_LOOK_SECONDS: Final = 1.0
_REFUSED: Final = frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED})


def check(settings: KafkaSettings) -> None:
    """Return if Kafka lets us in, or does not answer: that may pass, and whoever needs it waits for it.

    Raises:
        Fatal: it refuses the user, or its certificate is not to be believed.
    """
    faults: list[KafkaError] = []
    admin = AdminClient(config.client(settings) | {"error_cb": faults.append})
    for _ in range(_LOOKS):
        try:
            admin.list_topics(timeout=_LOOK_SECONDS)
            return
        except KafkaException:
            admin.poll(0)  # which calls `error_cb`
            for fault in faults:
                _refuse(settings, fault)


def connect(client: Consumer | Producer, topic: str) -> None:
    """Have a new client learn who leads a topic (its full name), before it is given anything to do.

    One that is to read, or to begin transactions, and finds no broker yet, looks again after half a second.
    Nothing is raised: if nobody answers, the client goes on looking, and whoever uses it waits or is told.
    """
    with suppress(KafkaException):
        client.list_topics(topic, _LOOK_SECONDS)


def _refuse(settings: KafkaSettings, fault: KafkaError) -> None:
    if fault.code() in _REFUSED:
        raise Fatal(
            f"Kafka refuses the user {settings.kafka_sasl_username!r}: check PACTSTREAM_KAFKA_SASL_USERNAME, "
            f"_PASSWORD and _MECHANISM ({_short(fault)})"
        )
    if fault.code() == KafkaError._SSL:
        raise Fatal(f"no trusted connection to Kafka at {settings.kafka_bootstrap}: {_short(fault)}")


def _short(fault: KafkaError) -> str:
    """librdkafka's words without the broker's name before and the state behind."""
    text = fault.str()
    return text.partition(": ")[2].partition(" (after ")[0] or text
