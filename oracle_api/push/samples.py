"""Copies `oracle.samples` to ClickHouse, at least once; a sample copied twice is one row of the table.

It is the only table that this process may write: `GRANT INSERT ON oracle_samples`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from pactstream import avro
from pactstream.clickhouse.client import ClickHouse
from pactstream.errors import InvalidInput
from pactstream.kafka import topics
from pactstream.kafka.copier import Copier
from pactstream.kafka.records import Record
from pactstream.settings import KafkaSettings

GROUP: Final = "oracle-samples"
_MAX_RECORDS = 1_000
_WAIT_SECONDS = 0.5
_FIELDS = (
    "instance",
    "at_micros",
    "seconds",
    "requests",
    "failures",
    "buckets",
    "checks",
    "failed_checks",
    "lag_seconds",
)
_log = logging.getLogger(__name__)
_Row = tuple[Any, ...]


def insert(database: ClickHouse, rows: Sequence[_Row]) -> None:
    """Write samples in one block. Raises as `ClickHouse.insert`."""
    columns = tuple("at" if name == "at_micros" else name for name in _FIELDS)
    database.insert("oracle_samples", columns, rows)


def copier(settings: KafkaSettings, write: Callable[[Sequence[_Row]], None]) -> Copier:
    """The loop that copies; `write` is `insert`, with its database."""

    def rows(records: Sequence[Record]) -> None:
        write(list(_rows(records)))

    return Copier(settings, GROUP, topics.SAMPLES, rows, max_records=_MAX_RECORDS, wait_seconds=_WAIT_SECONDS)


def _rows(records: Sequence[Record]) -> Iterator[_Row]:
    for record in records:
        try:
            sample = avro.decode_as("OracleSample", record.value or b"")
        except InvalidInput as error:
            _log.error("%s: the record at offset %s is skipped: %s", GROUP, record.offset, error)
        else:
            yield tuple(sample[name] for name in _FIELDS)
