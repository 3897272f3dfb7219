"""How far a member of a consumer group is behind, as a metric."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from pactstream import metrics

INTERVAL_MS: Final = 10_000
_GAUGE = metrics.gauge("pactstream_consumer_lag_records")
_ACTIVE: Final = "active"
_Labels = tuple[str, str, str]
_shown: Final[dict[str, set[_Labels]]] = {}
"""Of each group in this process: a consumer that begins anew takes down what its former self showed."""


class ConsumerLag:
    """Takes librdkafka's statistics (its STATISTICS.md), a document every `INTERVAL_MS`, within `poll`.

    A partition that went to another member is no longer shown here.
    """

    def __init__(self, group: str, topic_prefix: str) -> None:
        self._group = group
        self._prefix = topic_prefix

    def __call__(self, statistics: str) -> None:
        """Show what one document says."""
        show(self._group, self._prefix, self._lags(_decode(statistics)))

    def _lags(self, found: _Statistics) -> Iterator[tuple[str, int, int]]:
        for topic, told in found.topics.items():
            for one in told.partitions.values():
                if one.fetch_state == _ACTIVE and (lag := one.lag()) is not None:
                    yield topic, one.partition, lag


def show(group: str, topic_prefix: str, lags: Iterable[tuple[str, int, int]]) -> None:
    """Show what a member of `group` holds: full name of the topic, partition, offsets behind."""
    held = {(group, topic.removeprefix(topic_prefix), str(partition)): lag for topic, partition, lag in lags}
    for labels in _shown.get(group, set()) - held.keys():
        _GAUGE.remove(*labels)
    for labels, lag in held.items():
        _GAUGE.labels(*labels).set(lag)
    _shown[group] = set(held)


class _Partition(msgspec.Struct):
    """Offsets below zero are not known, or not yet."""

    partition: int
    fetch_state: str
    fetchq_cnt: int
    app_offset: int
    next_offset: int
    ls_offset: int

    def lag(self) -> int | None:
        """From where the application reads on to the last committed record; None while unknown.

        Its own `consumer_lag` counts from offsets that a consumer commits, and ours go with transactions.
        """
        if self.ls_offset < 0 or self.next_offset < 0:
            return None
        if self.next_offset >= self.ls_offset and not self.fetchq_cnt:
            return 0  # what may stand between is markers of transactions, which nobody is given
        return max(0, self.ls_offset - (self.app_offset if self.app_offset >= 0 else self.next_offset))


class _Topic(msgspec.Struct):
    partitions: dict[str, _Partition]


class _Statistics(msgspec.Struct):
    topics: dict[str, _Topic]


_decode = msgspec.json.Decoder(_Statistics).decode
