"""tlog-proofs: each verifies for its entry, no single-bit change does, and garbage raises our error only."""

from __future__ import annotations

import contextlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from pactstream.errors import InvalidInput
from pactstream.ledger import merkle, note
from pactstream.ledger.cosignature import Cosigner, Policy
from pactstream.ledger.merkle import MemoryTree
from pactstream.ledger.note import Checkpoint, NoteSigner
from pactstream.ledger.tlog_proof import TlogProof, TlogProofError

LOG = NoteSigner("dev/ledger/0", Ed25519PrivateKey.from_private_bytes(bytes(32)))
WITNESS = Cosigner("witness.example/w", Ed25519PrivateKey.from_private_bytes(b"w" * 32))
POLICY = Policy((WITNESS.verifier,), 1)


@settings(max_examples=200)
@given(
    st.lists(st.binary(max_size=40), min_size=1, max_size=40, unique=True), st.binary(max_size=20), st.data()
)
def test_every_bit_of_a_proof_counts(entries: list[bytes], extra: bytes, data: st.DataObject) -> None:
    tree = MemoryTree(map(merkle.leaf_hash, entries))
    index = data.draw(st.integers(0, len(entries) - 1))
    text = Checkpoint(LOG.name, len(entries), tree.root()).text()
    signed = note.format_note(text, [LOG.sign(text), WITNESS.cosign(text, 1_700_000_000)])
    path = tuple(merkle.inclusion_proof(index, len(entries), tree.node))
    proof = TlogProof(index, path, signed, extra)
    encoded = proof.encode()
    assert TlogProof.parse(encoded) == proof
    proof.verify(entries[index], LOG.name, [LOG.verifier], POLICY)

    changed = bytearray(encoded)
    bit = data.draw(st.integers(0, 8 * len(encoded) - 1))
    changed[bit // 8] ^= 1 << bit % 8
    with contextlib.suppress(TlogProofError):
        other = TlogProof.parse(bytes(changed))
        if other.extra != extra:  # by the specification, nothing vouches for the extra data
            return
        with pytest.raises(InvalidInput):
            other.verify(entries[index], LOG.name, [LOG.verifier], POLICY)


@given(st.binary(max_size=300))
def test_garbage_raises_only_our_error(data: bytes) -> None:
    for text in (data, b"c2sp.org/tlog-proof@v1\n" + data, b"c2sp.org/tlog-proof@v1\nindex 0\n\n" + data):
        with contextlib.suppress(TlogProofError):
            assert TlogProof.parse(text).encode() == text
