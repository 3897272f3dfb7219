"""The Merkle tree of RFC 6962 (section 2.1) and RFC 9162 (section 2.1), SHA-256.

Hashes are 32 bytes. Generators of proofs read complete subtrees through `Nodes`, so the same code serves a
tree in memory and one in tiles. Verifiers raise `ProofError` and return nothing: no result to ignore.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Self

from pactstream.errors import InvalidInput

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()
"""The root of a tree without leaves (RFC 6962, section 2.1)."""

Nodes = Callable[[int, int], bytes]
"""`nodes(level, index)`: hash of the complete subtree over leaves [index·2^level, (index+1)·2^level)."""


class ProofError(InvalidInput):
    """A proof, frontier or index that does not hold."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf: SHA-256(0x00 ‖ data)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node: SHA-256(0x01 ‖ left ‖ right)."""
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a growing tree: the roots of its complete subtrees (peaks), largest first.

    One peak per bit of `size`; enough to append and to compute the root, in O(log size) space.
    """

    __slots__ = ("_peaks", "size")

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def append(self, hashed_leaf: bytes) -> None:
        """Add the next leaf by its `leaf_hash`. Amortised two hashes."""
        node, size = hashed_leaf, self.size
        while size & 1:
            node = sha256(b"\x01" + self._peaks.pop() + node).digest()  # `node_hash`, without the call
            size >>= 1
        self._peaks.append(node)
        self.size += 1

    def root(self) -> bytes:
        """The root hash of the tree as it stands."""
        if not self._peaks:
            return EMPTY_ROOT
        node = self._peaks[-1]
        for left in reversed(self._peaks[:-1]):
            node = node_hash(left, node)
        return node

    def peaks(self) -> bytes:
        """The peaks' hashes, 32 bytes each, largest subtree first: with `size`, all there is to keep."""
        return b"".join(self._peaks)

    @classmethod
    def restore(cls, size: int, peaks: bytes) -> Self:
        """The frontier whose `size` and `peaks()` these were. Raises `ProofError` unless the length fits."""
        if size < 0 or len(peaks) != HASH_BYTES * size.bit_count():
            raise ProofError(f"a frontier of {size} leaves cannot be {len(peaks)} bytes long")
        frontier = cls()
        frontier.size = size
        frontier._peaks = [peaks[at : at + HASH_BYTES] for at in range(0, len(peaks), HASH_BYTES)]
        return frontier


class MemoryTree:
    """A whole tree in memory, for tests, small logs and rebuilding tiles."""

    __slots__ = ("_levels",)

    def __init__(self, hashed_leaves: Iterable[bytes] = ()) -> None:
        self._levels: list[list[bytes]] = [[]]
        for hashed_leaf in hashed_leaves:
            self.append(hashed_leaf)

    def __len__(self) -> int:
        return len(self._levels[0])

    def append(self, hashed_leaf: bytes) -> None:
        """Add the next leaf by its `leaf_hash`."""
        node = hashed_leaf
        for hashes in self._levels:
            hashes.append(node)
            if len(hashes) & 1:
                return
            node = node_hash(hashes[-2], hashes[-1])
        self._levels.append([node])

    def node(self, level: int, index: int) -> bytes:
        """A complete subtree's hash: the `Nodes` of this tree."""
        return self._levels[level][index]

    def root(self, size: int | None = None) -> bytes:
        """The root over the first `size` leaves, or over all. Raises `ProofError` beyond the tree."""
        count = len(self) if size is None else size
        if not 0 <= count <= len(self):
            raise ProofError(f"the tree has {len(self)} leaves, not {count}")
        return subtree_root(0, count, self.node)


def complete_root(hashes: Sequence[bytes]) -> bytes:
    """The root of a complete subtree over these hashes, a power of two of them."""
    while len(hashes) > 1:
        hashes = [
            sha256(b"\x01" + left + right).digest()
            for left, right in zip(hashes[::2], hashes[1::2], strict=True)
        ]
    return hashes[0]


def subtree_root(first: int, end: int, nodes: Nodes) -> bytes:
    """MTH over leaves [first, end), where `first` is a split point of the tree (RFC 9162, section 2.1.1)."""
    count = end - first
    if count == 0:
        return EMPTY_ROOT
    if count.bit_count() == 1:
        level = count.bit_length() - 1
        return nodes(level, first >> level)
    middle = first + _split(count)
    return node_hash(subtree_root(first, middle, nodes), subtree_root(middle, end, nodes))


