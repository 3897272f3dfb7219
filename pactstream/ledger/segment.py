"""Segments: a log grows by segments, each closed by a header and a signed checkpoint.

A header names the leaves it adds, the source offsets it covers without a gap, and the hash of the header
before it. Its index and hash stand in the checkpoint as an extension line: one signature covers all of it, and
whoever has the checkpoint knows how many segments to ask for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from pactstream import canonical, clock
from pactstream.errors import InvalidInput
from pactstream.ledger.leaf import Count, Hex32, Ordinal, Time
from pactstream.ledger.note import Checkpoint, NoteSigner, Verifier, open_checkpoint, sign_checkpoint

NO_SEGMENT = bytes(32)
"""What the first header has in place of a previous hash."""

_EXTENSION = re.compile(r"segment (0|[1-9][0-9]{0,15}) ([0-9a-f]{64})", re.ASCII)


class SegmentError(InvalidInput):
    """A header that is malformed, or does not continue the chain."""


class SegmentSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The offsets [first, next) of one partition that the segment covers, transaction markers included."""

    first_offset: Count
    next_offset: Count
    partition: Count
    topic: str


# Fields in the order of their encoded names: msgspec then writes RFC 8785 order (a test checks it).
class SegmentHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """What a segment adds: leaves [first_leaf, tree_size) of log `origin`. `root`, `previous`: hexadecimal."""

    first_leaf: Count
    index: Count
    leaves: Ordinal
    origin: Annotated[str, Meta(min_length=1)]
    previous: Hex32
    root: Hex32
    sealed_at: Time
    source: SegmentSource
    tree_size: Ordinal
    v: Literal[1]


class ChainEnd(NamedTuple):
    """Where a log's chain of segments stands: all that the next header must continue."""

    next_index: int
    tree_size: int
    next_offset: int
    header_hash: bytes


CHAIN_START = ChainEnd(0, 0, 0, NO_SEGMENT)


class SealedSegment(NamedTuple):
    """A closed segment as it is stored: header, its canonical bytes, their hash, the signed checkpoint."""

    header: SegmentHeader
    header_bytes: bytes
    header_hash: bytes
    note: bytes

    @property
    def chain_end(self) -> ChainEnd:
        """The chain's end after this segment."""
        return chain_end(self.header, self.header_hash)


def seal(
    end: ChainEnd,
    *,
    origin: str,
    leaves: int,
    root: bytes,
    topic: str,
    partition: int,
    next_offset: int,
    sealed_at_micros: int,
    signers: Iterable[NoteSigner],
) -> SealedSegment:
    """Close the segment after `end` that adds `leaves` and covers the source up to `next_offset`.

    Raises `SegmentError` for an empty segment or an offset that goes back, `NoteError` for an origin that no
    checkpoint can carry.
    """
    header = SegmentHeader(
        first_leaf=end.tree_size,
        index=end.next_index,
        leaves=leaves,
        origin=origin,
        previous=end.header_hash.hex(),
        root=root.hex(),
        sealed_at=clock.to_iso(sealed_at_micros),
        source=SegmentSource(end.next_offset, next_offset, partition, topic),
        tree_size=end.tree_size + leaves,
        v=1,
    )
    data = canonical.dumps(msgspec.to_builtins(header))
    check_chain(parse_header(data), end)
    return SealedSegment(header, data, header_hash(data), sign_checkpoint(checkpoint_of(header, data), signers))


def open_sealed(header_bytes: bytes, note: bytes, origin: str, verifiers: Sequence[Verifier]) -> SegmentHeader:
    """The header of log `origin`, which the checkpoint in `note` signs.

    Its place in the chain is for `check_chain`. Raises `SegmentError` or `NoteError`.
    """
    checkpoint = open_checkpoint(note, origin, verifiers)
    header = parse_header(header_bytes)
    if checkpoint != checkpoint_of(header, header_bytes):
        raise SegmentError("the checkpoint signs another segment header")
    return header


def parse_header(data: bytes) -> SegmentHeader:
    """The header in `data`. Raises `SegmentError` unless `data` is exactly its canonical form."""
    try:
        header = _decode(data)
        canonical_form = canonical.dumps(msgspec.to_builtins(header))
    except (msgspec.DecodeError, InvalidInput, UnicodeError, RecursionError) as error:
        raise SegmentError(f"not a segment header: {error}") from error
    if canonical_form != data:
        raise SegmentError("not a segment header: the JSON is not in canonical form")
    return header


def header_hash(header_bytes: bytes) -> bytes:
    """SHA-256 of the header's canonical bytes."""
    return sha256(header_bytes).digest()


def chain_end(header: SegmentHeader, hashed_header: bytes) -> ChainEnd:
    """The chain's end after `header`."""
    return ChainEnd(header.index + 1, header.tree_size, header.source.next_offset, hashed_header)


def check_chain(header: SegmentHeader, end: ChainEnd) -> None:
    """Check that `header` continues the chain that stands at `end`. Raises `SegmentError` with every misfit."""
    faults = []
    if header.index != end.next_index:
        faults.append(f"its index is {header.index}, due was {end.next_index}")
    if header.previous != end.header_hash.hex():
        faults.append("it does not link to the segment before it")
    if header.first_leaf != end.tree_size:
        faults.append(f"its first leaf is {header.first_leaf}, due was {end.tree_size}")
    if header.tree_size != header.first_leaf + header.leaves:
        faults.append(f"{header.leaves} leaves from {header.first_leaf} do not make {header.tree_size}")
    if header.source.first_offset != end.next_offset:
        faults.append(f"its source begins at offset {header.source.first_offset}, due was {end.next_offset}")
    if header.source.next_offset <= header.source.first_offset:
        faults.append("its source range is empty")
    if faults:
        raise SegmentError(f"segment {header.index} does not continue the chain: {'; '.join(faults)}")


def checkpoint_of(header: SegmentHeader, header_bytes: bytes) -> Checkpoint:
    """The checkpoint that closes the segment: the tree after it, and its header's hash as extension line."""
    extension = f"segment {header.index} {header_hash(header_bytes).hex()}"
    return Checkpoint(header.origin, header.tree_size, bytes.fromhex(header.root), (extension,))


def last_segment(checkpoint: Checkpoint) -> tuple[int, bytes]:
    """Index and hash of the segment that a checkpoint closes. Raises `SegmentError` when it names none."""
    match = _EXTENSION.fullmatch(checkpoint.extensions[0]) if len(checkpoint.extensions) == 1 else None
    if match is None:
        raise SegmentError("the checkpoint has no line `segment <index> <hash>`, or others too")
    return int(match[1]), bytes.fromhex(match[2])


_decode = msgspec.json.Decoder(SegmentHeader).decode
