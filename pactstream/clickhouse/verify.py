"""Verifies the ledger as it stands in ClickHouse: recomputes every hash, link, root and column of every log."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from pactstream.clickhouse.client import ClickHouse
from pactstream.clickhouse.ledger_rows import LEAF_COLUMNS, SEGMENT_COLUMNS, leaf_columns, segment_columns
from pactstream.errors import InvalidInput
from pactstream.ledger.audit import Columns, Fault, Finding, LeafRow, LogAudit, SegmentRow
from pactstream.ledger.leaf import Leaf
from pactstream.ledger.note import Checkpoint
from pactstream.signing.jwks import PublicKey
from pactstream.signing.keys import note_verifier

MAX_FINDINGS = 1_000

# The same Python values as `ledger_rows` gives.
_FORMATS = {"UUID": "string", "DateTime64": "int"}
_ROWS_A_READ = 10_000
_IN_FLIGHT_SECONDS = 10.0

_LOGS = "SELECT DISTINCT log FROM ledger_segments UNION DISTINCT SELECT DISTINCT log FROM room_events"
_ENDS = """
SELECT if(count() = 0, 0, max(segment_index) + 1), max(tree_size) FROM ledger_segments WHERE log = {log:UInt16}
"""
# Read on by key, so that each read costs the same; with ties, so that no second row of an index is lost.
_SEGMENTS = f"""
SELECT segment_index, header, checkpoint, {", ".join(SEGMENT_COLUMNS)} FROM ledger_segments
WHERE log = {{log:UInt16}} AND segment_index >= {{first:UInt64}} AND segment_index < {{end:UInt64}}
ORDER BY segment_index LIMIT {_ROWS_A_READ} WITH TIES
"""  # noqa: S608 - our own constants
_LEAVES = f"""
SELECT leaf_index, leaf, leaf_hash, {", ".join(LEAF_COLUMNS)} FROM room_events
WHERE log = {{log:UInt16}} AND leaf_index >= {{first:UInt64}} AND leaf_index < {{end:UInt64}}
ORDER BY leaf_index LIMIT {_ROWS_A_READ} WITH TIES
"""  # noqa: S608 - our own constants
_UNSEALED = """
SELECT leaf_index, toString(event_id) FROM room_events
WHERE log = {log:UInt16}
  AND leaf_index >= (SELECT max(tree_size) FROM ledger_segments WHERE log = {log:UInt16})
ORDER BY leaf_index LIMIT {limit:UInt64}
"""


@dataclass(frozen=True, slots=True)
class LogReport:
    """What the audit of one log found. `findings` holds the first `MAX_FINDINGS`; `faults` counts all."""

    origin: str
    leaves: int
    segments: int
    unverified_roots: int
    faults: int
    findings: tuple[Finding, ...]
    checkpoint: Checkpoint


def verify_ledger(
    database: ClickHouse,
    *,
    deployment: str,
    keys: Sequence[PublicKey],
    seen: Mapping[str, Checkpoint] | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> list[LogReport]:
    """Audit every log of `deployment`, one report each; the ledger is sound when none has faults.

    `keys` are all that the ledger was ever signed with. `seen`: remembered checkpoints by origin, which the
    logs must extend. `on_progress(origin, leaves done, leaves in all)` is called for each block read. Leaves
    that the projector writes meanwhile are left to the next audit. Memory is bounded by the number of agents.

    Raises:
        Retryable: ClickHouse does not answer.
    """
    return [
        _verify_log(database, log, f"{deployment}/ledger/{log}", keys, seen or {}, on_progress)
        for log in sorted(row[0] for row in database.rows(_LOGS))
    ]


def _verify_log(
    database: ClickHouse,
    log: int,
    origin: str,
    keys: Sequence[PublicKey],
    seen: Mapping[str, Checkpoint],
    on_progress: Callable[[str, int, int], None] | None,
) -> LogReport:
    ((segments, tree_size),) = database.rows(_ENDS, {"log": log})
    audit = LogAudit(
        origin=origin,
        verifiers=[note_verifier(key, origin) for key in keys],
        project_leaf=_expected_columns,
        project_segment=segment_columns,
        seen=seen.get(origin),
    )

    def progress(leaves: int) -> None:
        if on_progress is not None:
            on_progress(origin, leaves, tree_size)

    kept: list[Finding] = []
    faults = 0
    segment_rows = _segments(database, log, segments)
    for finding in audit.findings(segment_rows, _leaves(database, log, tree_size, progress)):
        faults += 1
        if len(kept) < MAX_FINDINGS:
            kept.append(finding)
    unsealed = _unsealed(database, log, origin)
    kept += unsealed
    return LogReport(
        origin=origin,
        leaves=audit.leaves,
        segments=audit.segments,
        unverified_roots=audit.unverified_roots,
        faults=faults + len(unsealed),
        findings=tuple(kept),
        checkpoint=audit.checkpoint,
    )


def _expected_columns(leaf: Leaf) -> Columns:
    try:
        return leaf_columns(leaf)
    except InvalidInput:
        # No such leaf is ever sealed: this one was changed. Its time is no column's value.
        return {"occurred_at": leaf.occurred_at, "received_at": leaf.received_at}


def _segments(database: ClickHouse, log: int, end: int) -> Iterator[SegmentRow]:
    for _, header, note, *values in _read(database, _SEGMENTS, log, end):
        yield SegmentRow(header.encode(), note.encode(), dict(zip(SEGMENT_COLUMNS, values, strict=True)))


def _leaves(database: ClickHouse, log: int, end: int, progress: Callable[[int], None]) -> Iterator[LeafRow]:
    for done, (index, leaf, leaf_hash, *values) in enumerate(_read(database, _LEAVES, log, end), 1):
        # What is not UTF-8 any more was read as its hexadecimal form: not a leaf, and not what was hashed.
        yield LeafRow(index, leaf.encode(), leaf_hash, dict(zip(LEAF_COLUMNS, values, strict=True)))
        if done % _ROWS_A_READ == 0:
            progress(done)


def _read(database: ClickHouse, sql: str, log: int, end: int) -> Iterator[tuple[Any, ...]]:
    """All rows below `end` in the order of their first column, a bounded number at a time."""
    first = 0
    while rows := database.rows(sql, {"log": log, "first": first, "end": end}, formats=_FORMATS):
        yield from rows
        first = rows[-1][0] + 1


def _unsealed(database: ClickHouse, log: int, origin: str) -> list[Finding]:
    """Leaves beyond the last segment: those in flight get its row in a moment, others were added."""
    attempts = Retrying(
        retry=retry_if_result(bool),
        stop=stop_after_delay(_IN_FLIGHT_SECONDS),
        wait=wait_fixed(0.5),
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else [],
    )
    rows = attempts(database.rows, _UNSEALED, {"log": log, "limit": MAX_FINDINGS})
    return [
        Finding(
            origin=origin,
            fault=Fault.ADDED,
            message=f"no segment seals it within {_IN_FLIGHT_SECONDS:g} s",
            leaf_index=index,
            event_id=event_id,
        )
        for index, event_id in rows
    ]