def inclusion_proof(index: int, size: int, nodes: Nodes) -> list[bytes]:
    """The audit path of leaf `index` in the tree of `size` leaves (RFC 9162, section 2.1.3.1).

    Raises `ProofError` when there is no such leaf.
    """
    if not 0 <= index < size:
        raise ProofError(f"no leaf {index} in a tree of {size}")
    path = []
    first, end = 0, size
    while end - first > 1:
        middle = first + _split(end - first)
        if index < middle:
            path.append(subtree_root(middle, end, nodes))
            end = middle
        else:
            path.append(subtree_root(first, middle, nodes))
            first = middle
    path.reverse()
    return path


def verify_inclusion(hashed_leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that leaf `index` of the tree (`size`, `root`) has this hash (RFC 9162, section 2.1.3.2).

    Raises `ProofError` unless it does.
    """
    if not 0 <= index < size:
        raise ProofError(f"no leaf {index} in a tree of {size}")
    _check_hashes((hashed_leaf, *proof, root))
    fn, sn, node = index, size - 1, hashed_leaf
    for sibling in proof:
        if sn == 0:
            raise ProofError("the inclusion proof is too long")
        if fn & 1 or fn == sn:
            node = node_hash(sibling, node)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = node_hash(node, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise ProofError("the inclusion proof is too short")
    if node != root:
        raise ProofError("the inclusion proof leads to another root")


def consistency_proof(old_size: int, new_size: int, nodes: Nodes) -> list[bytes]:
    """The proof that the first `old_size` leaves of the tree of `new_size` are the older tree's.

    RFC 9162, section 2.1.4.1; from the empty tree the proof is empty. Raises `ProofError` unless
    0 ≤ `old_size` ≤ `new_size`.
    """
    if not 0 <= old_size <= new_size:
        raise ProofError(f"a tree of {new_size} leaves does not extend one of {old_size}")
    if old_size == 0:
        return []
    proof = []
    first, end = 0, new_size
    while end != old_size:
        middle = first + _split(end - first)
        if old_size <= middle:
            proof.append(subtree_root(middle, end, nodes))
            end = middle
        else:
            proof.append(subtree_root(first, middle, nodes))
            first = middle
    if first:  # the old tree is not a complete left subtree: its last part must be given too
        proof.append(subtree_root(first, end, nodes))
    proof.reverse()
    return proof


def verify_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the tree (`new_size`, `new_root`) extends (`old_size`, `old_root`).

    RFC 9162, section 2.1.4.2. Raises `ProofError` unless it does.
    """
    _check_hashes((old_root, new_root, *proof))
    if not 0 <= old_size <= new_size:
        raise ProofError(f"a tree of {new_size} leaves does not extend one of {old_size}")
    if old_size in (0, new_size):
        _verify_trivial(old_root, old_size, new_root, new_size, proof)
        return
    # A complete old tree is itself the first node of the path, and left out of the proof.
    path = [old_root, *proof] if old_size.bit_count() == 1 else list(proof)
    if not path:
        raise ProofError("the consistency proof is too short")
    if _roots_by_path(old_size, new_size, path) != (old_root, new_root):
        raise ProofError("the consistency proof leads to other roots")


def _roots_by_path(old_size: int, new_size: int, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    """The roots of the old and the new tree that a consistency path leads to (steps 3 to 6)."""
    fn, sn = old_size - 1, new_size - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    old = new = path[0]
    for node in path[1:]:
        if sn == 0:
            raise ProofError("the consistency proof is too long")
        if fn & 1 or fn == sn:
            old, new = node_hash(node, old), node_hash(node, new)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            new = node_hash(new, node)
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise ProofError("the consistency proof is too short")
    return old, new


def _verify_trivial(
    old_root: bytes, old_size: int, new_root: bytes, new_size: int, proof: Sequence[bytes]
) -> None:
    """Nothing to hash: an empty tree has one root, and a tree extends itself."""
    if proof:
        raise ProofError("the consistency proof is too long")
    if (old_size == 0 and old_root != EMPTY_ROOT) or (old_size == new_size and old_root != new_root):
        raise ProofError("the consistency proof leads to other roots")


def _split(count: int) -> int:
    """The largest power of two smaller than `count` (> 1)."""
    return 1 << ((count - 1).bit_length() - 1)


def _check_hashes(hashes: Iterable[bytes]) -> None:
    if any(len(value) != HASH_BYTES for value in hashes):
        raise ProofError("a hash must be 32 bytes long")
