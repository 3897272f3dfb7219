"""What the rows of a leaf and of a segment say: written by the projector, compared by the audit.

Values are as ClickHouse takes them in MessagePack: UUIDs as text, times as microseconds since 1970, hashes as
bytes. What a leaf leaves out is null where the column is nullable, and empty otherwise.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache

import msgspec

from pactstream import canonical, clock
from pactstream.errors import InvalidInput
from pactstream.ledger import segment
from pactstream.ledger.leaf import Leaf, LeafVerdict, PactRef
from pactstream.ledger.segment import SegmentHeader

LEAF_COLUMNS = (
    "event_id",
    "type",
    "agent_id",
    "tenant",
    "session_id",
    "room_id",
    "parent_event_id",
    "sequence",
    "occurred_at",
    "received_at",
    "tool",
    "outcome",
    "latency_ms",
    "token_count",
    "pact_id",
    "pact_version",
    "bound",
    "valid",
    "severity",
    "violations.param_path",
    "violations.rule",
    "violations.severity",
    "violations_omitted",
    "source_partition",
    "source_offset",
    "source_index",
)
"""The columns of `room_events` that a leaf determines."""

SEGMENT_COLUMNS = (
    "log",
    "segment_index",
    "first_leaf",
    "leaves",
    "tree_size",
    "root",
    "segment_hash",
    "first_offset",
    "next_offset",
    "sealed_at",
)
"""The columns of `ledger_segments` that a header determines."""

# What DateTime64(6) can hold.
_FIRST_YEAR, _YEAR_AFTER_LAST = "1900", "2300"
_NO_PACT = PactRef(id="")
_NO_VERDICT = LeafVerdict(bound=False, valid=True, violations=())


def leaf_values(leaf: Leaf) -> tuple[object, ...]:
    """The values of `LEAF_COLUMNS`.

    Raises:
        InvalidInput: a time that is none, or that ClickHouse cannot hold.
    """
    pact = leaf.pact or _NO_PACT
    verdict = leaf.verdict or _NO_VERDICT
    violations = verdict.violations
    source = leaf.source
    return (
        leaf.event_id,
        leaf.type,
        leaf.agent_id,
        leaf.tenant,
        leaf.session_id,
        leaf.room_id,
        leaf.parent_event_id,
        leaf.sequence,
        _micros(leaf.occurred_at),
        _micros(leaf.received_at),
        leaf.tool or "",
        leaf.outcome or "",
        leaf.latency_ms,
        leaf.token_count,
        pact.id or None,
        pact.version,
        verdict.bound,
        None if leaf.verdict is None else verdict.valid,
        verdict.severity or "",
        [one.param_path for one in violations],
        [one.rule for one in violations],
        [one.severity for one in violations],
        verdict.omitted,
        source.partition,
        source.offset,
        source.index,
    )


def leaf_columns(leaf: Leaf) -> dict[str, object]:
    """`leaf_values` by column. Raises `InvalidInput` as it does."""
    return dict(zip(LEAF_COLUMNS, leaf_values(leaf), strict=True))


def segment_values(header: SegmentHeader) -> tuple[object, ...]:
    """The values of `SEGMENT_COLUMNS`."""
    # A parsed header is canonical, so these are the bytes it was parsed from.
    data = canonical.dumps(msgspec.to_builtins(header))
    return (
        header.source.partition,
        header.index,
        header.first_leaf,
        header.leaves,
        header.tree_size,
        bytes.fromhex(header.root),
        segment.header_hash(data),
        header.source.first_offset,
        header.source.next_offset,
        _micros(header.sealed_at),
    )


def segment_columns(header: SegmentHeader) -> dict[str, object]:
    """`segment_values` by column."""
    return dict(zip(SEGMENT_COLUMNS, segment_values(header), strict=True))


@lru_cache(maxsize=1024)  # the events of a batch share the time of its arrival
def _micros(text: str) -> int:
    if not _FIRST_YEAR <= text < _YEAR_AFTER_LAST:
        raise InvalidInput(f"a year outside {_FIRST_YEAR} to {_YEAR_AFTER_LAST}: {text[:4]}")
    try:
        return clock.to_micros(datetime.fromisoformat(text))
    except ValueError as error:
        raise InvalidInput(f"not a time: {error}") from error
