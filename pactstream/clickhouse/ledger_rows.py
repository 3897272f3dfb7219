"""What the rows of a leaf and of a segment say: written by the projector, compared by the audit.

Values are as ClickHouse takes them in MessagePack: UUIDs as text, times as microseconds since 1970, hashes as
bytes. What a leaf leaves out is null where the column is nullable, and empty otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Final

import msgspec

from pactstream import canonical, clock
from pactstream.errors import InvalidInput
from pactstream.ledger import segment
from pactstream.ledger.leaf import Leaf, encode_leaf
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


class _Pact(msgspec.Struct, gc=False):
    id: str
    version: int | None = None


class _Violation(msgspec.Struct, rename="camel", gc=False):
    param_path: str
    rule: str
    severity: str


class _Verdict(msgspec.Struct, gc=False):
    bound: bool
    valid: bool
    violations: tuple[_Violation, ...]
    severity: str | None = None
    omitted: int = 0


class _Source(msgspec.Struct, gc=False):
    partition: int
    offset: int
    index: int


class RowLeaf(msgspec.Struct, rename="camel", gc=False, kw_only=True):
    """What of a sealed leaf goes into columns; the rest, most of its bytes, is skipped over unread."""

    agent_id: str
    event_id: str
    latency_ms: float | None = None
    occurred_at: str
    outcome: str = ""
    pact: _Pact | None = None
    parent_event_id: str | None = None
    received_at: str
    room_id: str | None = None
    sequence: int
    session_id: str
    severity: str | None = None
    source: _Source
    tenant: str
    token_count: int | None = None
    tool: str = ""
    type: str
    verdict: _Verdict | None = None


decode_row_leaf: Callable[[bytes], RowLeaf] = msgspec.json.Decoder(RowLeaf).decode
"""The columns' part of a leaf that was sealed, so is well formed."""

_NO_PACT: Final = _Pact(id="")
_NO_VERDICT: Final = _Verdict(bound=False, valid=False, violations=())


def leaf_values(leaf: RowLeaf) -> tuple[object, ...]:
    """The values of `LEAF_COLUMNS`.

    Raises:
        InvalidInput: as `check_times`.
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
        leaf.tool,
        leaf.outcome,
        leaf.latency_ms,
        leaf.token_count,
        pact.id or None,
        pact.version,
        verdict.bound,
        None if leaf.verdict is None else verdict.valid,
        leaf.severity or verdict.severity or "",
        *_violation_lists(violations),
        verdict.omitted,
        source.partition,
        source.offset,
        source.index,
    )


def _violation_lists(violations: tuple[_Violation, ...]) -> tuple[list[str], list[str], list[str]]:
    if not violations:
        return [], [], []
    return (
        [one.param_path for one in violations],
        [one.rule for one in violations],
        [one.severity for one in violations],
    )


def leaf_columns(leaf: Leaf) -> dict[str, object]:
    """`leaf_values` by column. Raises `InvalidInput` as it does."""
    return dict(zip(LEAF_COLUMNS, leaf_values(decode_row_leaf(encode_leaf(leaf))), strict=True))


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
