"""Verifies a log as its operator publishes it: from the files alone, in memory bounded by the number of agents.

Nothing is believed because it was served: the checkpoint is signed, the hash tiles lead to its root, each entry
has its hash, the segment headers chain to the one that the checkpoint names, and everything extends what this
verifier saw before. The audit of rows (`audit.py`) does the rest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from pactstream.ledger import segment
from pactstream.ledger.audit import Fault, Finding, LeafRow, LogAudit, SegmentRow, Start
from pactstream.ledger.cosignature import NO_WITNESSES, Policy, open_cosigned
from pactstream.ledger.leaf import AgentHead
from pactstream.ledger.merkle import ProofError
from pactstream.ledger.note import Checkpoint, NoteError, Verifier
from pactstream.ledger.segment import SegmentError
from pactstream.ledger.tile_reader import TileReader
from pactstream.ledger.tiles import (
    CHECKPOINT,
    ENTRIES,
    SEGMENTS,
    TILE_WIDTH,
    Fetch,
    Missing,
    TileError,
    TilePath,
    fetch_tile,
    paths_of,
)

MAX_FINDINGS = 1_000

_FETCHES_AT_ONCE = 8
_FETCHES_AHEAD = 8

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Seen(NamedTuple):
    """What a verifier remembers of a log; `heads` is None where it knows the checkpoint only."""

    checkpoint: Checkpoint
    heads: Mapping[str, AgentHead] | None = None


@dataclass(slots=True)
class Result:
    """What the verification of one log found. `findings` holds the first `MAX_FINDINGS`; `faults` counts all.

    Without faults, `note`, `checkpoint` and `heads` are what to remember; None when nothing is published yet.
    """

    origin: str
    note: bytes | None = None
    checkpoint: Checkpoint | None = None
    cosigned_at: dict[str, int] = field(default_factory=dict)
    heads: dict[str, AgentHead] | None = None
    leaves: int = 0
    segments: int = 0
    unlinked_agents: int = 0
    offsets_without_leaves: int = 0
    faults: int = 0
    findings: list[Finding] = field(default_factory=list)

    def add(self, finding: Finding) -> None:
        """Count a finding, and keep it if there is room."""
        self.faults += 1
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(finding)


@dataclass(frozen=True, slots=True)
class LogVerification:
    """How to verify one log. `fetch` must be usable from several threads.

    The log must extend `seen` and `since`. What is before `since` is taken as verified: entries and links are
    read from there on only.
    """

    origin: str
    verifiers: Sequence[Verifier]
    fetch: Fetch
    policy: Policy = NO_WITNESSES
    seen: Seen | None = None
    since: Seen | None = None
    on_progress: Callable[[int, int], None] = lambda done, total: None
    """Called with the leaves verified and the leaves to verify, after each bundle."""
    on_leaf: Callable[[int, bytes], None] = lambda index, entry: None
    """Called with each leaf's index and bytes, in order: what stands in the log if the run finds no fault."""

    def run(self) -> Result:
        """Verify the log as it stands now.

        Raises whatever `fetch` raises other than `Missing`: then nothing is known, for or against the log.
        """
        result = Result(self.origin)
        try:
            self._run(result)
        except _FileFault as fault:
            result.add(self._finding(Fault.CHANGED, str(fault), leaf_index=fault.leaf_index))
        except Missing as error:
            result.add(self._finding(Fault.REMOVED, str(error)))
        except NoteError as error:
            result.add(self._finding(Fault.SIGNATURE, str(error)))
        except (TileError, SegmentError, ProofError) as error:
            result.add(self._finding(Fault.CHANGED, str(error)))
        return result

    def _run(self, result: Result) -> None:
        known = [one.checkpoint for one in (self.seen, self.since) if one is not None]
        try:
            signed = self.fetch(CHECKPOINT)
        except Missing:
            if not known:
                return  # a log without a leaf yet
            raise
        checkpoint, cosigned_at = open_cosigned(signed, self.origin, self.verifiers, self.policy)
        result.note, result.checkpoint, result.cosigned_at = signed, checkpoint, cosigned_at
        for one in known:
            if checkpoint.size < one.size:
                message = f"rolled back: it had {one.size} leaves when last seen, and has {checkpoint.size}"
                result.add(self._finding(Fault.REMOVED, message))
                return
        reader = TileReader(self.fetch, checkpoint.size, checkpoint.root)
        for one in known:
            if reader.frontier_at(one.size).root() != one.root:
                result.add(self._finding(Fault.FORKED, f"its first {one.size} leaves are not those last seen"))
            elif checkpoint.size == one.size and one.extensions not in ((), checkpoint.extensions):
                result.add(
                    self._finding(Fault.FORKED, f"its segment of size {one.size} is not the one last seen")
                )
        if result.faults and self.since is not None:
            return  # without it the audit goes on, to name the first leaf that differs
        self._audit(result, signed, checkpoint, reader)

    def _audit(self, result: Result, signed: bytes, checkpoint: Checkpoint, reader: TileReader) -> None:
        start = self._start(reader)
        audit = LogAudit(
            origin=self.origin,
            verifiers=self.verifiers,
            seen=self.seen.checkpoint if self.seen else None,
            # The tree that was seen is compared already; where it differs, the heads name whose leaves do.
            seen_heads=(self.seen and not start and self.seen.heads) or {},
            start=start,
        )
        end = start.end if start else segment.CHAIN_START
        try:
            with (
                closing(self._segments(signed, checkpoint, end.next_index)) as segments,
                closing(self._leaves(reader, end.tree_size)) as leaves,
            ):
                for finding in audit.findings(segments, leaves):
                    result.add(finding)
        finally:
            result.leaves, result.segments = audit.leaves, audit.segments
            result.unlinked_agents = audit.unlinked_agents
            result.offsets_without_leaves = audit.offsets_without_leaves
            result.heads = self._all_heads(audit.heads, start)

    def _all_heads(self, found: dict[str, AgentHead], start: Start | None) -> dict[str, AgentHead] | None:
        """Every agent's head; None where some are not known, because the audit began after their last leaf."""
        if start is None or start.heads is not None:
            return found
        if self.seen is None or self.seen.heads is None or self.seen.checkpoint.size < start.end.tree_size:
            return None
        return {**self.seen.heads, **found}

    def _start(self, reader: TileReader) -> Start | None:
        """The log at `since`; None where that is the beginning."""
        if self.since is None or self.since.checkpoint.size == 0:
            return None
        size = self.since.checkpoint.size
        index, hashed = segment.last_segment(self.since.checkpoint)
        bundle, at = divmod(index, TILE_WIDTH)
        data = fetch_tile(self.fetch, TilePath(SEGMENTS, bundle, at + 1))[at]
        if segment.header_hash(data) != hashed:
            raise SegmentError(f"segment {index} is not the one last seen")
        end = segment.chain_end(segment.parse_header(data), hashed)
        return Start(reader.frontier_at(size), end, self.since.heads)

    def _segments(self, signed: bytes, checkpoint: Checkpoint, first: int) -> Generator[SegmentRow, None, None]:
        last, _ = segment.last_segment(checkpoint)
        index = first - first % TILE_WIDTH
        for headers in _ahead(self._fetch, paths_of(SEGMENTS, last + 1, first)):
            for header in headers:
                if index >= first:
                    yield SegmentRow(header, signed if index == last else None)
                index += 1

    def _leaves(self, reader: TileReader, first: int) -> Generator[LeafRow, None, None]:
        """The entries from `first` on, each with its hash from a tile that leads to the root."""
        for bundle, (entries, hashes) in _ahead(self._fetch_bundle, paths_of(ENTRIES, reader.size, first)):
            start = bundle * TILE_WIDTH
            try:
                verified = reader.tile(0, bundle, hashes)
            except TileError as error:
                raise _FileFault(str(error), start) from error
            for index, (entry, hashed) in enumerate(zip(entries, verified, strict=True), start):
                if index >= first:
                    self.on_leaf(index, entry)
                    yield LeafRow(index, entry, hashed)
            self.on_progress(start + len(entries) - first, reader.size - first)

    def _fetch(self, path: TilePath) -> list[bytes]:
        return fetch_tile(self.fetch, path)

    def _fetch_bundle(self, path: TilePath) -> tuple[int, tuple[list[bytes], list[bytes]]]:
        try:
            return path.number, (self._fetch(path), self._fetch(path._replace(kind=0)))
        except TileError as error:
            raise _FileFault(str(error), path.number * TILE_WIDTH) from error

    def _finding(self, fault: Fault, message: str, leaf_index: int | None = None) -> Finding:
        return Finding(origin=self.origin, fault=fault, message=message, leaf_index=leaf_index)


class _FileFault(TileError):
    """A file with the leaves from `leaf_index` on is missing, malformed or wrong."""

    def __init__(self, message: str, leaf_index: int) -> None:
        super().__init__(message)
        self.leaf_index = leaf_index


def _ahead(work: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """`map(work, items)`, a few items ahead of the reader and no more."""
    with ThreadPoolExecutor(_FETCHES_AT_ONCE) as pool:
        under_way: deque[Future[_Result]] = deque()
        try:
            for item in items:
                under_way.append(pool.submit(work, item))
                if len(under_way) == _FETCHES_AHEAD:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()
