"""The audit of a log: clean logs pass, and every kind of tampering is found and named."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pactstream import canonical
from pactstream.ledger import merkle, segment
from pactstream.ledger.audit import Columns, Fault, Finding, LeafRow, LogAudit, SegmentRow
from pactstream.ledger.leaf import GENESIS, AgentHead, Leaf, Source, build_leaf
from pactstream.ledger.note import Checkpoint, NoteSigner, sign_checkpoint
from pactstream.ledger.segment import SegmentHeader

ORIGIN = "dev/ledger/0"
SIGNER = NoteSigner(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(32)))
AGENTS = ("76cf31d6-ffe3-4a5c-8748-021114aa8066", "0196c9a4-0000-7000-8000-00000000000b")
EMPTY = dict.fromkeys(
    (
        "pact_id",
        "pact_version",
        "parent_event_id",
        "room_id",
        "tool",
        "params",
        "outcome",
        "latency_ms",
        "error_message",
        "input",
        "output",
        "token_count",
        "reason",
        "metadata",
    )
)


def leaf_columns(leaf: Leaf) -> Columns:
    return {"event_id": leaf.event_id, "tool": leaf.tool}


def segment_columns(header: SegmentHeader) -> Columns:
    return {"tree_size": header.tree_size}


def event_id(number: int) -> str:
    return f"0196c9a4-0000-7000-8000-{number:012}"


@dataclass
class Log:
    """A log in the making: `batch` adds one source record's events, `close` a segment."""

    signer: NoteSigner = SIGNER
    leaves: list[LeafRow] = field(default_factory=list)
    segments: list[SegmentRow] = field(default_factory=list)
    heads: dict[str, AgentHead] = field(default_factory=dict)
    tree: merkle.Frontier = field(default_factory=merkle.Frontier)
    end: segment.ChainEnd = segment.CHAIN_START
    offset: int = 0

    def batch(self, agent: int, count: int, tool: str = "lookup") -> None:
        agent_id = AGENTS[agent]
        for index in range(count):
            event: dict[str, Any] = {
                **EMPTY,
                "type": "tool_call",
                "event_id": event_id(len(self.leaves)),
                "session_id": "s",
                "occurred_at_micros": 1_778_666_400_000_000,
                "tool": tool,
            }
            built = build_leaf(
                event,
                None,
                agent_id=agent_id,
                tenant="t",
                received_at="2026-05-13T10:00:01.000000Z",
                source=Source(index, self.offset, 0, "telemetry.batches"),
                head=self.heads.get(agent_id, GENESIS),
            )
            self.heads[agent_id] = built.head
            columns = {"event_id": event["event_id"], "tool": tool}
            self.leaves.append(LeafRow(len(self.leaves), built.leaf, built.head.leaf_hash, columns))
            self.tree.append(built.head.leaf_hash)
        self.offset += 1

    def close(self) -> None:
        sealed = segment.seal(
            self.end,
            origin=ORIGIN,
            leaves=self.tree.size - self.end.tree_size,
            root=self.tree.root(),
            topic="telemetry.evaluated",
            partition=0,
            next_offset=self.end.next_offset + 3,
            sealed_at_micros=1_778_666_402_000_000,
            signers=[self.signer],
        )
        self.end = sealed.chain_end
        columns = {"tree_size": sealed.header.tree_size}
        self.segments.append(SegmentRow(sealed.header_bytes, sealed.note, columns))


def honest_log(tool: str = "lookup") -> Log:
    """Two agents, three segments: leaves 0-4, 5-9, 10-13."""
    log = Log()
    for first, second in ((3, 2), (2, 3), (1, 3)):
        log.batch(0, first, tool)
        log.batch(1, second, tool)
        log.close()
    return log


def audit(
    segments: Sequence[SegmentRow], leaves: Sequence[LeafRow], *, seen: Checkpoint | None = None
) -> tuple[list[Finding], LogAudit]:
    one = LogAudit(ORIGIN, [SIGNER.verifier], leaf_columns, segment_columns, seen=seen)
    return list(one.findings(segments, leaves)), one


def faults(findings: Sequence[Finding]) -> list[tuple[Fault, int | None]]:
    return [(one.fault, one.leaf_index if one.segment is None else one.segment) for one in findings]


LOG = honest_log()


def with_leaf(index: int, row: LeafRow) -> list[LeafRow]:
    return [*LOG.leaves[:index], row, *LOG.leaves[index + 1 :]]


def forged(row: LeafRow, **members: Any) -> bytes:
    return canonical.dumps({**json.loads(row.leaf), **members})


