"""The ClickHouse table `scores`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from pactstream.clickhouse.client import ClickHouse

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _time(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def _same(value: Any) -> Any:
    return value


# Column: field of the Avro record, and how its value is written.
_COLUMNS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "agent_id": ("agent_id", UUID),
    "through_sequence": ("through_sequence", _same),
    "computed_at": ("computed_at_micros", _time),
    "first_received_at": ("first_received_at_micros", _time),
    "last_received_at": ("last_received_at_micros", _time),
    "sessions": ("sessions", _same),
    "tool_calls": ("tool_calls", _same),
    "bound_calls": ("bound_calls", _same),
    "valid_calls": ("valid_calls", _same),
    "violations": ("violations", _same),
    "dimensions": ("dimensions", _same),
    "composite": ("composite", _same),
    "confidence": ("confidence", _same),
}


def insert(database: ClickHouse, scores: Sequence[dict[str, Any]], token: str) -> None:
    """Write scores, as decoded from Avro, in one block.

    Raises:
        Retryable: ClickHouse does not answer; whether the block was written is not known.
        Fatal: there is no such table.
    """
    columns = {
        column: [convert(score[field]) for score in scores] for column, (field, convert) in _COLUMNS.items()
    }
    database.insert("scores", columns, token=token)
