"""Tiles: the files of a log give every proof of every checkpoint; parsers raise our errors only."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pactstream.ledger import merkle, tiles
from pactstream.ledger.tile_reader import TileReader
from pactstream.ledger.tile_writer import TileWriter
from pactstream.ledger.tiles import Missing, TileError, TilePath


@settings(max_examples=20)
@given(st.lists(st.integers(0, 400), min_size=1, max_size=4), st.data())
def test_every_proof_of_every_checkpoint_verifies(steps: list[int], data: st.DataObject) -> None:
    files: dict[str, bytes] = {}
    writer = TileWriter()
    checkpoints = []
    for step in steps:
        first = writer.size
        files |= dict(writer.extend([b"%d" % number for number in range(first, first + step)]))
        files |= dict(writer.edge())
        checkpoints.append((writer.size, writer.root()))

    def fetch(path: str) -> bytes:
        try:
            return files[path]
        except KeyError:
            raise Missing(path) from None

    old_size, old_root = data.draw(st.sampled_from(checkpoints))
    for size, root in checkpoints:
        reader = TileReader(fetch, size, root)
        if size:
            index = data.draw(st.integers(0, size - 1))
            leaf = merkle.leaf_hash(reader.entry(index))
            merkle.verify_inclusion(leaf, index, size, reader.inclusion_proof(index), root)
        if old_size <= size:
            merkle.verify_consistency(old_size, old_root, size, root, reader.consistency_proof(old_size))


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256), st.data())
def test_a_bundle_is_read_as_written_and_no_other_length_is(items: list[bytes], data: st.DataObject) -> None:
    bundle = tiles.encode_bundle(items)
    assert tiles.parse_bundle(bundle, len(items)) == items
    cut = data.draw(st.integers(0, len(bundle) - 1))
    for wrong in (bundle[:cut], bundle + b"\0"):
        with pytest.raises(TileError):
            tiles.parse_bundle(wrong, len(items))


@given(st.binary(max_size=600), st.integers(1, 256))
def test_garbage_raises_only_our_error(data: bytes, width: int) -> None:
    with contextlib.suppress(TileError):
        items = tiles.parse_bundle(data, width)
        assert tiles.encode_bundle(items) == data
    with contextlib.suppress(TileError):
        assert b"".join(tiles.parse_tile(data, width)) == data


@given(
    st.one_of(
        st.text(max_size=40),
        st.from_regex(r"(tile/(entries|[0-9]{1,2})|segments)/(x?[0-9]{3}/){0,3}[0-9]{3}(\.p/[0-9]{1,3})?"),
    )
)
def test_a_path_has_one_spelling(text: str) -> None:
    with contextlib.suppress(TileError):
        assert str(tiles.parse_path(text)) == text


@given(st.sampled_from([0, 63, "entries", "segments"]), st.integers(0, 10**18 - 1), st.integers(1, 256))
def test_every_path_is_read_as_written(kind: int | str, number: int, width: int) -> None:
    path = TilePath(kind, number, width)
    assert tiles.parse_path(str(path)) == path
