"""Reads a tiled log that may lie: every hash is checked against the signed root before it is used."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from pactstream.ledger import merkle
from pactstream.ledger.tiles import (
    ENTRIES,
    TILE_HEIGHT,
    TILE_WIDTH,
    Fetch,
    TileError,
    TilePath,
    fetch_tile,
    hashes_at,
)

_MAX_KEPT_TILES = 64


class TileReader:
    """The tree (`size`, `root`) of a checkpoint, in tiles that `fetch` gives.

    The partial tiles on the right edge hold the roots of all complete subtrees, and so lead to the root; a full
    tile is checked against its hash in the tile above it. The edge and at most 64 full tiles are kept.

    Raises (any method):
        TileError: a tile is missing, malformed, or does not lead to the root.
    """

    def __init__(self, fetch: Fetch, size: int, root: bytes) -> None:
        self.size = size
        self._fetch = fetch
        self._kept: OrderedDict[tuple[int, int], list[bytes]] = OrderedDict()
        self._edge = [self._fetch_partial(level) for level in range(self.levels)]
        if self.frontier().root() != root:
            raise TileError(f"the partial tiles of the tree of {size} leaves do not lead to its root")

    @property
    def levels(self) -> int:
        """How many levels of tiles the tree has."""
        return -(-self.size.bit_length() // TILE_HEIGHT)

    def partial(self, level: int) -> list[bytes]:
        """The hashes of the partial tile of a level; none where all its tiles are full."""
        return list(self._edge[level])

    def frontier(self) -> merkle.Frontier:
        """The right edge of the tree."""
        return frontier_of(self.size, self._edge)

    def frontier_at(self, size: int) -> merkle.Frontier:
        """The right edge of the first `size` leaves. Raises `ProofError` beyond the tree."""
        if not 0 <= size <= self.size:
            raise merkle.ProofError(f"the tree has {self.size} leaves, not {size}")
        levels = [level for level in range(size.bit_length() - 1, -1, -1) if size >> level & 1]
        peaks = [self.node(level, (size >> level) - 1) for level in levels]
        return merkle.Frontier.restore(size, b"".join(peaks))

    def tile(self, level: int, index: int, hashes: Sequence[bytes] | None = None) -> list[bytes]:
        """The verified hashes of one tile, full or partial as the tree has it; `hashes` if fetched already."""
        if not 0 <= index * TILE_WIDTH < hashes_at(level, self.size):
            raise merkle.ProofError(f"a tree of {self.size} leaves has no tile {index} of level {level}")
        if index == hashes_at(level + 1, self.size):
            edge = self._edge[level]
            if hashes is not None and hashes != edge:
                raise TileError(f"{TilePath(level, index, len(edge))} is not the same at every look")
            return edge
        kept = self._kept.get((level, index))
        if kept is None:
            path = TilePath(level, index)
            kept = fetch_tile(self._fetch, path) if hashes is None else list(hashes)
            above = self.tile(level + 1, index // TILE_WIDTH)[index % TILE_WIDTH]
            if merkle.complete_root(kept) != above:
                raise TileError(f"{path} does not lead to the root")
            self._kept[level, index] = kept
            if len(self._kept) > _MAX_KEPT_TILES:
                self._kept.popitem(last=False)
        self._kept.move_to_end((level, index))
        return kept

    def node(self, level: int, index: int) -> bytes:
        """The hash of a complete subtree, as `merkle.Nodes`."""
        tile_level, height = divmod(level, TILE_HEIGHT)
        first = index << height
        at = first % TILE_WIDTH
        hashes = self.tile(tile_level, first // TILE_WIDTH)[at : at + (1 << height)]
        return merkle.complete_root(hashes)

    def inclusion_proof(self, index: int) -> list[bytes]:
        """The audit path of a leaf. Raises `ProofError` when there is no such leaf."""
        return merkle.inclusion_proof(index, self.size, self.node)

    def consistency_proof(self, old_size: int) -> list[bytes]:
        """The proof that this tree extends its first `old_size` leaves. Raises `ProofError` beyond the tree."""
        return merkle.consistency_proof(old_size, self.size, self.node)

    def entry(self, index: int) -> bytes:
        """The verified entry at `index`. Raises `ProofError` when there is none."""
        if not 0 <= index < self.size:
            raise merkle.ProofError(f"no leaf {index} in a tree of {self.size}")
        return self.entries(index // TILE_WIDTH)[index % TILE_WIDTH]

    def entries(self, bundle: int) -> list[bytes]:
        """The verified entries of a bundle. Raises `ProofError` when the tree has none in it."""
        width = min(TILE_WIDTH, self.size - bundle * TILE_WIDTH)
        if bundle < 0 or width <= 0:
            raise merkle.ProofError(f"a tree of {self.size} leaves has no bundle {bundle}")
        return self.check_entries(bundle, fetch_tile(self._fetch, TilePath(ENTRIES, bundle, width)))

    def check_entries(self, bundle: int, entries: list[bytes]) -> list[bytes]:
        """`entries`, if the tree has them in this bundle; `TileError` names the first that it has not."""
        for at, (entry, hashed) in enumerate(zip(entries, self.tile(0, bundle), strict=True)):
            if merkle.leaf_hash(entry) != hashed:
                raise TileError(f"entry {bundle * TILE_WIDTH + at} does not have its hash")
        return entries

    def _fetch_partial(self, level: int) -> list[bytes]:
        index, width = divmod(hashes_at(level, self.size), TILE_WIDTH)
        return fetch_tile(self._fetch, TilePath(level, index, width)) if width else []


def frontier_of(size: int, edge: Sequence[Sequence[bytes]]) -> merkle.Frontier:
    """The right edge of a tree from the hashes in the partial tile of each level, the lowest first."""
    peaks = [peak for hashes in reversed(edge) for peak in _peaks(hashes)]
    return merkle.Frontier.restore(size, b"".join(peaks))


def _peaks(hashes: Sequence[bytes]) -> list[bytes]:
    """The roots of the complete subtrees over a partial tile, largest first."""
    peaks = []
    at = 0
    for height in range(TILE_HEIGHT - 1, -1, -1):
        if len(hashes) >> height & 1:
            peaks.append(merkle.complete_root(hashes[at : at + (1 << height)]))
            at += 1 << height
    return peaks
