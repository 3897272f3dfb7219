"""Copies `trust.scores` to the ClickHouse table `scores`, at least once; the table makes that exactly once.

The table keeps one live row for each agent and day, the one computed last (ReplacingMergeTree). A score written
twice, or an older one after a newer, is the same as not written. So no state has to be kept here, and no token
has to outlive a restart.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pactstream import avro, metrics
from pactstream.errors import InvalidInput
from pactstream.kafka import topics
from pactstream.kafka.copier import Copier
from pactstream.kafka.records import Record
from pactstream.settings import KafkaSettings
from score_aggregator.table import day_of

GROUP = "score-projector"
_MAX_RECORDS = 5_000

_log = logging.getLogger(__name__)
_ROWS = metrics.counter("pactstream_score_rows_total")
_SKIPPED = metrics.counter("pactstream_score_rows_skipped_total")

Score = dict[str, Any]


def newest(scores: Iterable[Score]) -> list[Score]:
    """The last score of each agent and day (UTC) of computing: what the table would keep of them."""
    kept = {(one["agent_id"], day_of(one["computed_at_micros"])): one for one in scores}
    return list(kept.values())


def projector(
    settings: KafkaSettings, insert: Callable[[Sequence[Score]], None], interval_seconds: float
) -> Copier:
    """The loop that copies; `insert` is the table's, with its database."""

    def write(records: Sequence[Record]) -> None:
        rows = newest(filter(None, (decoded(record.value, record.offset) for record in records)))
        insert(rows)
        _ROWS.inc(len(rows))

    return Copier(
        settings, GROUP, topics.SCORES, write, max_records=_MAX_RECORDS, wait_seconds=interval_seconds
    )


def decoded(value: bytes | None, offset: int | None) -> Score | None:
    """The score in a record; None for a deletion, and for what is none, which is counted and logged."""
    if value is None:
        return None
    try:
        return avro.decode_as("Score", value)
    except InvalidInput as error:
        _SKIPPED.inc()
        _log.error("%s: a record at offset %s is skipped: %s", GROUP, offset, error)
        return None