def test_an_honest_log_has_no_findings() -> None:
    findings, done = audit(LOG.segments, LOG.leaves)
    assert findings == []
    assert (done.leaves, done.segments, done.unverified_roots) == (14, 3, 0)
    assert done.checkpoint == Checkpoint(ORIGIN, 14, LOG.tree.root())
    assert done.offsets_without_leaves == 0


def test_an_empty_log_has_no_findings() -> None:
    findings, done = audit([], [])
    assert findings == []
    assert done.checkpoint == Checkpoint(ORIGIN, 0, merkle.EMPTY_ROOT)


def test_columns_are_compared_only_where_a_projection_is_given() -> None:
    plain = LogAudit(ORIGIN, [SIGNER.verifier])
    assert list(plain.findings(LOG.segments, [row._replace(columns={}) for row in LOG.leaves])) == []


def test_a_changed_leaf_is_named_and_the_rest_still_verifies() -> None:
    row = LOG.leaves[6]
    findings, done = audit(LOG.segments, with_leaf(6, row._replace(leaf=forged(row, tenant="other"))))
    assert faults(findings) == [(Fault.CHANGED, 6)]
    assert done.unverified_roots == 0


def test_bytes_that_are_no_leaf_are_named() -> None:
    findings, _ = audit(LOG.segments, with_leaf(6, LOG.leaves[6]._replace(leaf=b"{}")))
    assert faults(findings)[:2] == [(Fault.CHANGED, 6), (Fault.CHANGED, 6)]
    assert "not a leaf" in findings[1].message


def test_a_leaf_changed_with_its_hash_is_named_by_the_agents_next_leaf() -> None:
    row = LOG.leaves[6]  # the second leaf of agent 0's second batch: its next is leaf 10
    data = forged(row, tenant="other")
    findings, done = audit(
        LOG.segments, with_leaf(6, row._replace(leaf=data, leaf_hash=merkle.leaf_hash(data)))
    )
    assert faults(findings) == [(Fault.CHANGED, 1), (Fault.CHANGED, 6)]
    assert findings[0].message.startswith("its leaves do not lead to its root: one of leaves 5 to 9")
    assert findings[1].event_id == event_id(6)
    assert findings[1].message == "the agent's next leaf, at index 10, does not link to it"
    assert done.unverified_roots == 1


def test_the_last_leaf_of_an_agent_changed_with_its_hash_is_found_by_the_root() -> None:
    row = LOG.leaves[13]
    data = forged(row, outcome="error")
    findings, _ = audit(LOG.segments, with_leaf(13, row._replace(leaf=data, leaf_hash=merkle.leaf_hash(data))))
    assert faults(findings) == [(Fault.CHANGED, 2)]


def test_a_first_leaf_that_links_to_another_is_found() -> None:
    row = LOG.leaves[0]
    data = forged(row, previous="ab" * 32)
    findings, _ = audit(LOG.segments, with_leaf(0, row._replace(leaf=data)))
    assert (Fault.CHANGED, 0) in faults(findings)
    assert any("first leaf links" in one.message for one in findings)


@pytest.mark.parametrize("index", [0, 5, 9, 13])
def test_a_removed_row_is_named(index: int) -> None:
    rows = [*LOG.leaves[:index], *LOG.leaves[index + 1 :]]
    findings, done = audit(LOG.segments, rows)
    assert findings[0].fault is Fault.REMOVED
    assert findings[0].leaf_index == index
    assert findings[0].message == f"leaf {index} is missing"
    assert done.unverified_roots >= 1


def test_a_removed_tail_is_named() -> None:
    findings, _ = audit(LOG.segments, LOG.leaves[:7])
    assert faults(findings) == [(Fault.REMOVED, 7), (Fault.REMOVED, 10)]
    assert findings[0].message == "leaves 7 to 9 are missing"
    assert findings[1].message == "leaves 10 to 13 are missing"


def test_a_removed_row_with_later_rows_renumbered_is_found() -> None:
    rows = [row._replace(leaf_index=at) for at, row in enumerate([*LOG.leaves[:6], *LOG.leaves[7:]])]
    findings, _ = audit(LOG.segments, rows)
    assert (Fault.CHANGED, 1) in faults(findings)
    missing = next(one for one in findings if one.event_id is not None)
    assert missing.fault is Fault.REMOVED
    assert missing.event_id == event_id(10)
    assert missing.message == f"leaves 5 to 5 of agent {AGENTS[0]} are missing before this one"


