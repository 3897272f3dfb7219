"""The topics, their settings, and `apply`, which creates them and says what differs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from pactstream.errors import Fatal, Retryable
from pactstream.kafka import config
from pactstream.settings import KafkaSettings

BATCHES = "telemetry.batches"
EVALUATED = "telemetry.evaluated"
PACTS = "pacts"
TENANTS = "tenants"
EVALUATOR_STATE = "evaluator.state"
HOLDS = "evaluator.holds"
WINDOWS = "behaviour.windows"
BEHAVIOUR_STATE = "behaviour.state"
ANOMALIES = "anomalies"
ANOMALY_STATE = "anomaly.state"
PAGES = "pages"
CHECKPOINTS = "ledger.checkpoints"
SEALER_STATE = "sealer.state"
SCORES = "trust.scores"
AGGREGATOR_STATE = "aggregator.state"
ISSUERS = "issuers"
SUBSCRIPTIONS = "trust.subscriptions"
DELIVERIES = "webhook.deliveries"
WEBHOOK_STATE = "webhook.state"
SAMPLES = "oracle.samples"
PAGE_DELIVERIES = "page.deliveries"
PAGING_STATE = "paging.state"
PAGING_ROUTES = "paging.routes"
PAGING_MARKS = "paging.marks"
CONSOLE_ENDED = "console.ended"

_LISTING_SECONDS = 0.1
_DAY_MS = 86_400_000
TOMBSTONE_MS = _DAY_MS
"""A deletion stays in a compacted topic for at least this long."""

_COMPACTED = {
    "cleanup.policy": "compact",
    "min.compaction.lag.ms": "60000",
    "segment.ms": str(_DAY_MS),
    "delete.retention.ms": str(TOMBSTONE_MS),
}
HOLDS_MS = 2 * 3_600_000
"""Holds are kept for this long, and none is made for longer (`MAX_HOLD_SECONDS` in the evaluator)."""

# What is restored is what has not been compacted or dropped yet: short segments keep it short.
_HELD = {
    "cleanup.policy": "compact,delete",
    "retention.ms": str(HOLDS_MS),
    "segment.ms": "600000",
    "min.compaction.lag.ms": "60000",
    "delete.retention.ms": str(HOLDS_MS),
}
_TIMEOUT_SECONDS = 30.0


def _kept(days: int) -> dict[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(days * _DAY_MS)}


# Faust's client has no zstd, which our producers use: the broker stores these in a form that it reads.
_FOR_FAUST = {"compression.type": "gzip"}
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
    Topic(ISSUERS, _COMPACTED, sharded=False),
    Topic(EVALUATOR_STATE, _COMPACTED),
    Topic(HOLDS, _HELD),
    Topic(WINDOWS, _kept(days=30) | _FOR_FAUST),
    Topic(BEHAVIOUR_STATE, _COMPACTED),
    Topic(ANOMALIES, _kept(days=90)),
    Topic(ANOMALY_STATE, _COMPACTED | _FOR_FAUST),
    # One partition, like the control plane: gateways follow it, and offsets order all that is told of a page.
    Topic(PAGES, _COMPACTED, sharded=False),
    Topic(PAGE_DELIVERIES, _COMPACTED),
    Topic(PAGE_DELIVERIES + ".dlq", _kept(days=30)),
    Topic(PAGING_STATE, _COMPACTED),
    Topic(PAGING_ROUTES, _COMPACTED, sharded=False),
    # A mark outlives what it guards: links live for a day, a notice is raised again for a few.
    Topic(
        PAGING_MARKS,
        _COMPACTED | {"cleanup.policy": "compact,delete", "retention.ms": str(30 * _DAY_MS)},
        sharded=False,
    ),
    # The list of segments is what everything derived from the ledger is rebuilt from.
    Topic(CHECKPOINTS, _FOREVER),
    Topic(SEALER_STATE, _COMPACTED),
    Topic(SCORES, _COMPACTED),
    Topic(AGGREGATOR_STATE, _COMPACTED),
    Topic(SUBSCRIPTIONS, _COMPACTED, sharded=False),
    # What is delivered is deleted: compaction leaves what is still on its way.
    Topic(DELIVERIES, _COMPACTED),
    Topic(DELIVERIES + ".dlq", _kept(days=30)),
    Topic(WEBHOOK_STATE, _COMPACTED),
    Topic(SAMPLES, _kept(days=7), sharded=False),
    # Each is deleted once its session would have ended by itself.
    Topic(CONSOLE_ENDED, _COMPACTED, sharded=False),
)


_GROWN_LAST = (CHECKPOINTS, WINDOWS, SCORES, EVALUATED, BATCHES)
"""Sources, in this order after all that their readers write."""


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
    admin = _admin(settings)
    wanted = {name(settings, one.name): (one, partitions if one.sharded else 1) for one in TOPICS}
    created: set[str] = set()
    # Again until all are listed: a broker may not show yet what was created a moment ago, by us or by others.
    for attempt in _until_listed():
        with attempt:
            missing = _missing(wanted, _partition_counts(admin))
            created |= _create(admin, [_new_topic(*one, replication) for one in missing])
            if missing:
                raise Retryable(f"Kafka does not list the topic {missing[0][0]} after its creation")
    return [f"{'created' if full in created else 'exists '}  {full}" for full in sorted(wanted)]


def grow(settings: KafkaSettings, partitions: int) -> Iterator[str]:
    """Add partitions to every sharded topic; safe to repeat, also after it was cut off. A line for each topic.

    Whatever reads a topic finds the partitions of all that it writes: so changelogs and outputs come before
    sources, and `telemetry.batches`, where events come in, last. Until then nothing goes to a new partition, so
    a crash anywhere leaves topics that work as before, and its count says that there is something left to do.

    Raises:
        Fatal: as `partitions_to_grow`; or the brokers refuse.
        Retryable: the brokers do not answer.
    """
    admin = _admin(settings)
    for full, before in partitions_to_grow(settings, partitions).items():
        _add_partitions(admin, full, partitions)
        yield f"{full}: {before} -> {partitions}"


def partitions_to_grow(settings: KafkaSettings, partitions: int) -> dict[str, int]:
    """The sharded topics with fewer partitions than this, in the order of growing, and how many each has.

    Raises:
        Fatal: a topic is missing, has more, or differs from the others by more than a growth that was cut off.
        Retryable: the brokers do not answer.
    """
    counts = _partition_counts(_admin(settings))
    sharded = [name(settings, one.name) for one in TOPICS if one.sharded and one.name not in _GROWN_LAST]
    sharded += [name(settings, one) for one in _GROWN_LAST]
    if missing := [full for full in sharded if full not in counts]:
        raise Fatal(f"there is no topic {missing[0]}; create the topics with: pactstream topics apply")
    before = counts[sharded[-1]]
    if before > partitions:
        raise Fatal(f"there are {before} partitions, and Kafka takes none away")
    for full in sharded:
        if counts[full] not in {before, partitions}:
            raise Fatal(
                f"{full} has {counts[full]} partitions, {sharded[-1]} has {before}: if a growth to "
                f"{counts[full]} was cut off, go on with that one first"
            )
    return {full: counts[full] for full in sharded if counts[full] < partitions}


def _admin(settings: KafkaSettings) -> AdminClient:
    return AdminClient(config.client(settings))


def _until_listed() -> Retrying:
    return Retrying(
        retry=retry_if_exception_type(Retryable),
        wait=wait_fixed(_LISTING_SECONDS),
        stop=stop_after_delay(_TIMEOUT_SECONDS),
        reraise=True,
    )


def _add_partitions(admin: AdminClient, full: str, partitions: int) -> None:
    """Returns once the new partitions are listed: the next topic's readers will look for them."""
    done = admin.create_partitions([NewPartitions(full, partitions)], operation_timeout=_TIMEOUT_SECONDS)
    try:
        done[full].result(_TIMEOUT_SECONDS)
    except KafkaException as error:
        raise Fatal(f"cannot add partitions to {full}: {error.args[0].str()}") from error
    for attempt in _until_listed():
        with attempt:
            if _partition_counts(admin).get(full) != partitions:
                raise Retryable(f"Kafka does not list the new partitions of {full}; run this again")


def _missing(wanted: dict[str, tuple[Topic, int]], existing: dict[str, int]) -> list[tuple[str, Topic, int]]:
    """What is not there yet. Raises Fatal: something is there and differs."""
    for full, (_, count) in wanted.items():
        if full in existing and existing[full] != count:
            raise Fatal(
                f"topic {full} has {existing[full]} partitions, not {count}: their number is fixed once "
                "agents have history; use the number it has, or grow: pactstream topics grow"
            )
    return [(full, topic, count) for full, (topic, count) in wanted.items() if full not in existing]


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
    # One with an error is about to be there, without its partitions yet.
    return {full: len(topic.partitions) for full, topic in listed.items() if topic.error is None}


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
