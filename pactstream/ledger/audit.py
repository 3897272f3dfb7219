"""Verifies a whole log from its published rows: streaming, in memory bounded by the number of agents.

Every fact is checked against another one that a tamperer would have to change too: a leaf against its hash, an
agent's leaves against each other, all leaves against the signed root, a segment against the one before, the
columns that queries read against the leaf, and everything against what was seen before. A finding names the row
at fault as closely as these facts allow.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from pactstream.ledger import merkle, segment
from pactstream.ledger.leaf import GENESIS, AgentHead, Leaf, LeafError, agent_link, parse_leaf
from pactstream.ledger.note import Checkpoint, NoteError, Verifier, open_checkpoint
from pactstream.ledger.segment import ChainEnd, SegmentError, SegmentHeader

Columns = Mapping[str, object]

_NO_COLUMNS: Columns = MappingProxyType({})
_MAX_GAPS = 10_000
_MAX_SHOWN_CHARS = 80


class Fault(StrEnum):
    """What a finding is about."""

    CHANGED = "changed"
    REMOVED = "removed"
    ADDED = "added"
    REORDERED = "reordered"
    COLUMN = "column differs from the leaf"
    SIGNATURE = "signature refused"
    GAP = "gap in the source"
    FORKED = "forked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fault in a log: the row it names, by leaf index and event id or by segment, and what is wrong."""

    origin: str
    fault: Fault
    message: str
    segment: int | None = None
    leaf_index: int | None = None
    event_id: str | None = None

    def __str__(self) -> str:
        places = (("segment", self.segment), ("leaf", self.leaf_index), ("event", self.event_id))
        named = [f"{what} {which}" for what, which in places if which is not None]
        return f"{', '.join([self.origin, *named])}: {self.fault}: {self.message}"


class LeafRow(NamedTuple):
    """A stored leaf: its place in the log, its bytes, its stored RFC 6962 hash, and the columns beside it."""

    leaf_index: int
    leaf: bytes
    leaf_hash: bytes
    columns: Columns = _NO_COLUMNS


class SegmentRow(NamedTuple):
    """A stored segment: its header's bytes, its signed note, and the columns beside them.

    A header without a note is vouched for by the chain, if a later one has a note.
    """

    header: bytes
    note: bytes | None
    columns: Columns = _NO_COLUMNS


class Start(NamedTuple):
    """Where an audit begins that trusts what is before: the tree, the chain and the agents' heads there.

    Without `heads`, each agent's first leaf is taken as it is: its link across the start is not checked.
    """

    tree: merkle.Frontier
    end: ChainEnd
    heads: Mapping[str, AgentHead] | None


def no_columns(_: object) -> Columns:
    """The projection of a reader that has no columns to compare."""
    return _NO_COLUMNS


def nothing_more(_leaf: Leaf, _leaf_index: int) -> Iterable[Finding]:
    """The further check of a reader that has none."""
    return ()