def test_swapped_rows_of_one_agent_are_named() -> None:
    rows = list(LOG.leaves)
    rows[0], rows[1] = rows[1]._replace(leaf_index=0), rows[0]._replace(leaf_index=1)
    findings, _ = audit(LOG.segments, rows)
    assert (Fault.REMOVED, 0) in faults(findings)  # for the audit, leaf 1 of the agent is missing at first
    moved = [one for one in findings if one.fault is Fault.REORDERED]
    assert {one.event_id for one in moved} == {event_id(0)}
    assert (Fault.CHANGED, 0) in faults(findings)


def test_swapped_rows_of_two_agents_are_named_by_their_source() -> None:
    rows = list(LOG.leaves)
    rows[2], rows[3] = rows[3]._replace(leaf_index=2), rows[2]._replace(leaf_index=3)
    findings, _ = audit(LOG.segments, rows)
    assert faults(findings) == [(Fault.REORDERED, 3), (Fault.CHANGED, 0)]
    assert findings[0].message == "its source, 0/2, comes before 1/0"
    assert findings[0].event_id == event_id(2)


def test_an_added_row_is_named() -> None:
    twice = [*LOG.leaves[:5], LOG.leaves[4], *LOG.leaves[5:]]
    findings, done = audit(LOG.segments, twice)
    assert faults(findings) == [(Fault.ADDED, 4)]
    assert done.leaves == 14


def test_an_added_leaf_with_later_rows_renumbered_is_named() -> None:
    rows = [*LOG.leaves[:5], LOG.leaves[4], *LOG.leaves[5:]]
    findings, _ = audit(LOG.segments, [row._replace(leaf_index=at) for at, row in enumerate(rows)])
    added = [one for one in findings if one.fault is Fault.ADDED and one.event_id is not None]
    assert [one.event_id for one in added] == [event_id(4)]
    assert added[0].message == f"agent {AGENTS[1]} has a leaf 2 already"


def test_rows_after_the_last_segment_are_found() -> None:
    findings, _ = audit(LOG.segments[:2], LOG.leaves)
    assert faults(findings) == [(Fault.ADDED, 10)]
    assert findings[0].message == "4 leaves after the last segment"


def test_a_column_that_differs_is_named() -> None:
    row = LOG.leaves[3]
    findings, _ = audit(LOG.segments, with_leaf(3, row._replace(columns={**row.columns, "tool": "x" * 200})))
    assert faults(findings) == [(Fault.COLUMN, 3)]
    assert findings[0].event_id == event_id(3)
    assert findings[0].message.startswith("tool shows 'xxx")
    assert findings[0].message.endswith("…, the leaf says 'lookup'")
    findings, _ = audit(LOG.segments, with_leaf(3, row._replace(columns={"tool": "lookup"})))
    assert [one.message for one in findings] == ["column event_id is missing"]
    findings, _ = audit([LOG.segments[0]._replace(columns={"tree_size": 4}), *LOG.segments[1:]], LOG.leaves)
    assert faults(findings) == [(Fault.COLUMN, 0)]


def with_segment(index: int, row: SegmentRow) -> list[SegmentRow]:
    return [*LOG.segments[:index], row, *LOG.segments[index + 1 :]]


def test_a_note_by_another_key_is_found() -> None:
    stranger = NoteSigner(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32))
    row = LOG.segments[1]
    assert row.note is not None
    checkpoint = segment.checkpoint_of(segment.parse_header(row.header), row.header)
    for note in (sign_checkpoint(checkpoint, [stranger]), row.note[:-3] + b"=\n", b""):
        findings, _ = audit(with_segment(1, row._replace(note=note)), LOG.leaves)
        assert faults(findings) == [(Fault.SIGNATURE, 1)]


def test_a_changed_header_is_found() -> None:
    row = LOG.segments[1]
    header = canonical.dumps({**json.loads(row.header), "sealedAt": "2027-01-01T00:00:00.000000Z"})
    findings, _ = audit(with_segment(1, row._replace(header=header)), LOG.leaves)
    assert faults(findings) == [(Fault.CHANGED, 1), (Fault.CHANGED, 2)]
    assert findings[0].message == "its header is not the signed one"
    assert "does not link" in findings[1].message


def test_a_header_that_is_none_is_found_and_its_leaves_are_still_checked() -> None:
    row = LOG.leaves[6]
    tampered = with_leaf(6, row._replace(leaf=forged(row, tenant="other")))
    findings, _ = audit(with_segment(1, LOG.segments[1]._replace(header=b"{}")), tampered)
    assert faults(findings) == [(Fault.CHANGED, 1), (Fault.REMOVED, 2), (Fault.CHANGED, 6)]


