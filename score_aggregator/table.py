"""The ClickHouse table `scores`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pactstream.clickhouse.client import ClickHouse

# Column: field of the Avro record. Times are microseconds in both.
_COLUMNS = {
    "agent_id": "agent_id",
    "through_sequence": "through_sequence",
    "computed_at": "computed_at_micros",
    "first_received_at": "first_received_at_micros",
    "last_received_at": "last_received_at_micros",
    "sessions": "sessions",
    "tool_calls": "tool_calls",
    "bound_calls": "bound_calls",
    "valid_calls": "valid_calls",
    "violations": "violations",
    "dimensions": "dimensions",
    "composite": "composite",
    "confidence": "confidence",
}


def insert(database: ClickHouse, scores: Sequence[dict[str, Any]]) -> None:
    """Write scores, as decoded from Avro, in one block.

    Raises:
        Retryable: ClickHouse does not answer; whether the block was written is not known.
        Fatal: there is no such table.
    """
    rows = [tuple(score[field] for field in _COLUMNS.values()) for score in scores]
    database.insert("scores", tuple(_COLUMNS), rows)