@dataclass(slots=True)
class LogAudit:
    """The audit of one log: iterate `findings` to the end; then the counts say how much was verified.

    `project_leaf` and `project_segment` say what the columns of a row must be: the functions that wrote them.
    `check_leaf` looks further at each leaf that is one, in order; its findings are the audit's.
    `seen` is a checkpoint that the verifier remembers, `seen_heads` the agents' heads then: the log must extend
    both. `start` leaves out what was audited before.
    """

    origin: str
    verifiers: Sequence[Verifier]
    project_leaf: Callable[[Leaf], Columns] = no_columns
    project_segment: Callable[[SegmentHeader], Columns] = no_columns
    check_leaf: Callable[[Leaf, int], Iterable[Finding]] = nothing_more
    seen: Checkpoint | None = None
    seen_heads: Mapping[str, AgentHead] = field(default_factory=dict)
    start: InitVar[Start | None] = None

    leaves: int = field(default=0, init=False)
    segments: int = field(default=0, init=False)
    unverified_roots: int = field(default=0, init=False)
    """Segments whose root could not be checked, because leaves before their end are missing or changed."""

    _tree: merkle.Frontier = field(default_factory=merkle.Frontier, init=False)
    _tree_broken: bool = field(default=False, init=False)
    _next_leaf: int = field(default=0, init=False)
    _end: ChainEnd = field(default=segment.CHAIN_START, init=False)
    _agents: _Agents = field(init=False)
    _sources: _Sources = field(init=False)

    def __post_init__(self, start: Start | None) -> None:
        self._agents = _Agents(self.origin, self.seen_heads, start)
        self._sources = _Sources(self.origin, counting=start is None)
        if start is not None:
            self._tree, self._end, self._next_leaf = start.tree, start.end, start.end.tree_size

    @property
    def checkpoint(self) -> Checkpoint:
        """The tree computed from the leaves: what to remember as `seen` after an audit without findings."""
        return Checkpoint(self.origin, self._tree.size, self._tree.root())

    @property
    def heads(self) -> dict[str, AgentHead]:
        """The latest leaf of every agent: what to remember as `seen_heads`."""
        return self._agents.heads()

    @property
    def unlinked_agents(self) -> int:
        """Agents whose first leaf after the start could not be linked to the one before."""
        return self._agents.unlinked

    @property
    def offsets_without_leaves(self) -> int:
        """Source records that left no leaf: dead letters and duplicates do, and so would a suppressed batch."""
        return self._sources.skipped

    def findings(self, segments: Iterable[SegmentRow], leaves: Iterable[LeafRow]) -> Iterator[Finding]:
        """Every fault, as it is met. `segments` and `leaves` are read once, each in the order of its index."""
        rows = iter(leaves)
        row = next(rows, None)
        for segment_row in segments:
            header = yield from self._open_segment(segment_row)
            if header is None:  # its leaves are checked with those of the next segment
                continue
            while row is not None and row.leaf_index < header.tree_size:
                yield from self._check_leaf(row)
                row = next(rows, None)
            yield from self._close_segment(header)
        if row is not None:
            extra = 1 + sum(1 for _ in rows)
            yield self._finding(
                Fault.ADDED, f"{extra} leaves after the last segment", leaf_index=row.leaf_index
            )
        if self.seen is not None and self.seen.size > self._end.tree_size:
            message = f"the log had {self.seen.size} leaves when last seen, and has {self._end.tree_size}"
            yield self._finding(Fault.REMOVED, message)
        yield from self._agents.cut_short()

    def _finding(
        self, fault: Fault, message: str, *, segment: int | None = None, leaf_index: int | None = None
    ) -> Finding:
        return Finding(origin=self.origin, fault=fault, message=message, segment=segment, leaf_index=leaf_index)

    def _open_segment(self, row: SegmentRow) -> Generator[Finding, None, SegmentHeader | None]:
        self.segments += 1
        try:
            header = segment.parse_header(row.header)
        except SegmentError as error:
            yield self._finding(Fault.CHANGED, str(error), segment=self._end.next_index)
            return None
        yield from self._check_note(row, header)
        try:
            segment.check_chain(header, self._end)
        except SegmentError as error:
            yield self._finding(_chain_fault(header, self._end), str(error), segment=header.index)
        for message in differences(self.project_segment(header), row.columns):
            yield self._finding(Fault.COLUMN, message, segment=header.index)
        self._end = segment.chain_end(header, segment.header_hash(row.header))
        return header

    def _check_note(self, row: SegmentRow, header: SegmentHeader) -> Iterator[Finding]:
        expected = segment.checkpoint_of(header, row.header)
        seen = self.seen
        # What was last seen closed a segment at its last leaf; a plain tree head says nothing of segments.
        if (
            seen is not None
            and header.first_leaf < seen.size <= header.tree_size
            and seen.extensions not in ((), expected.extensions)
        ):
            message = f"the segment of leaf {seen.size - 1} is not the one last seen"
            yield self._finding(Fault.FORKED, message, segment=header.index)
        if row.note is None:
            return
        try:
            if open_checkpoint(row.note, self.origin, self.verifiers) != expected:
                yield self._finding(Fault.CHANGED, "its header is not the signed one", segment=header.index)
        except NoteError as error:
            yield self._finding(Fault.SIGNATURE, str(error), segment=header.index)

    def _close_segment(self, header: SegmentHeader) -> Iterator[Finding]:
        if self._next_leaf < header.tree_size:
            yield self._missing_rows(header.tree_size)
        if self._tree_broken:
            self.unverified_roots += 1
        elif self._tree.root().hex() != header.root:
            # From here on no root can be checked: the tree in hand is not the one that was signed.
            self._tree_broken = True
            span = f"one of leaves {header.first_leaf} to {header.tree_size - 1}, or the header,"
            message = f"its leaves do not lead to its root: {span} was changed or moved"
            yield self._finding(Fault.CHANGED, message, segment=header.index)

    def _check_leaf(self, row: LeafRow) -> Iterator[Finding]:
        if row.leaf_index < self._next_leaf:
            yield self._finding(Fault.ADDED, "a second row has this leaf index", leaf_index=row.leaf_index)
            return
        if row.leaf_index > self._next_leaf:
            yield self._missing_rows(row.leaf_index)
        self.leaves += 1
        self._next_leaf = row.leaf_index + 1
        # The stored hash goes into the tree even where the leaf has another one: if the root then holds, only
        # the leaf was changed, and all others are still verified.
        self._tree.append(row.leaf_hash)
        if merkle.leaf_hash(row.leaf) != row.leaf_hash:
            yield self._finding(Fault.CHANGED, "the leaf does not have its hash", leaf_index=row.leaf_index)
        yield from self._check_seen()
        try:
            leaf = parse_leaf(row.leaf)
        except LeafError as error:
            yield self._finding(Fault.CHANGED, str(error), leaf_index=row.leaf_index)
            return
        for message in differences(self.project_leaf(leaf), row.columns):
            yield Finding(
                origin=self.origin,
                fault=Fault.COLUMN,
                message=message,
                leaf_index=row.leaf_index,
                event_id=leaf.event_id,
            )
        yield from self.check_leaf(leaf, row.leaf_index)
        yield from self._agents.follow(leaf, row)
        yield from self._sources.follow(leaf, row)

    def _check_seen(self) -> Iterator[Finding]:
        if self.seen is None or self._tree_broken or self._tree.size != self.seen.size:
            return
        if self._tree.root() != self.seen.root:
            message = f"the tree of {self.seen.size} leaves is not the one last seen"
            yield self._finding(Fault.FORKED, message)

    def _missing_rows(self, end: int) -> Finding:
        first, self._next_leaf, self._tree_broken = self._next_leaf, end, True
        which = f"leaf {first} is" if end == first + 1 else f"leaves {first} to {end - 1} are"
        return self._finding(Fault.REMOVED, f"{which} missing", leaf_index=first)


