"""tlog-proofs: the specification's text, exactly, and nothing proved by anything else."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pactstream.ledger import merkle, note
from pactstream.ledger.cosignature import Cosigner, Policy
from pactstream.ledger.merkle import MemoryTree, ProofError
from pactstream.ledger.note import Checkpoint, NoteError, NoteSigner
from pactstream.ledger.tlog_proof import MAX_EXTRA_BYTES, TlogProof, TlogProofError

ORIGIN = "dev/ledger/0"
LOG = NoteSigner(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(32)))
WITNESS = Cosigner("witness.example/w", Ed25519PrivateKey.from_private_bytes(b"w" * 32))
ENTRIES = [b"entry %d" % number for number in range(11)]
TREE = MemoryTree(map(merkle.leaf_hash, ENTRIES))
TEXT = Checkpoint(ORIGIN, len(ENTRIES), TREE.root()).text()
NOTE = note.format_note(TEXT, [LOG.sign(TEXT), WITNESS.cosign(TEXT, 1_700_000_000)])


def proof_of(index: int, extra: bytes = b"") -> TlogProof:
    return TlogProof(index, tuple(merkle.inclusion_proof(index, len(ENTRIES), TREE.node)), NOTE, extra)


def test_the_text_is_the_specifications() -> None:
    proof = proof_of(3, b"entry 3")
    hashes = "".join(base64.b64encode(one).decode() + "\n" for one in proof.path)
    expected = f"c2sp.org/tlog-proof@v1\nextra ZW50cnkgMw==\nindex 3\n{hashes}\n{NOTE.decode()}"
    assert proof.encode().decode() == expected
    assert TlogProof.parse(proof.encode()) == proof
    assert b"extra" not in proof_of(3).encode()


@pytest.mark.parametrize("index", range(11))
def test_every_entry_is_proved(index: int) -> None:
    proof = TlogProof.parse(proof_of(index).encode())
    policy = Policy((WITNESS.verifier,), 1)
    cosigned = proof.verify(ENTRIES[index], ORIGIN, [LOG.verifier], policy)
    assert cosigned.checkpoint.size == 11
    assert cosigned.cosigned_at == {WITNESS.name: 1_700_000_000}
    with pytest.raises(ProofError):
        proof.verify(b"another entry", ORIGIN, [LOG.verifier])


def test_a_proof_in_a_tree_of_one_has_no_hashes() -> None:
    checkpoint = note.sign_checkpoint(Checkpoint(ORIGIN, 1, merkle.leaf_hash(b"x")), [LOG])
    proof = TlogProof(0, (), checkpoint)
    assert TlogProof.parse(proof.encode()) == proof
    proof.verify(b"x", ORIGIN, [LOG.verifier])


def test_a_checkpoint_of_others_proves_nothing() -> None:
    proof = proof_of(0)
    stranger = NoteSigner(ORIGIN, WITNESS.private_key)
    with pytest.raises(NoteError, match="no known key"):
        proof.verify(ENTRIES[0], ORIGIN, [stranger.verifier])
    with pytest.raises(NoteError, match="is of log"):
        proof.verify(ENTRIES[0], "dev/ledger/1", [LOG.verifier])
    other = Cosigner("other.example", LOG.private_key)
    with pytest.raises(NoteError, match="0 of 1 known witnesses"):
        proof.verify(ENTRIES[0], ORIGIN, [LOG.verifier], Policy((other.verifier,), 1))


GOOD = proof_of(3, b"x").encode()
HASH = base64.b64encode(bytes(32))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GOOD[:-1],
        GOOD + b"\n",
        GOOD.replace(b"@v1", b"@v2"),
        GOOD.replace(b"index 3\n", b""),
        GOOD.replace(b"index 3", b"index 03"),
        GOOD.replace(b"index 3", b"index -3"),
        GOOD.replace(b"index 3", b"index  3"),
        GOOD.replace(b"index 3", b"index 3\r"),
        GOOD.replace(b"index 3", b"index \xd9\xa3"),
        GOOD.replace(b"extra eA==", b"extra "),
        GOOD.replace(b"extra eA==", b"extra eB=="),
        GOOD.replace(b"extra eA==", b"extra !"),
        GOOD.replace(b"index 3\n", b"index 3\n\n"),
        GOOD.replace(b"index 3\n", b"index 3\n" + HASH[:40] + b"\n"),
        GOOD.replace(b"index 3\n", b"index 3\n" + 64 * (HASH + b"\n")),
        GOOD.replace(b"index 3\n", b"index 3\nextra eA==\n"),
        b"c2sp.org/tlog-proof@v1\n\n" + NOTE,
        b"c2sp.org/tlog-proof@v1\nextra eA==\n\n" + NOTE,
        b"c2sp.org/tlog-proof@v1\nindex 3",
        b"x" * 4_000_000,
    ],
)
def test_a_malformed_proof_is_refused(data: bytes) -> None:
    with pytest.raises(TlogProofError):
        TlogProof.parse(data)


@pytest.mark.parametrize(
    "proof",
    [
        TlogProof(-1, (), NOTE),
        TlogProof(0, (b"short",), NOTE),
        TlogProof(0, (bytes(32),) * 64, NOTE),
        TlogProof(0, (), b"no note"),
        TlogProof(0, (), NOTE, b"x" * (MAX_EXTRA_BYTES + 1)),
    ],
)
def test_parts_that_form_no_proof_are_not_written(proof: TlogProof) -> None:
    with pytest.raises(TlogProofError):
        proof.encode()
