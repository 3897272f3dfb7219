"""Opening the store of a partition: locked, and checked against the changelog that it was made of."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Final
from weakref import WeakSet

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from pactstream import clock, metrics
from pactstream.errors import Retryable
from pactstream.kafka import config, topics
from pactstream.kafka.disk_store import Mark, Origin, Shared, open_store
from pactstream.kafka.offsets import high_watermarks, low_watermarks
from pactstream.kafka.state_store import MemoryStore, StateStore
from pactstream.settings import ServiceSettings

MAX_AGE_MICROS: Final = topics.TOMBSTONE_MS // 2 * 1_000
"""Compaction drops a deletion after `topics.TOMBSTONE_MS`: a store that lay longer might miss one."""

_TIMEOUT_SECONDS = 30.0
_BYTES = metrics.gauge("pactstream_state_bytes")
_FREE = metrics.gauge("pactstream_state_disk_free_bytes")


class Stores:
    """Opens stores for one kind of worker: in memory without a directory, else on disk below it.

    Each process has its own: the path holds topic prefix, group and instance name.
    """

    def __init__(self, settings: ServiceSettings, group: str, changelog: str) -> None:
        self._settings = settings
        self._topic = topics.name(settings, changelog)
        self._directory = (
            None
            if settings.state_dir is None
            else settings.state_dir / (settings.kafka_topic_prefix + group) / settings.instance
        )
        self._shared = None if self._directory is None else Shared.new()
        self._open: WeakSet[StateStore] = WeakSet()
        _BYTES.labels(group).set_function(lambda: sum(store.size_bytes for store in list(self._open)))
        if settings.state_dir is not None:
            _FREE.labels(group).set_function(partial(_free_bytes, settings.state_dir))

    def open(self, partition: int) -> StateStore:
        """The store of a partition, at whatever position it was left.

        Raises:
            Retryable: another process has it, or the brokers do not answer.
            Fatal: the directory cannot be used.
        """
        store = self._opened(partition)
        self._open.add(store)
        return store

    def _opened(self, partition: int) -> StateStore:
        if self._directory is None or self._shared is None:
            return MemoryStore()
        admin = AdminClient(config.client(self._settings))
        origin = _origin(admin, self._topic, partition)
        first = low_watermarks(admin, self._topic, [partition], _TIMEOUT_SECONDS)[partition]
        end = high_watermarks(admin, self._topic, [partition], _TIMEOUT_SECONDS)[partition]
        check = partial(fault_of, first=first, end=end, now_micros=clock.now_micros())
        return open_store(self._directory / str(partition), origin, self._shared, check)


def fault_of(mark: Mark, *, first: int, end: int, now_micros: int) -> str | None:
    """Why a changelog that holds the offsets from `first` to before `end` does not lead on from a store."""
    if mark.position > end:
        return f"it has come to offset {mark.position}, and the changelog ends at {end}"
    if mark.position == 0:
        return None
    if mark.position < first:
        return f"it has come to offset {mark.position}, and the changelog begins at {first}"
    # The marker of the store's own last transaction stands after its position.
    if end - mark.position > 1 and now_micros - mark.written_at_micros > MAX_AGE_MICROS:
        return "it has not been written for so long that deletions may be gone from the changelog"
    return None


def _free_bytes(directory: Path) -> float:
    """What is left on the directory's disk; NaN where that cannot be told, as before it is made."""
    try:
        return shutil.disk_usage(directory).free
    except OSError:
        return float("nan")


def _origin(admin: AdminClient, topic: str, partition: int) -> Origin:
    try:
        cluster = admin.describe_cluster(request_timeout=_TIMEOUT_SECONDS).result(_TIMEOUT_SECONDS).cluster_id
        asked = admin.describe_topics(TopicCollection([topic]), request_timeout=_TIMEOUT_SECONDS)
        topic_id = asked[topic].result(_TIMEOUT_SECONDS).topic_id
    except (KafkaException, TimeoutError) as error:
        fault = error.args[0].str() if isinstance(error, KafkaException) else "no answer in time"
        raise Retryable(f"the topic {topic} cannot be described: {fault}") from error
    return Origin(str(cluster), topic, str(topic_id), partition)