class _AgentEnd(NamedTuple):
    """An agent's latest leaf and its place, so that a broken link can name it."""

    head: AgentHead
    leaf_index: int | None
    event_id: str | None


_NO_LEAF = _AgentEnd(GENESIS, None, None)


class _Agents:
    """The chains of all agents of a log."""

    def __init__(self, origin: str, seen: Mapping[str, AgentHead], start: Start | None) -> None:
        self.unlinked = 0
        self._origin = origin
        self._seen = seen
        self._open = start is not None and start.heads is None
        known = (start.heads if start else None) or {}
        self._ends = {agent: _AgentEnd(head, None, None) for agent, head in known.items()}
        self._gaps: set[tuple[str, int]] = set()  # sequence numbers passed over, bounded: faults only

    def heads(self) -> dict[str, AgentHead]:
        """The latest leaf of every agent."""
        return {agent: end.head for agent, end in self._ends.items()}

    def cut_short(self) -> Iterator[Finding]:
        """The agents whose chain ends before the leaf that was their latest when last seen."""
        for agent, seen in self._seen.items():
            sequence = self._ends.get(agent, _NO_LEAF).head.sequence
            if sequence < seen.sequence:
                message = f"agent {agent} had {seen.sequence} leaves when last seen, and has {sequence}"
                yield Finding(origin=self._origin, fault=Fault.REMOVED, message=message)

    def follow(self, leaf: Leaf, row: LeafRow) -> Iterator[Finding]:
        """Check the leaf against its agent's latest, and make it the latest."""
        end = self._ends.get(leaf.agent_id)
        if end is None:
            end = _NO_LEAF
            if self._open:
                self.unlinked += 1
                end = _AgentEnd(AgentHead(leaf.sequence - 1, bytes.fromhex(leaf.previous)), None, None)
        seen = self._seen.get(leaf.agent_id)
        if seen is not None and seen.sequence == leaf.sequence and seen.leaf_hash != row.leaf_hash:
            message = f"it is not the leaf {leaf.sequence} that agent {leaf.agent_id} had when last seen"
            yield self._finding(Fault.FORKED, message, leaf, row)
        if leaf.sequence <= end.head.sequence:
            yield self._out_of_place(leaf, row)
            return
        if leaf.sequence > end.head.sequence + 1:
            yield self._passed_over(leaf, row, end.head.sequence + 1)
        elif agent_link(leaf, end.head) is not None:
            yield self._broken_link(leaf, row, end)
        # By its stored hash: a leaf changed without it is reported once, not again at the agent's next leaf.
        head = AgentHead(leaf.sequence, row.leaf_hash)
        self._ends[leaf.agent_id] = _AgentEnd(head, row.leaf_index, leaf.event_id)

    def _out_of_place(self, leaf: Leaf, row: LeafRow) -> Finding:
        number = (leaf.agent_id, leaf.sequence)
        if number in self._gaps:
            self._gaps.discard(number)
            return self._finding(Fault.REORDERED, "it stands after a later leaf of its agent", leaf, row)
        return self._finding(
            Fault.ADDED, f"agent {leaf.agent_id} has a leaf {leaf.sequence} already", leaf, row
        )

    def _passed_over(self, leaf: Leaf, row: LeafRow, first: int) -> Finding:
        room = max(0, _MAX_GAPS - len(self._gaps))
        last = leaf.sequence - 1
        self._gaps.update((leaf.agent_id, number) for number in range(first, min(last, first + room - 1) + 1))
        message = f"leaves {first} to {last} of agent {leaf.agent_id} are missing before this one"
        return self._finding(Fault.REMOVED, message, leaf, row)

    def _broken_link(self, leaf: Leaf, row: LeafRow, end: _AgentEnd) -> Finding:
        if end.leaf_index is None:
            first = end.head.sequence == 0
            message = (
                "an agent's first leaf links to no other" if first else "it does not link to the agent's leaf"
            )
            return self._finding(Fault.CHANGED, message, leaf, row)
        return Finding(
            origin=self._origin,
            fault=Fault.CHANGED,
            message=f"the agent's next leaf, at index {row.leaf_index}, does not link to it",
            leaf_index=end.leaf_index,
            event_id=end.event_id,
        )

    def _finding(self, fault: Fault, message: str, leaf: Leaf, row: LeafRow) -> Finding:
        return Finding(
            origin=self._origin,
            fault=fault,
            message=message,
            leaf_index=row.leaf_index,
            event_id=leaf.event_id,
        )


