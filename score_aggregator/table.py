"""The ClickHouse table `scores`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from pactstream import clock
from pactstream.clickhouse.client import ClickHouse

Score = Mapping[str, Any]
"""A score as decoded from Avro."""

# Column: field of the Avro record. Times are microseconds in both.
_COLUMNS: Final = {
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
    "composite": "composite",
    "points": "points",
    "confidence": "confidence",
    "covered_weight": "covered_weight",
    "sample_size": "sample_size",
    "method": "method",
}
_DIMENSIONS: Final = {
    f"dimensions.{name}": name for name in ("name", "weight", "score", "confidence", "sample_size")
}
_ATTESTATIONS: Final = {
    "attestations.attestation_id": "attestation_id",
    "attestations.kind": "kind",
    "attestations.issuer": "issuer",
    "attestations.issued_at": "issued_at_micros",
    "attestations.expires_at": "expires_at_micros",
    "attestations.sequence": "sequence",
    "attestations.claim": "claim",
}
_ALL: Final = ("day", "nightly", "tier", "dimensions.inputs", *_COLUMNS, *_DIMENSIONS, *_ATTESTATIONS)
_DAY_MICROS: Final = 86_400 * clock.MICROS_PER_SECOND


def day_of(micros: int) -> int:
    """The day (UTC) since 1970, as ClickHouse's `Date` counts."""
    return micros // _DAY_MICROS


def insert(database: ClickHouse, scores: Sequence[Score]) -> None:
    """Write live scores in one block.

    Raises:
        Retryable: ClickHouse does not answer; whether the block was written is not known.
        Fatal: there is no such table.
    """
    _insert(database, scores, nightly=False)


def insert_nightly(database: ClickHouse, scores: Iterable[Score]) -> None:
    """Write nightly scores in one block. Raises as `insert`."""
    _insert(database, scores, nightly=True)


def _insert(database: ClickHouse, scores: Iterable[Score], *, nightly: bool) -> None:
    database.insert("scores", _ALL, [_row(score, nightly) for score in scores])


def _row(score: Score, nightly: bool) -> tuple[object, ...]:
    dimensions, attestations = score["dimension_scores"], score["attestations"]
    return (
        day_of(score["computed_at_micros"]),
        nightly,
        score["tier"] or "",
        [msgspec.json.encode(one["inputs"]).decode() for one in dimensions],
        *(score[name] for name in _COLUMNS.values()),
        *([one[name] for one in dimensions] for name in _DIMENSIONS.values()),
        *([one[name] for one in attestations] for name in _ATTESTATIONS.values()),
    )
