"""Copies `anomalies` to the ClickHouse table of that name, at least once; the table makes that exactly once.

The table keeps the row with the highest version of each tenant and anomaly: a row written twice, or an older
one after a newer, is the same as not written.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec

from pactstream import avro
from pactstream.clickhouse.client import ClickHouse
from pactstream.errors import InvalidInput
from pactstream.kafka import topics
from pactstream.kafka.copier import Copier
from pactstream.kafka.records import Record
from pactstream.settings import KafkaSettings

GROUP: Final = "anomaly-projector"
COLUMNS: Final = (
    "tenant_id",
    "agent_id",
    "anomaly_id",
    "kind",
    "status",
    "since",
    "detected_at",
    "features",
    "attribution",
    "evidence",
    "version",
)
_MAX_RECORDS = 1_000
_log = logging.getLogger(__name__)

Anomaly = dict[str, Any]


def insert(database: ClickHouse, anomalies: Sequence[Anomaly]) -> None:
    """Write rows in one block. Raises as `ClickHouse.insert`."""
    database.insert("anomalies", COLUMNS, [_row(one) for one in anomalies])


def _row(one: Anomaly) -> tuple[object, ...]:
    return (
        *(one[name] for name in COLUMNS[:5]),
        one["since_micros"],
        one["detected_at_micros"],
        msgspec.json.encode(one["features"]).decode(),
        msgspec.json.encode(one["attribution"]).decode(),
        one["evidence"],
        one["version"],
    )


def projector(
    settings: KafkaSettings, write: Callable[[Sequence[Anomaly]], None], interval_seconds: float
) -> Copier:
    """The loop that copies; `write` is `insert`, with its database."""

    def rows(records: Sequence[Record]) -> None:
        write(list(_decoded(records)))

    return Copier(
        settings, GROUP, topics.ANOMALIES, rows, max_records=_MAX_RECORDS, wait_seconds=interval_seconds
    )


def _decoded(records: Sequence[Record]) -> Iterator[Anomaly]:
    for record in records:
        try:
            yield avro.decode_as("Anomaly", record.value)
        except InvalidInput as error:
            _log.error("%s: the record at offset %s is skipped: %s", GROUP, record.offset, error)