def test_a_removed_segment_is_found() -> None:
    findings, _ = audit([LOG.segments[0], LOG.segments[2]], LOG.leaves)
    assert faults(findings) == [(Fault.REMOVED, 2)]
    assert "its index is 2, due was 1" in findings[0].message


def test_a_repeated_segment_is_found() -> None:
    findings, _ = audit([*LOG.segments[:2], *LOG.segments[1:]], LOG.leaves)
    assert (Fault.REORDERED, 1) in faults(findings)


def resealed(**source: int) -> SegmentRow:
    """Segment 1 with another source range, signed by the log's own key: an operator who rewrites."""
    document = json.loads(LOG.segments[1].header)
    data = canonical.dumps({**document, "source": {**document["source"], **source}})
    note = sign_checkpoint(segment.checkpoint_of(segment.parse_header(data), data), [SIGNER])
    return LOG.segments[1]._replace(header=data, note=note)


def test_a_gap_in_the_source_is_found() -> None:
    findings, _ = audit([LOG.segments[0], resealed(firstOffset=4)], LOG.leaves[:10])
    assert faults(findings) == [(Fault.GAP, 1)]


def test_source_records_without_leaves_are_counted() -> None:
    log = Log(offset=2)
    log.batch(0, 1)
    log.offset += 3
    log.batch(0, 1)
    log.close()
    findings, done = audit(log.segments, log.leaves)
    assert findings == []
    assert done.offsets_without_leaves == 5


def test_an_event_synthesised_from_another_shares_its_source() -> None:
    log = Log()
    log.batch(0, 1)
    log.offset = 0
    log.batch(0, 1)
    log.close()
    assert audit(log.segments, log.leaves)[0] == []


def checkpoint_at(size: int) -> Checkpoint:
    return Checkpoint(ORIGIN, size, merkle.MemoryTree(row.leaf_hash for row in LOG.leaves[:size]).root())


@pytest.mark.parametrize("size", [1, 5, 7, 14])
def test_a_log_that_extends_what_was_seen_passes(size: int) -> None:
    assert audit(LOG.segments, LOG.leaves, seen=checkpoint_at(size))[0] == []


def test_a_log_rewritten_and_signed_again_is_found_by_what_was_seen() -> None:
    other = honest_log("transfer_funds")
    assert audit(other.segments, other.leaves)[0] == []
    findings, _ = audit(other.segments, other.leaves, seen=checkpoint_at(7))
    assert [one.fault for one in findings] == [Fault.FORKED]
    assert str(findings[0]) == f"{ORIGIN}: forked: the tree of 7 leaves is not the one last seen"


def test_a_log_cut_short_is_found_by_what_was_seen() -> None:
    assert audit(LOG.segments[:2], LOG.leaves[:10])[0] == []
    findings, _ = audit(LOG.segments[:2], LOG.leaves[:10], seen=checkpoint_at(14))
    assert [one.message for one in findings] == ["the log had 14 leaves when last seen, and has 10"]


def test_what_was_seen_is_not_compared_with_a_broken_tree() -> None:
    findings, _ = audit(LOG.segments, LOG.leaves[1:], seen=checkpoint_at(7))
    assert Fault.FORKED not in [one.fault for one in findings]


def test_remembered_gaps_are_bounded() -> None:
    """A hostile sequence number costs no memory, and what is beyond the bound counts as added."""
    row = LOG.leaves[3]
    data = forged(row, sequence=canonical.MAX_SAFE_INTEGER)
    first = forged(row, sequence=1)
    rows = [
        LeafRow(0, data, merkle.leaf_hash(data), row.columns),
        LeafRow(1, first, merkle.leaf_hash(first), row.columns),
    ]
    findings, _ = audit([], rows)
    assert faults(findings) == [(Fault.ADDED, 0)]
    findings, _ = audit([LOG.segments[0]], rows)
    assert [one.fault for one in findings] == [Fault.REMOVED, Fault.REORDERED, Fault.REMOVED]


def test_a_finding_names_its_row() -> None:
    finding = Finding(origin=ORIGIN, fault=Fault.CHANGED, message="why", leaf_index=7, event_id=event_id(7))
    assert str(finding) == f"{ORIGIN}, leaf 7, event {event_id(7)}: changed: why"
    assert (
        str(replace(finding, leaf_index=None, event_id=None, segment=2)) == f"{ORIGIN}, segment 2: changed: why"
    )
