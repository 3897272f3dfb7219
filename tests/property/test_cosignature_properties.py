"""Cosignatures: every bit counts, and no request makes a witness fail or sign what it must not."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from pactstream.ledger import merkle, note
from pactstream.ledger.cosignature import Cosigner, Policy, open_cosigned
from pactstream.ledger.merkle import MemoryTree
from pactstream.ledger.note import Checkpoint, NoteSigner
from pactstream.ledger.witness import Request, Witness

LOG = NoteSigner("dev/ledger/0", Ed25519PrivateKey.from_private_bytes(bytes(32)))
COSIGNER = Cosigner("witness.example/w", Ed25519PrivateKey.from_private_bytes(b"w" * 32))
POLICY = Policy((COSIGNER.verifier,), 1)
TREES = [MemoryTree(merkle.leaf_hash(b"%d %d" % (tree, number)) for number in range(12)) for tree in range(2)]


class Memory(dict[str, bytes]):
    def put(self, origin_hash: str, cosigned: bytes) -> None:
        self[origin_hash] = cosigned


@given(st.integers(0, 2**63 - 1), st.integers(0, 72 * 8 - 1))
def test_every_bit_of_a_cosignature_counts(seconds: int, bit: int) -> None:
    text = Checkpoint(LOG.name, 5, bytes(32)).text()
    signature = bytearray(COSIGNER.cosign(text, seconds).signature)
    assert COSIGNER.verifier.verifies(text, bytes(signature))
    signature[bit // 8] ^= 1 << bit % 8
    assert not COSIGNER.verifier.verifies(text, bytes(signature))


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(0, 1)), max_size=12))
def test_whatever_is_asked_only_one_history_is_cosigned(asked: list[tuple[int, int, int]]) -> None:
    """An operator with two trees asks in any order; what was cosigned is always one growing tree."""
    witness = Witness(COSIGNER, {LOG.name: [LOG.verifier]}, Memory(), lambda: 1_700_000_000_000_000)
    cosigned: dict[int, bytes] = {}
    for old, new, which in asked:
        tree = TREES[which]
        signed = note.sign_checkpoint(Checkpoint(LOG.name, new, tree.root(new)), [LOG])
        proof = tuple(merkle.consistency_proof(min(old, new), new, tree.node))
        answer = witness.add_checkpoint(Request(old, proof, signed).encode())
        if answer.status != 200:
            assert answer.status in (400, 409, 422)
            continue
        checkpoint = open_cosigned(signed + answer.body, LOG.name, [LOG.verifier], POLICY).checkpoint
        assert cosigned.setdefault(checkpoint.size, checkpoint.root) == checkpoint.root
        assert checkpoint.size == max(cosigned)
    trees = [all(tree.root(size) == root for size, root in cosigned.items()) for tree in TREES]
    assert any(trees)


@given(st.binary(max_size=300))
def test_garbage_is_answered(data: bytes) -> None:
    witness = Witness(COSIGNER, {LOG.name: [LOG.verifier]}, Memory())
    for body in (data, b"old 0\n\n" + data, b"old 0\n" + data):
        assert 400 <= witness.add_checkpoint(body).status < 500
