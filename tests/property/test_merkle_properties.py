"""Proofs: every one verifies, every single-bit change fails, and roots agree with an independent library."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from pactstream.ledger import merkle
from pactstream.ledger.merkle import Frontier, MemoryTree, ProofError

LEAVES = st.lists(st.binary(max_size=40), min_size=1, max_size=70)


def flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8 % len(data)] ^= 1 << bit % 8
    return bytes(changed)


def tree_of(leaves: list[bytes]) -> MemoryTree:
    return MemoryTree(merkle.leaf_hash(leaf) for leaf in leaves)


@given(LEAVES)
def test_roots_agree_with_pymerkle(leaves: list[bytes]) -> None:
    reference = InmemoryTree(algorithm="sha256")
    frontier = Frontier()
    tree = tree_of(leaves)
    for size, leaf in enumerate(leaves, start=1):
        reference.append_entry(leaf)
        frontier.append(merkle.leaf_hash(leaf))
        assert frontier.root() == tree.root(size) == reference.get_root(size)


@given(LEAVES, st.data())
def test_every_inclusion_proof_verifies_and_every_bit_counts(leaves: list[bytes], data: st.DataObject) -> None:
    tree = tree_of(leaves)
    size = data.draw(st.integers(1, len(leaves)))
    index = data.draw(st.integers(0, size - 1))
    leaf, root = merkle.leaf_hash(leaves[index]), tree.root(size)
    proof = merkle.inclusion_proof(index, size, tree.node)
    merkle.verify_inclusion(leaf, index, size, proof, root)

    parts = [leaf, root, *proof]
    victim = data.draw(st.integers(0, len(parts) - 1))
    parts[victim] = flip(parts[victim], data.draw(st.integers(0, 255)))
    with pytest.raises(ProofError):
        merkle.verify_inclusion(parts[0], index, size, parts[2:], parts[1])


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=70, unique=True), st.data())
def test_an_inclusion_proof_holds_for_one_index_only(leaves: list[bytes], data: st.DataObject) -> None:
    tree = tree_of(leaves)
    size = len(leaves)
    index = data.draw(st.integers(0, size - 1))
    other = data.draw(st.integers(0, size + 2).filter(lambda value: value != index))
    proof = merkle.inclusion_proof(index, size, tree.node)
    with pytest.raises(ProofError):
        merkle.verify_inclusion(merkle.leaf_hash(leaves[index]), other, size, proof, tree.root())


@given(LEAVES, st.data())
def test_every_consistency_proof_verifies_and_every_bit_counts(
    leaves: list[bytes], data: st.DataObject
) -> None:
    tree = tree_of(leaves)
    new = data.draw(st.integers(1, len(leaves)))
    old = data.draw(st.integers(1, new))
    proof = merkle.consistency_proof(old, new, tree.node)
    parts = [tree.root(old), tree.root(new), *proof]
    merkle.verify_consistency(old, parts[0], new, parts[1], parts[2:])

    victim = data.draw(st.integers(0, len(parts) - 1))
    parts[victim] = flip(parts[victim], data.draw(st.integers(0, 255)))
    with pytest.raises(ProofError):
        merkle.verify_consistency(old, parts[0], new, parts[1], parts[2:])


@given(LEAVES, LEAVES, st.data())
def test_a_rewritten_history_has_no_consistency_proof(
    leaves: list[bytes], others: list[bytes], data: st.DataObject
) -> None:
    """The forger's own tree yields proofs; none of them links the root that was published before."""
    old = data.draw(st.integers(1, len(leaves)))
    before, forged = tree_of(leaves[:old]), tree_of(others)
    new = len(others)
    if old <= new and before.root() != forged.root(old):
        proof = merkle.consistency_proof(old, new, forged.node)
        with pytest.raises(ProofError):
            merkle.verify_consistency(old, before.root(), new, forged.root(), proof)


@settings(max_examples=200)
@given(
    st.integers(-1, 70),
    st.integers(-1, 70),
    st.lists(st.binary(min_size=31, max_size=33), max_size=8),
    st.binary(min_size=32, max_size=32),
)
def test_garbage_raises_only_our_error(one: int, other: int, proof: list[bytes], root: bytes) -> None:
    with pytest.raises(ProofError):
        merkle.verify_inclusion(bytes(32), one, other, [*proof, bytes(32)], root)
    with pytest.raises(ProofError):
        merkle.verify_consistency(one, bytes(32), other, root, [*proof, bytes(32)])
