"""Verifies the ledger as it stands in ClickHouse: recomputes each hash, link, root, column and commitment."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import Any

from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from pactstream.clickhouse import erasure as erasing
from pactstream.clickhouse.client import ClickHouse
from pactstream.clickhouse.ledger_rows import LEAF_COLUMNS, SEGMENT_COLUMNS, leaf_columns, segment_columns
from pactstream.errors import InvalidInput
from pactstream.ledger.audit import Columns, Fault, Finding, LeafRow, LogAudit, SegmentRow
from pactstream.ledger.audit_openings import OpeningAudit, OpeningRow
from pactstream.ledger.erasure import erasure_of
from pactstream.ledger.leaf import Leaf
from pactstream.ledger.note import Checkpoint
from pactstream.signing.jwks import PublicKey
from pactstream.signing.keys import note_verifier

MAX_FINDINGS = 1_000

# The same Python values as `ledger_rows` gives.
_FORMATS = {"UUID": "string", "DateTime64": "int"}
_ROWS_A_READ = 10_000

# Private values stand in their agents' order. To have them in that of leaves, each read looks at all rows, 8 ns
# each, and sorts those of so many leaves: a few seconds' work, for ClickHouse does not wait long for a reader.
_LEAVES_A_READ = 250_000
_SORT_BYTES = 256 * 1024 * 1024

_LOGS = """
SELECT DISTINCT log FROM ledger_segments UNION DISTINCT SELECT DISTINCT log FROM room_events
UNION DISTINCT SELECT DISTINCT log FROM room_event_payloads
"""
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
# The values themselves stay where they are: what a leaf must commit to is computed there.
_OPENINGS = """
SELECT leaf_index, toString(event_id), toString(agent_id), tenant, session_id, field,
    SHA256(concat(salt, value))
FROM room_event_payloads
WHERE log = {log:UInt16} AND leaf_index >= {first:UInt64} AND leaf_index < {end:UInt64}
ORDER BY leaf_index
"""
_LAST_LEAF = """
SELECT (SELECT max(leaf_index) FROM room_events WHERE log = {log:UInt16}),
    (SELECT max(leaf_index) FROM room_event_payloads WHERE log = {log:UInt16})
"""
_UNSEALED = """
SELECT leaf_index, toString(event_id), private FROM (
    SELECT leaf_index, event_id, false AS private FROM room_events
    WHERE log = {log:UInt16} AND leaf_index <= {last:UInt64}
    UNION ALL SELECT DISTINCT leaf_index, event_id, true FROM room_event_payloads
    WHERE log = {log:UInt16} AND leaf_index <= {last_private:UInt64})
