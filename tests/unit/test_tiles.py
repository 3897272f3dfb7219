"""Tiles: paths, bundles, what a writer publishes, and a reader that believes only what leads to the root."""

from __future__ import annotations

from functools import cache

import pytest

from pactstream.ledger import merkle, tiles
from pactstream.ledger.merkle import MemoryTree, ProofError
from pactstream.ledger.tile_reader import TileReader
from pactstream.ledger.tile_writer import SegmentWriter, TileWriter
from pactstream.ledger.tiles import ENTRIES, SEGMENTS, Missing, TileError, TilePath


class Files(dict[str, bytes]):
    """Published files; `fetch` counts what is asked for."""

    def fetch(self, path: str) -> bytes:
        if path not in self:
            raise Missing(f"{path} is missing")
        return self[path]

    def put(self, published: tiles.Published) -> None:
        """Like a real store: a file never changes."""
        assert published.data, "an empty tile"
        assert self.setdefault(published.path, published.data) == published.data


def entries(count: int, first: int = 0) -> list[bytes]:
    return [b"entry %d" % number for number in range(first, first + count)]


def tree_of(count: int) -> MemoryTree:
    return MemoryTree(map(merkle.leaf_hash, entries(count)))


def publish(*sizes: int) -> Files:
    """The files of a log that published a checkpoint of each size."""
    files, writer = Files(), TileWriter()
    for size in sizes:
        for file in [*writer.extend(entries(size - writer.size, writer.size)), *writer.edge()]:
            files.put(file)
    return files


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (TilePath(0, 0), "tile/0/000"),
        (TilePath(0, 67, 3), "tile/0/067.p/3"),
        (TilePath(1, 1234067), "tile/1/x001/x234/067"),  # the specification's example
        (TilePath(63, 1000, 255), "tile/63/x001/000.p/255"),
        (TilePath(ENTRIES, 273, 112), "tile/entries/273.p/112"),
        (TilePath(SEGMENTS, 5), "segments/005"),
    ],
)
def test_paths(path: TilePath, text: str) -> None:
    assert str(path) == text
    assert tiles.parse_path(text) == path


@pytest.mark.parametrize(
    "text",
    [
        "",
        "checkpoint",
        "tile/0/0",
        "tile/0/1234",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/00/001",
        "tile/64/001",
        "tile/-1/001",
        "tile/0/001.p/0",
        "tile/0/001.p/256",
        "tile/0/001.p/01",
        "tile/0/001.p/",
        "tile/0/001\n",
        "tile/data/001",
        "tile/0/٠٠١",
        "segments/x001",
        "tile/0/" + "x001/" * 6 + "001",
        "../tile/0/001",
    ],
)
def test_other_texts_are_no_paths(text: str) -> None:
    with pytest.raises(TileError, match="not a tile's path"):
        tiles.parse_path(text)


def test_paths_of_a_count() -> None:
    assert [str(path) for path in tiles.paths_of(0, 600)] == ["tile/0/000", "tile/0/001", "tile/0/002.p/88"]
    assert [str(path) for path in tiles.paths_of(0, 512, 300)] == ["tile/0/001"]
    assert list(tiles.paths_of(0, 512, 512)) == []


def test_bundles() -> None:
    items = [b"", b"a", b"x" * 65_535]
    data = tiles.encode_bundle(items)
    assert data[:5] == b"\0\0\0\1a"
    assert tiles.parse_bundle(data, 3) == items
    for wrong, width in ((data, 2), (data, 4), (data[:-1], 3), (data + b"\0", 3), (data[:1], 1), (b"", 1)):
        with pytest.raises(TileError):
            tiles.parse_bundle(wrong, width)


@pytest.mark.parametrize("items", [[], [b""] * 257, [b"x" * 65_536]])
def test_a_bundle_that_cannot_be(items: list[bytes]) -> None:
    with pytest.raises(TileError):
        tiles.encode_bundle(items)


