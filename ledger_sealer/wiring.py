"""Puts the sealer's parts together."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from confluent_kafka.admin import AdminClient

from ledger_sealer.entries import SealedEntries
from ledger_sealer.key_list import KeyList
from ledger_sealer.publication import Publication
from ledger_sealer.published import last_published
from ledger_sealer.publisher import Publisher
from ledger_sealer.sealer import Log, SealerTask
from ledger_sealer.settings import SealerSettings
from pactstream.clickhouse.client import ClickHouse
from pactstream.errors import Fatal
from pactstream.kafka import config, topics
from pactstream.kafka.processor import Plan, Processor
from pactstream.ledger.note import NoteError
from pactstream.ledger.publisher import LogPublisher
from pactstream.ledger.tile_store import TileDirectory
from pactstream.ledger.verification import LEDGER
from pactstream.ledger.witness_client import Cosigners, Send, http_send
from pactstream.settings import KafkaSettings
from pactstream.signing.keys import SigningKey

GROUP = "ledger-sealer"
_TIMEOUT_SECONDS = 15.0


def build(settings: SealerSettings, key: SigningKey) -> Processor:
    """The loop that seals `telemetry.evaluated`, signing with `key`."""

    def make_task(partition: int) -> SealerTask:
        origin = f"{settings.deployment}/ledger/{partition}"
        # Read before the state is restored: a former holder's last segment may show in one and not in the
        # other, and only a state that is *behind* is a fault.
        published = last_published(settings, partition)
        return SealerTask(Log(partition, origin, key.note_signer(origin)), published)

    plan = Plan(
        group=GROUP,
        source=topics.EVALUATED,
        changelog=topics.SEALER_STATE,
        make_task=make_task,
        max_events=settings.segment_max_leaves,
        linger_seconds=settings.segment_interval_seconds,
    )
    return Processor(settings, plan)


def build_publisher(
    settings: SealerSettings, key: SigningKey, database: ClickHouse, directory: Path
) -> Publisher:
    """The loop that publishes what is sealed into `directory`.

    Raises:
        Fatal: the witnesses, or how many of them must cosign, make no sense.
    """
    keys = KeyList(key.public, settings.key_dir, settings.deployment)
    cosigners = _cosigners(settings)

    def open_log(log: int) -> Publication:
        files = directory / LEDGER / str(log)

        def publisher() -> LogPublisher:
            return LogPublisher(
                keys.origin(log), partial(keys.verifiers, log), TileDirectory(files), cosigners()
            )

        return Publication(log, files, publisher, SealedEntries(settings, database, log))

    return Publisher(
        settings,
        open_log,
        settings.publish_interval_seconds,
        lambda: keys.publish(directory, range(_log_count(settings))),
    )


def _cosigners(settings: SealerSettings) -> Callable[[], Cosigners | None]:
    """Makes the witnesses of a log; each log has its own, because what they cosigned last differs."""
    addresses = settings.witness_addresses()
    if not addresses:
        return lambda: None
    quorum = len(addresses) if settings.witness_quorum is None else settings.witness_quorum
    send: Send = http_send(settings.witness_timeout_seconds)

    def make() -> Cosigners:
        return Cosigners(addresses, quorum, send, fail_closed=settings.witness_fail_closed)

    try:
        make()
    except NoteError as error:
        raise Fatal(f"PACTSTREAM_WITNESSES, PACTSTREAM_WITNESS_QUORUM: {error}") from None
    return make


def _log_count(settings: KafkaSettings) -> int:
    topic = topics.name(settings, topics.CHECKPOINTS)
    listed = AdminClient(config.client(settings)).list_topics(topic, timeout=_TIMEOUT_SECONDS)
    return len(listed.topics[topic].partitions)
