"""C2SP tlog-tiles: a log as static files, each named by what it holds.

A hash tile holds up to 256 consecutive hashes of one level, an entry bundle up to 256 consecutive entries. Full
ones never change. The rightmost of each level is partial and named by its width, so it never changes either: a
longer one is another file. Source: c2sp.org/tlog-tiles. Segment headers, which the specification does not
know, are published in bundles of the same form under `segments/`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from pactstream.errors import InvalidInput
from pactstream.ledger.merkle import HASH_BYTES

TILE_HEIGHT = 8
"""Levels of the tree in one level of tiles."""
TILE_WIDTH = 1 << TILE_HEIGHT
MAX_ENTRY_BYTES = 65_535
MAX_BUNDLE_BYTES = TILE_WIDTH * (2 + MAX_ENTRY_BYTES)
MAX_LEVEL = 63
CHECKPOINT = "checkpoint"
"""The path of the one file that changes."""

_PATH = re.compile(
    r"(?:tile/(entries|[0-9]{1,2})|(segments))/((?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([0-9]{1,3}))?", re.ASCII
)


class TileError(InvalidInput):
    """A tile, bundle or path that is malformed, or not the log's."""


class Missing(TileError):
    """There is no such file."""


Fetch = Callable[[str], bytes]
"""`fetch(path)`: a published file's content; raises `Missing` where there is none."""


class TilePath(NamedTuple):
    """What a path names: tile or bundle `number` of a kind (a level, `ENTRIES` or `SEGMENTS`), items in it."""

    kind: int | str
    number: int
    width: int = TILE_WIDTH

    def __str__(self) -> str:
        folder = self.kind if self.kind == SEGMENTS else f"tile/{self.kind}"
        suffix = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"{folder}/{_numbered(self.number)}{suffix}"

    @property
    def full(self) -> TilePath:
        """The full tile that replaces this one in time."""
        return self._replace(width=TILE_WIDTH)


ENTRIES = "entries"
SEGMENTS = "segments"


class Published(NamedTuple):
    """A file to publish."""

    path: str
    data: bytes


def parse_path(text: str) -> TilePath:
    """The tile or bundle that a path names. Raises `TileError` for any other text, other spellings included."""
    match = _PATH.fullmatch(text)
    if match is None:
        raise TileError("not a tile's path")
    level, segments, groups, width = match.groups()
    kind = segments or (ENTRIES if level == ENTRIES else int(level))
    path = TilePath(kind, int(re.sub("[x/]", "", groups)), int(width) if width else TILE_WIDTH)
    out_of_range = (isinstance(kind, int) and kind > MAX_LEVEL) or not 0 < path.width <= TILE_WIDTH
    if out_of_range or str(path) != text:
        raise TileError("not a tile's path")
    return path


def paths_of(kind: int | str, count: int, first: int = 0) -> Iterator[TilePath]:
    """The tiles that hold items `first` and later of the `count` items of one kind."""
    for number in range(first // TILE_WIDTH, -(-count // TILE_WIDTH)):
        yield TilePath(kind, number, min(TILE_WIDTH, count - number * TILE_WIDTH))


def hashes_at(level: int, size: int) -> int:
    """How many hashes the tiles of `level` hold in a tree of `size` leaves."""
    return size >> TILE_HEIGHT * level


def parse_tile(data: bytes, width: int) -> list[bytes]:
    """The hashes of a tile. Raises `TileError` unless it has exactly `width`."""
    if len(data) != width * HASH_BYTES:
        raise TileError(f"a tile of width {width} has {width * HASH_BYTES} bytes, not {len(data)}")
    return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]


def encode_bundle(items: Sequence[bytes]) -> bytes:
    """A bundle: each item after its length as a big-endian uint16.

    Raises `TileError` for an item of more than 65,535 bytes, and for none or more than 256 items.
    """
    if not 0 < len(items) <= TILE_WIDTH:
        raise TileError(f"a bundle has 1 to {TILE_WIDTH} items, not {len(items)}")
    pieces: list[bytes] = []
    for item in items:
        if len(item) > MAX_ENTRY_BYTES:
            raise TileError(f"an item of {len(item)} bytes, at most {MAX_ENTRY_BYTES}")
        pieces += (len(item).to_bytes(2, "big"), item)
    return b"".join(pieces)


def parse_bundle(data: bytes, width: int) -> list[bytes]:
    """The items of a bundle. Raises `TileError` unless it is exactly `width` items long."""
    items = []
    at = 0
    for count in range(width):
        start = at + 2
        end = start + int.from_bytes(data[at:start], "big")
        if len(data) < max(start, end):
            raise TileError(f"the bundle ends in item {count} of {width}")
        items.append(data[start:end])
        at = end
    if at != len(data):
        raise TileError(f"the bundle has {len(data) - at} bytes after its {width} items")
    return items


def fetch_tile(fetch: Fetch, path: TilePath) -> list[bytes]:
    """The hashes or items that `path` holds, unverified. A partial one may be gone once the full one is there.

    Raises `Missing` when neither is there, `TileError` when it is malformed.
    """
    try:
        return _parse(path, fetch(str(path)))
    except Missing:
        if path.width == TILE_WIDTH:
            raise
    return _parse(path.full, fetch(str(path.full)))[: path.width]


def _parse(path: TilePath, data: bytes) -> list[bytes]:
    parse = parse_tile if isinstance(path.kind, int) else parse_bundle
    try:
        return parse(data, path.width)
    except TileError as error:
        raise TileError(f"{path}: {error}") from error


def _numbered(number: int) -> str:
    """Groups of three digits, all but the last behind an x: 1234067 is `x001/x234/067`."""
    groups = [f"{number % 1000:03d}"]
    while number := number // 1000:
        groups.append(f"x{number % 1000:03d}")
    return "/".join(reversed(groups))
