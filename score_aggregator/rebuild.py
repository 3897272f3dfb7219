"""Makes the table `scores` again in another database: `python -m score_aggregator.rebuild`.

From `trust.scores`, which is compacted: the latest score of each agent is always there, those of earlier days
only until compaction.
"""

from __future__ import annotations

import sys

from pactstream import settings, worker
from pactstream.clickhouse.client import ClickHouse
from pactstream.errors import PactstreamError
from pactstream.kafka import topics
from pactstream.kafka.scan import partitions, scan
from score_aggregator import table
from score_aggregator.projector import Score, decoded, newest

_ROWS_AT_ONCE = 5_000


class RebuildSettings(settings.KafkaSettings, settings.ClickHouseSettings):
    """Where the topic is, and the database to fill."""


def rebuild(kafka: settings.KafkaSettings, database: ClickHouse) -> int:
    """Write every score that the topic has; how many rows were written. Repeating it changes nothing.

    Raises:
        Fatal: no such topic or table, not authorised.
        Retryable: Kafka or ClickHouse does not answer.
    """
    written = 0
    waiting: list[Score] = []
    for log in partitions(kafka, topics.SCORES):
        for record, _ in scan(kafka, topics.SCORES, {log: 0}):
            if (score := decoded(record.value, record.offset)) is not None:
                waiting.append(score)
            if len(waiting) == _ROWS_AT_ONCE:
                written += _write(database, waiting)
    return written + _write(database, waiting)


def _write(database: ClickHouse, waiting: list[Score]) -> int:
    rows = newest(waiting)
    if rows:
        table.insert(database, rows)
    waiting.clear()
    return len(rows)


def main() -> int:
    """Fill the database of the settings; 0 when it is complete, 3 when that was not possible."""
    try:
        ours = settings.load(RebuildSettings)
        with ClickHouse(ours) as database:
            written = rebuild(ours, database)
    except PactstreamError as error:
        sys.stderr.write(f"pactstream: {error}\n")
        return worker.EXIT_FATAL
    sys.stdout.write(f"{written} scores\n")
    return worker.EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