WHERE leaf_index >= (SELECT max(tree_size) FROM ledger_segments WHERE log = {log:UInt16})
ORDER BY leaf_index, private LIMIT {limit:UInt64}
"""

Progress = Callable[[str, int, int], None]


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
    on_progress: Progress | None = None,
    in_flight_seconds: float = 10.0,
) -> list[LogReport]:
    """Audit every log of `deployment`, one report each; the ledger is sound when none has faults.

    `keys` are all that the ledger was ever signed with. `seen`: remembered checkpoints by origin, which the
    logs must extend. `on_progress(origin, leaves done, leaves in all)` is called for each block read. Leaves
    that the projector writes meanwhile are left to the next audit; those whose segment's row does not follow
    within `in_flight_seconds` are a fault. Memory is bounded by the number of agents. Of a private value only a
    hash is read; one that is not there is no fault, since it may have been erased, and one that was erased and
    is there is.

    Raises:
        Retryable: ClickHouse does not answer.
    """
    reports = []
    for log in sorted(row[0] for row in database.rows(_LOGS)):
        origin = f"{deployment}/ledger/{log}"
        audit = LogAudit(
            origin=origin,
            verifiers=[note_verifier(key, origin) for key in keys],
            project_leaf=_expected_columns,
            project_segment=segment_columns,
            seen=(seen or {}).get(origin),
        )
        reports.append(_report(audit, _Rows(database, log, in_flight_seconds), on_progress))
    return reports


def _report(audit: LogAudit, rows: _Rows, on_progress: Progress | None) -> LogReport:
    segments, tree_size = rows.ends()

    def progress(leaves: int) -> None:
        if on_progress is not None:
            on_progress(audit.origin, leaves, tree_size)

    kept: list[Finding] = []
    faults = 0
    with closing(rows.openings(tree_size)) as openings:
        private = OpeningAudit(audit.origin, openings)
        audit.check_leaf = lambda leaf, index: chain(
            private.check(leaf, index), rows.not_erased(audit.origin, leaf, index)
        )
        findings = audit.findings(rows.segments(segments), rows.leaves(tree_size, progress))
        for finding in chain(findings, private.rest(), rows.unsealed(audit.origin)):
            faults += 1
            if len(kept) < MAX_FINDINGS:
                kept.append(finding)
    return LogReport(
        origin=audit.origin,
        leaves=audit.leaves,
        segments=audit.segments,
        unverified_roots=audit.unverified_roots,
        faults=faults,
        findings=tuple(kept),
        checkpoint=audit.checkpoint,
    )


def _expected_columns(leaf: Leaf) -> Columns:
    try:
        return leaf_columns(leaf)
    except InvalidInput:
        # No such leaf is ever sealed: this one was changed. Its time is no column's value.
        return {"occurred_at": leaf.occurred_at, "received_at": leaf.received_at}


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of one log, read a bounded number at a time."""

    database: ClickHouse
    log: int
    in_flight_seconds: float

    def ends(self) -> tuple[int, int]:
        """One past the last segment, and its tree size: what is written later is not looked at."""
        ((segments, tree_size),) = self.database.rows(_ENDS, {"log": self.log})
        return segments, tree_size

    def segments(self, end: int) -> Iterator[SegmentRow]:
        for _, header, note, *values in self._read(_SEGMENTS, end):
            yield SegmentRow(header.encode(), note.encode(), dict(zip(SEGMENT_COLUMNS, values, strict=True)))

    def leaves(self, end: int, progress: Callable[[int], None]) -> Iterator[LeafRow]:
        done = 0
        for done, (index, leaf, leaf_hash, *values) in enumerate(self._read(_LEAVES, end), 1):
            # What is not UTF-8 any more was read as its hexadecimal form: no leaf, and not what was hashed.
            yield LeafRow(index, leaf.encode(), leaf_hash, dict(zip(LEAF_COLUMNS, values, strict=True)))
            if done % _ROWS_A_READ == 0:
                progress(done)
        progress(done)

    def openings(self, end: int) -> Generator[OpeningRow, None, None]:
        """The private values of the leaves below `end`, in the order of these."""
        for first in range(0, end, _LEAVES_A_READ):
            bounds = {"log": self.log, "first": first, "end": min(end, first + _LEAVES_A_READ)}
            settings = {"max_bytes_before_external_sort": _SORT_BYTES}
            with self.database.stream(_OPENINGS, bounds, settings=settings) as rows:
                yield from map(OpeningRow._make, rows)

    def not_erased(self, origin: str, leaf: Leaf, index: int) -> Iterator[Finding]:
        """What is there of what this leaf erases, if it does: the projector deletes before it writes."""
        erasure = erasure_of(leaf, self.log, index)
        if erasure is not None and (left := erasing.left(self.database, erasure)):
            yield Finding(
                origin=origin,
                fault=Fault.ADDED,
                message=f"{left} private values that it erased are there",
                leaf_index=index,
                event_id=leaf.event_id,
            )

    def unsealed(self, origin: str) -> Iterator[Finding]:
        """What is beyond the last segment. What is in flight gets its row in a moment; the rest was added."""
        ((last, last_private),) = self.database.rows(_LAST_LEAF, {"log": self.log})
        attempts = Retrying(
            retry=retry_if_result(bool),
            stop=stop_after_delay(self.in_flight_seconds),
            wait=wait_fixed(min(0.5, self.in_flight_seconds)),
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else [],
        )
        bounds = {"log": self.log, "last": last, "last_private": last_private, "limit": MAX_FINDINGS}
        for index, event_id, private in attempts(self.database.rows, _UNSEALED, bounds):
            what = "the leaf of a private value" if private else "it"
            yield Finding(
                origin=origin,
                fault=Fault.ADDED,
                message=f"no segment seals {what} within {self.in_flight_seconds:g} s",
                leaf_index=index,
                event_id=event_id,
            )

    def _read(self, sql: str, end: int) -> Iterator[tuple[Any, ...]]:
        """All rows below `end` in the order of their first column."""
        first = 0
        while rows := self.database.rows(sql, {"log": self.log, "first": first, "end": end}, formats=_FORMATS):
            yield from rows
            first = rows[-1][0] + 1
