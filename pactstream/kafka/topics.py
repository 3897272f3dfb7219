"""The topics, their settings, and `apply`, which creates them and says what differs."""

from __future__ import annotations

from dataclasses import dataclass, field

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from pactstream.errors import Fatal, Retryable
from pactstream.kafka import config
from pactstream.settings import KafkaSettings

BATCHES = "telemetry.batches"
EVALUATED = "telemetry.evaluated"
PACTS = "pacts"
TENANTS = "tenants"
EVALUATOR_STATE = "evaluator.state"
WINDOWS = "behaviour.windows"
ANOMALIES = "anomalies"
PAGES = "pages"
CHECKPOINTS = "ledger.checkpoints"
SEALER_STATE = "sealer.state"
SCORES = "trust.scores"

_DAY_MS = 86_400_000
_COMPACTED = {"cleanup.policy": "compact", "min.compaction.lag.ms": "60000", "segment.ms": str(_DAY_MS)}
_TIMEOUT_SECONDS = 30.0


def _kept(days: int) -> dict[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(days * _DAY_MS)}


_FOREVER = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic's name without prefix and its settings; `sharded`: as many partitions as there are logs."""

    name: str
    settings: dict[str, str] = field(default_factory=dict)
    sharded: bool = True


TOPICS = (
    Topic(BATCHES, _kept(days=7)),
    Topic(BATCHES + ".dlq", _kept(days=30)),
    Topic(EVALUATED, _kept(days=30)),
    Topic(EVALUATED + ".dlq", _kept(days=30)),
    # Control plane: small, and in one partition so that every reader sees one order.
    Topic(PACTS, _COMPACTED, sharded=False),
    Topic(TENANTS, _COMPACTED, sharded=False),
    Topic(EVALUATOR_STATE, _COMPACTED),
    Topic(WINDOWS, _kept(days=30)),
    Topic(ANOMALIES, _kept(days=90)),
    Topic(PAGES, _kept(days=30)),
    # The list of segments is what everything derived from the ledger is rebuilt from.
    Topic(CHECKPOINTS, _FOREVER),
    Topic(SEALER_STATE, _COMPACTED),
    Topic(SCORES, _COMPACTED),
)


def name(settings: KafkaSettings, topic: str) -> str:
    """The topic's full name, prefix included."""
    return settings.kafka_topic_prefix + topic


def apply(settings: KafkaSettings, *, partitions: int, replication: int) -> list[str]:
    """Create what is missing; safe to repeat. Returns one line for each topic: created, exists, or differs.

    Raises:
        Fatal: a topic exists with another number of partitions: a key's records would change partition, and
            an agent's chain would continue in another log.
        Retryable: the brokers do not answer.
    """
    admin = AdminClient(config.client(settings))
    existing = _partition_counts(admin)
    wanted = {name(settings, one.name): (one, partitions if one.sharded else 1) for one in TOPICS}
    for full, (_, count) in wanted.items():
        if full in existing and existing[full] != count:
            raise Fatal(
                f"topic {full} has {existing[full]} partitions, not {count}: their number is fixed once "
                "agents have history; use the number it has"
            )
    missing = [
        _new_topic(full, topic, count, replication)
        for full, (topic, count) in wanted.items()
        if full not in existing
    ]
    created = _create(admin, missing)
    return [f"{'created' if full in created else 'exists '}  {full}" for full in sorted(wanted)]


def _new_topic(full: str, topic: Topic, count: int, replication: int) -> NewTopic:
    settings = topic.settings | {
        "max.message.bytes": str(config.MAX_MESSAGE_BYTES),
        "min.insync.replicas": str(2 if replication >= 3 else 1),
    }
    return NewTopic(full, num_partitions=count, replication_factor=replication, config=settings)


def _partition_counts(admin: AdminClient) -> dict[str, int]:
    try:
        listed = admin.list_topics(timeout=_TIMEOUT_SECONDS).topics
    except KafkaException as error:
        raise Retryable(f"Kafka does not answer: {error.args[0].str()}") from error
    return {full: len(topic.partitions) for full, topic in listed.items()}


def _create(admin: AdminClient, missing: list[NewTopic]) -> set[str]:
    """The topics that this call created: another `apply` at the same moment may have been first."""
    created: set[str] = set()
    if not missing:
        return created
    for full, done in admin.create_topics(missing, operation_timeout=_TIMEOUT_SECONDS).items():
        try:
            done.result(_TIMEOUT_SECONDS)
            created.add(full)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise Fatal(f"cannot create topic {full}: {error.args[0].str()}") from error
    return created