class _Sources:
    """Where in each source partition the log stands: its positions never go back."""

    def __init__(self, origin: str, *, counting: bool) -> None:
        self.skipped = 0
        self._counting = counting
        self._origin = origin
        self._positions: dict[tuple[str, int], tuple[int, int]] = {}

    def follow(self, leaf: Leaf, row: LeafRow) -> Iterator[Finding]:
        """Check the leaf's source position against the latest of its partition, and make it the latest."""
        source = leaf.source
        partition = (source.topic, source.partition)
        nothing_before = (-1 if self._counting else source.offset, 0)
        offset, index = self._positions.get(partition, nothing_before)
        # Equal is in order: an event synthesised from another one has its position.
        if (source.offset, source.index) < (offset, index):
            yield Finding(
                origin=self._origin,
                fault=Fault.REORDERED,
                message=f"its source, {source.offset}/{source.index}, comes before {offset}/{index}",
                leaf_index=row.leaf_index,
                event_id=leaf.event_id,
            )
            return
        self.skipped += max(0, source.offset - offset - 1)
        self._positions[partition] = (source.offset, source.index)


def _chain_fault(header: SegmentHeader, end: ChainEnd) -> Fault:
    if header.index != end.next_index:
        return Fault.REMOVED if header.index > end.next_index else Fault.REORDERED
    if header.source.first_offset != end.next_offset:
        return Fault.GAP
    return Fault.CHANGED


def differences(expected: Columns, found: Columns) -> Iterator[str]:
    """A sentence for each column that is missing or not as expected."""
    for name, value in expected.items():
        if name not in found:
            yield f"column {name} is missing"
        elif found[name] != value:
            yield f"{name} shows {shown(found[name])}, the leaf says {shown(value)}"


def shown(value: object) -> str:
    """A value for a message: printable, and not too long."""
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN_CHARS else text[:_MAX_SHOWN_CHARS] + "…"