def test_a_tile_has_exactly_its_width() -> None:
    assert tiles.parse_tile(bytes(64), 2) == [bytes(32)] * 2
    for size in (0, 63, 65, 96):
        with pytest.raises(TileError, match="tile of width 2"):
            tiles.parse_tile(bytes(size), 2)


def test_what_a_tree_of_70000_leaves_publishes() -> None:
    """The specification's example: 273 full level 0 tiles, and so on."""
    files = publish(70_000)
    hash_tiles = sorted(path for path in files if "/entries/" not in path)
    assert len(hash_tiles) == 273 + 1 + 1 + 1 + 1
    assert {path for path in files if ".p/" in path} == {
        "tile/0/273.p/112",
        "tile/1/001.p/17",
        "tile/2/000.p/1",
        "tile/entries/273.p/112",
    }
    assert "tile/1/000" in files
    assert len(files["tile/0/000"]) == 8_192


def test_a_tree_of_256_leaves_has_a_full_tile_and_one_above() -> None:
    assert set(publish(256)) == {"tile/0/000", "tile/entries/000", "tile/1/000.p/1"}


def test_an_empty_tree_publishes_nothing() -> None:
    assert publish(0) == {}
    assert TileReader(Files().fetch, 0, merkle.EMPTY_ROOT).levels == 0


def test_every_published_checkpoint_keeps_its_partial_tiles() -> None:
    sizes = (1, 2, 200, 256, 300, 513)
    files = publish(*sizes)
    for size in sizes:
        tree = tree_of(size)
        reader = TileReader(files.fetch, size, tree.root())
        assert [reader.entry(index) for index in (0, size // 2, size - 1)] == [
            entries(size)[index] for index in (0, size // 2, size - 1)
        ]


def test_a_partial_tile_may_be_gone_once_the_full_one_is_there() -> None:
    files = publish(200, 600)
    for path in [path for path in files if ".p/200" in path]:
        del files[path]
    reader = TileReader(files.fetch, 200, tree_of(200).root())
    assert reader.entry(199) == b"entry 199"
    assert reader.inclusion_proof(7) == merkle.inclusion_proof(7, 200, tree_of(200).node)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 700, 65_536, 65_537])
def test_a_writer_goes_on_from_what_it_published(size: int) -> None:
    files, more = publish(size), size + 300
    writer = TileWriter.restore(size, tree_of(size).root(), files.fetch)
    for file in [*writer.extend(entries(300, size)), *writer.edge()]:
        files.put(file)
    assert files == publish(size, more)
    assert writer.root() == tree_of(more).root()


def test_a_writer_does_not_go_on_from_something_else() -> None:
    files = publish(300)
    with pytest.raises(TileError, match="do not lead to its root"):
        TileWriter.restore(300, bytes(32), files.fetch)
    files["tile/entries/001.p/44"] = tiles.encode_bundle([*entries(43, 256), b"other"])
    with pytest.raises(TileError, match="entry 299 does not have its hash"):
        TileWriter.restore(300, tree_of(300).root(), files.fetch)


def test_an_entry_too_long_for_a_bundle_is_refused() -> None:
    with pytest.raises(TileError, match="at most 65535"):
        list(TileWriter().extend([b"x" * 65_536, *entries(255)]))


def test_segments_are_published_as_they_come() -> None:
    files, writer = Files(), SegmentWriter()
    for number in range(300):
        for file in [*writer.append(b"header %d" % number), *writer.edge()]:
            files.put(file)
        if number % 100 == 99:
            writer = SegmentWriter.restore(number + 1, files.fetch)
    assert "segments/000" in files
    assert tiles.parse_bundle(files["segments/001.p/44"], 44)[-1] == b"header 299"
    assert list(SegmentWriter.restore(256, files.fetch).edge()) == []
    with pytest.raises(Missing):
        SegmentWriter.restore(400, files.fetch)


SIZE = 66_000


@cache
def large_files() -> Files:
    return publish(SIZE)


