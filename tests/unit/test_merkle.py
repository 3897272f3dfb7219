"""The Merkle tree against published roots, and what its proofs refuse."""

from __future__ import annotations

import pytest

from pactstream.ledger import merkle
from pactstream.ledger.merkle import Frontier, MemoryTree, ProofError

# The test vectors of Certificate Transparency: leaves, and the root after each.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
HASHES = [merkle.leaf_hash(leaf) for leaf in LEAVES]
TREE = MemoryTree(HASHES)


def root(size: int) -> bytes:
    return bytes.fromhex(ROOTS[size])


@pytest.mark.parametrize("size", range(len(ROOTS)))
def test_published_roots(size: int) -> None:
    frontier = Frontier()
    for value in HASHES[:size]:
        frontier.append(value)
    assert frontier.root() == root(size)
    assert TREE.root(size) == root(size)


def test_the_tree_without_a_size_is_all_of_it() -> None:
    assert TREE.root() == root(len(TREE)) == root(8)
    for size in (-1, 9):
        with pytest.raises(ProofError, match="has 8 leaves"):
            TREE.root(size)


@pytest.mark.parametrize("size", range(8))
def test_a_restored_frontier_goes_on_where_it_was(size: int) -> None:
    frontier = Frontier()
    for value in HASHES[:size]:
        frontier.append(value)
    restored = Frontier.restore(frontier.size, frontier.peaks())
    for value in HASHES[size:]:
        restored.append(value)
    assert (restored.size, restored.root()) == (8, root(8))


@pytest.mark.parametrize(("size", "length"), [(0, 32), (1, 0), (1, 31), (1, 33), (3, 32), (-1, 32), (2, 64)])
def test_a_frontier_of_another_length_is_refused(size: int, length: int) -> None:
    with pytest.raises(ProofError, match="cannot be"):
        Frontier.restore(size, bytes(length))


@pytest.mark.parametrize(("index", "size"), [(-1, 8), (8, 8), (0, 0)])
def test_a_leaf_outside_the_tree_has_no_proof(index: int, size: int) -> None:
    with pytest.raises(ProofError, match="no leaf"):
        merkle.inclusion_proof(index, size, TREE.node)
    with pytest.raises(ProofError, match="no leaf"):
        merkle.verify_inclusion(HASHES[0], index, size, [], root(8))


@pytest.mark.parametrize(("old", "new"), [(-1, 3), (4, 3)])
def test_a_tree_never_shrinks(old: int, new: int) -> None:
    with pytest.raises(ProofError, match="does not extend"):
        merkle.consistency_proof(old, new, TREE.node)
    with pytest.raises(ProofError, match="does not extend"):
        merkle.verify_consistency(old, root(0), new, root(3), [])


@pytest.mark.parametrize("size", range(1, 9))
def test_an_inclusion_proof_has_its_exact_length(size: int) -> None:
    for index in range(size):
        proof = merkle.inclusion_proof(index, size, TREE.node)
        merkle.verify_inclusion(HASHES[index], index, size, proof, root(size))
        for wrong in ([*proof, bytes(32)], proof[:-1], proof[1:]):
            if wrong != proof:
                with pytest.raises(ProofError, match=r"too long|too short"):
                    merkle.verify_inclusion(HASHES[index], index, size, wrong, root(size))


@pytest.mark.parametrize("new", range(1, 9))
def test_a_consistency_proof_has_its_exact_length(new: int) -> None:
    for old in range(new + 1):
        proof = merkle.consistency_proof(old, new, TREE.node)
        merkle.verify_consistency(old, root(old), new, root(new), proof)
        for wrong in ([*proof, bytes(32)], proof[:-1], proof[1:]):
            if wrong != proof:
                with pytest.raises(ProofError, match=r"too long|too short"):
                    merkle.verify_consistency(old, root(old), new, root(new), wrong)


def test_an_empty_consistency_proof_between_two_sizes_is_refused() -> None:
    for old in (3, 4):
        with pytest.raises(ProofError, match="too short"):
            merkle.verify_consistency(old, root(old), 8, root(8), [])


def test_proofs_lead_to_one_root_only() -> None:
    proof = merkle.inclusion_proof(3, 8, TREE.node)
    with pytest.raises(ProofError, match="another root"):
        merkle.verify_inclusion(HASHES[2], 3, 8, proof, root(8))
    proof = merkle.consistency_proof(3, 8, TREE.node)
    for roots in ((root(4), root(8)), (root(3), root(7))):
        with pytest.raises(ProofError, match="other roots"):
            merkle.verify_consistency(3, roots[0], 8, roots[1], proof)
    for old, roots in ((0, (root(1), root(8))), (8, (root(7), root(8)))):
        with pytest.raises(ProofError, match="other roots"):
            merkle.verify_consistency(old, roots[0], 8, roots[1], [])


def test_hashes_are_32_bytes() -> None:
    with pytest.raises(ProofError, match="32 bytes"):
        merkle.verify_inclusion(HASHES[0], 0, 2, [b"short"], root(2))
    with pytest.raises(ProofError, match="32 bytes"):
        merkle.verify_consistency(1, b"", 2, root(2), [HASHES[1]])
