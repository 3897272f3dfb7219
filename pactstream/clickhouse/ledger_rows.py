"""What the rows of a leaf and of a segment say: written by the projector, compared by the audit.

Values are as ClickHouse takes them in MessagePack: UUIDs as text, times as microseconds since 1970, hashes as
bytes. What a leaf leaves out is null where the column is nullable, and empty otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec

from pactstream import canonical, clock
from pactstream.errors import InvalidInput
from pactstream.ledger import segment
from pactstream.ledger.leaf import Leaf
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
_NOTHING: Mapping[str, Any] = {}
_NO_VERDICT: Mapping[str, Any] = {"bound": False, "valid": None, "violations": ()}


def leaf_values(leaf: Mapping[str, Any]) -> tuple[object, ...]:
    """The values of `LEAF_COLUMNS` from the members of a leaf that was sealed, so is well formed.

    Raises:
        InvalidInput: as `check_times`.
    """
    member = leaf.get
    pact = member("pact", _NOTHING)
    verdict = member("verdict", _NO_VERDICT)
    violations = verdict["violations"]
    source = leaf["source"]
    latency = member("latencyMs")
    return (
        leaf["eventId"],
        leaf["type"],
        leaf["agentId"],
        leaf["tenant"],
        leaf["sessionId"],
        member("roomId"),
        member("parentEventId"),
        leaf["sequence"],
        _micros(leaf["occurredAt"]),
        _micros(leaf["receivedAt"]),
        member("tool", ""),
        member("outcome", ""),
        None if latency is None else float(latency),
        member("tokenCount"),
        pact.get("id"),
        pact.get("version"),
        verdict["bound"],
        verdict["valid"],
        member("severity") or verdict.get("severity", ""),
        [one["paramPath"] for one in violations],
        [one["rule"] for one in violations],
        [one["severity"] for one in violations],
        verdict.get("omitted", 0),
        source["partition"],
        source["offset"],
        source["index"],
    )


def leaf_columns(leaf: Leaf) -> dict[str, object]:
    """`leaf_values` by column. Raises `InvalidInput` as it does."""
    return dict(zip(LEAF_COLUMNS, leaf_values(msgspec.to_builtins(leaf)), strict=True))


def check_times(leaf: Leaf) -> None:
    """Check that the leaf's times are times, in years that ClickHouse can hold. Raises `InvalidInput`."""
    _micros(leaf.occurred_at)
    _micros(leaf.received_at)


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