@cache
def large_tree() -> MemoryTree:
    return tree_of(SIZE)


def test_proofs_from_tiles_are_those_of_the_tree() -> None:
    reader = TileReader(large_files().fetch, SIZE, large_tree().root())
    for index in (0, 255, 256, 40_000, 65_535, 65_536, SIZE - 1):
        assert reader.inclusion_proof(index) == merkle.inclusion_proof(index, SIZE, large_tree().node)
    for old in (0, 1, 256, 300, 65_536, 65_999, SIZE):
        proof = reader.consistency_proof(old)
        merkle.verify_consistency(old, large_tree().root(old), SIZE, large_tree().root(), proof)
        assert reader.frontier_at(old).root() == large_tree().root(old)
    assert reader.frontier().root() == large_tree().root()


def test_a_reader_refuses_what_the_tree_has_not() -> None:
    reader = TileReader(large_files().fetch, SIZE, large_tree().root())
    for index in (-1, SIZE):
        with pytest.raises(ProofError):
            reader.entry(index)
        with pytest.raises(ProofError):
            reader.inclusion_proof(index)
    for size in (-1, SIZE + 1):
        with pytest.raises(ProofError):
            reader.frontier_at(size)
        with pytest.raises(ProofError):
            reader.consistency_proof(size)
    for bundle in (-1, SIZE // 256 + 1):
        with pytest.raises(ProofError, match="has no bundle"):
            reader.entries(bundle)
    for level, index in ((0, 258), (0, -1), (3, 0)):
        with pytest.raises(ProofError, match="has no tile"):
            reader.tile(level, index)


def test_a_changed_tile_is_named() -> None:
    for path in ("tile/0/007", "tile/1/000"):
        files = Files(large_files())
        files[path] = bytes(32) + files[path][32:]
        reader = TileReader(files.fetch, SIZE, large_tree().root())
        with pytest.raises(TileError, match=f"^{path} does not lead to the root"):
            reader.entry(7 * 256)


def test_a_changed_edge_is_refused() -> None:
    for path in [path for path in large_files() if ".p/" in path and "entries" not in path]:
        files = Files(large_files())
        files[path] = bytes(32) + files[path][32:]
        with pytest.raises(TileError, match="do not lead to its root"):
            TileReader(files.fetch, SIZE, large_tree().root())


def test_a_changed_entry_is_named() -> None:
    files = Files(large_files())
    files["tile/entries/002"] = tiles.encode_bundle([*entries(9, 512), b"forged", *entries(246, 522)])
    with pytest.raises(TileError, match=r"^entry 521 does not have its hash"):
        TileReader(files.fetch, SIZE, large_tree().root()).entry(600)


def test_a_missing_or_malformed_tile_is_named() -> None:
    files = Files(large_files())
    del files["tile/0/003"]
    files["tile/0/004"] += b"\0"
    reader = TileReader(files.fetch, SIZE, large_tree().root())
    with pytest.raises(Missing, match="tile/0/003"):
        reader.entry(3 * 256)
    with pytest.raises(TileError, match=r"^tile/0/004: a tile of width 256"):
        reader.entry(4 * 256)


def test_tiles_fetched_already_are_checked_too() -> None:
    reader = TileReader(large_files().fetch, SIZE, large_tree().root())
    good = tiles.parse_tile(large_files()["tile/0/005"], 256)
    assert reader.tile(0, 5, good) == good
    with pytest.raises(TileError, match="tile/0/006 does not lead"):
        reader.tile(0, 6, good)
    edge = reader.partial(0)
    assert reader.tile(0, 257, edge) == edge
    with pytest.raises(TileError, match="not the same at every look"):
        reader.tile(0, 257, good)


def test_a_reader_keeps_a_bounded_number_of_tiles() -> None:
    reader = TileReader(large_files().fetch, SIZE, large_tree().root())
    for index in range(257):
        reader.tile(0, index)
    assert len(reader._kept) == 64
