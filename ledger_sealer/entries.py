"""The leaves of sealed segments: from Kafka, or past its retention from ClickHouse."""

from __future__ import annotations

import logging

from ledger_sealer.rows import sealed_events
from ledger_sealer.segment_source import PastRetention, SegmentSource
from pactstream.clickhouse.client import ClickHouse
from pactstream.ledger.segment import SegmentHeader
from pactstream.settings import KafkaSettings

_LEAVES = """
SELECT leaf FROM room_events
WHERE log = {log:UInt16} AND leaf_index >= {first:UInt64} AND leaf_index < {end:UInt64}
ORDER BY leaf_index
"""
_log = logging.getLogger(__name__)


class SealedEntries:
    """A `publication.Entries`. Wrong leaves do no harm: the publisher checks them against the signed root."""

    def __init__(self, settings: KafkaSettings, database: ClickHouse, log: int) -> None:
        self._settings = settings
        self._database = database
        self._number = log
        self._source: SegmentSource | None = None

    def read(self, header: SegmentHeader) -> list[bytes]:
        """The segment's leaves in order.

        Raises:
            PastRetention: Kafka has them no longer, and ClickHouse has them not.
            Retryable: they did not come in time.
            KafkaException: the broker refused.
        """
        if self._source is None:
            self._source = SegmentSource(self._settings, self._number)
        try:
            return [event["leaf"] for event in sealed_events(header, self._source.read(header))]
        except PastRetention:
            leaves = self._projected(header)
            if len(leaves) != header.leaves:
                raise
            _log.info("%s, segment %d: its leaves come from ClickHouse", header.origin, header.index)
            return leaves

    def close(self) -> None:
        """Stop reading."""
        if self._source is not None:
            self._source.close()
            self._source = None

    def _projected(self, header: SegmentHeader) -> list[bytes]:
        bounds = {"log": self._number, "first": header.first_leaf, "end": header.tree_size}
        return [leaf.encode() for (leaf,) in self._database.rows(_LEAVES, bounds)]
