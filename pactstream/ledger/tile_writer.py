"""Turns a growing log into the files of tlog-tiles, in memory bounded by one tile a level and one bundle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Self

from pactstream.ledger import merkle
from pactstream.ledger.tile_reader import TileReader, frontier_of
from pactstream.ledger.tiles import (
    ENTRIES,
    SEGMENTS,
    TILE_WIDTH,
    Fetch,
    Published,
    TilePath,
    encode_bundle,
    fetch_tile,
    hashes_at,
    paths_of,
)


class TileWriter:
    """The right edge of a log's tiles: what is not yet in a full one."""

    def __init__(self) -> None:
        self.size = 0
        self._entries: list[bytes] = []
        self._hashes: list[list[bytes]] = [[]]

    @classmethod
    def restore(cls, size: int, root: bytes, fetch: Fetch) -> Self:
        """The writer as it stood when it had published the tree (`size`, `root`), from what it published then.

        Raises `TileError` unless the files lead to that root.
        """
        reader = TileReader(fetch, size, root)
        writer = cls()
        writer.size = size
        writer._hashes = [reader.partial(level) for level in range(reader.levels)] or [[]]
        width = size % TILE_WIDTH
        if width:
            writer._entries = reader.check_entries(
                size // TILE_WIDTH, fetch_tile(fetch, TilePath(ENTRIES, size // TILE_WIDTH, width))
            )
        return writer

    def root(self) -> bytes:
        """The root hash of the tree as it stands."""
        return frontier_of(self.size, self._hashes).root()

    def extend(self, entries: Sequence[bytes]) -> Iterator[Published]:
        """Append entries; the bundles and tiles that they fill. Iterate to the end.

        Each file's content depends on the entries alone, so writing it again changes nothing.

        Raises:
            TileError: an entry is longer than a bundle can hold.
        """
        taken = 0
        while taken < len(entries):
            chunk = entries[taken : taken + TILE_WIDTH - len(self._entries)]
            self._entries += chunk
            self._hashes[0] += map(merkle.leaf_hash, chunk)
            taken += len(chunk)
            self.size += len(chunk)
            if len(self._entries) == TILE_WIDTH:
                yield from self._full()

    def edge(self) -> Iterator[Published]:
        """The partial bundle and tiles of the tree as it stands: what a checkpoint needs besides full ones."""
        size = self.size
        if self._entries:
            path = TilePath(ENTRIES, size // TILE_WIDTH, len(self._entries))
            yield Published(str(path), encode_bundle(self._entries))
        for level, hashes in enumerate(self._hashes):
            if hashes:
                path = TilePath(level, hashes_at(level + 1, size), len(hashes))
                yield Published(str(path), b"".join(hashes))

    def _full(self) -> Iterator[Published]:
        index = self.size // TILE_WIDTH - 1
        yield Published(str(TilePath(ENTRIES, index)), encode_bundle(self._entries))
        self._entries = []
        level = 0
        while len(hashes := self._hashes[level]) == TILE_WIDTH:
            yield Published(str(TilePath(level, index)), b"".join(hashes))
            self._hashes[level] = []
            level, index = level + 1, index // TILE_WIDTH
            if level == len(self._hashes):
                self._hashes.append([])
            self._hashes[level].append(merkle.complete_root(hashes))


class SegmentWriter:
    """The bundles of a log's segment headers."""

    def __init__(self, count: int = 0, last: Iterable[bytes] = ()) -> None:
        """After `count` headers, of which `last` are in no full bundle yet."""
        self._count = count
        self._last = list(last)

    @classmethod
    def restore(cls, count: int, fetch: Fetch) -> Self:
        """The writer as it stood when it had published `count` headers. Raises `TileError`."""
        first_partial = count - count % TILE_WIDTH
        (*_, last) = [[], *(fetch_tile(fetch, path) for path in paths_of(SEGMENTS, count, first_partial))]
        return cls(count, last)

    def append(self, header: bytes) -> Iterator[Published]:
        """Add the next header; the bundle that it fills. Iterate to the end."""
        self._last.append(header)
        self._count += 1
        if len(self._last) == TILE_WIDTH:
            yield Published(str(TilePath(SEGMENTS, self._count // TILE_WIDTH - 1)), encode_bundle(self._last))
            self._last = []

    def edge(self) -> Iterator[Published]:
        """The partial bundle of the headers that are in no full one."""
        if self._last:
            path = TilePath(SEGMENTS, self._count // TILE_WIDTH, len(self._last))
            yield Published(str(path), encode_bundle(self._last))
