"""What the client's errors mean to a loop."""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException

from pactstream.errors import Fatal, Retryable

# Nothing that waiting will mend: the configuration or the deployment is wrong.
_FATAL_CODES = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError._AUTHENTICATION,
    }
)


def classify(error: KafkaException) -> Retryable | Fatal:
    """What a loop should do about a client's error, by its code.

    A fenced producer is retryable: the process was taken for dead (paused, cut off) or a second one runs
    under the same instance name; either way nothing of it was committed and it may join again.
    """
    fault: KafkaError = error.args[0]
    if fault.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        return Fatal(f"Kafka: {fault.str()}; create the topics with: pactstream topics apply")
    if fault.code() in _FATAL_CODES:
        return Fatal(f"Kafka: {fault.str()}")
    return Retryable(f"Kafka: {fault.str()} ({fault.name()})")
