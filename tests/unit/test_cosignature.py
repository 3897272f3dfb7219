"""Cosignatures: the specification's form, and a quorum that cannot be talked into counting twice."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pactstream.ledger import merkle, note
from pactstream.ledger.cosignature import CosignatureVerifier, Cosigner, Policy, open_cosigned
from pactstream.ledger.note import Checkpoint, NoteError, NoteSignature, NoteSigner

ORIGIN = "dev/ledger/0"
TEXT = Checkpoint(ORIGIN, 5, bytes(32), ("segment 0 " + "ab" * 32,)).text()
AT = 1_679_315_147


def key(seed: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


LOG = NoteSigner(ORIGIN, key(0))
ONE, TWO = Cosigner("witness.example/1", key(1)), Cosigner("witness.example/2", key(2))
REMORA = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"
"""A public witness's verifier key."""


def cosigned(*signatures: NoteSignature) -> bytes:
    return note.format_note(TEXT, [LOG.sign(TEXT), *signatures])


def policy(quorum: int, *cosigners: Cosigner) -> Policy:
    return Policy(tuple(one.verifier for one in cosigners), quorum)


def test_a_verifier_key_comes_back_from_its_text() -> None:
    assert CosignatureVerifier.from_vkey(REMORA).vkey() == REMORA
    assert CosignatureVerifier.from_vkey(ONE.verifier.vkey()) == ONE.verifier
    with pytest.raises(NoteError, match="signature type 0x04"):
        CosignatureVerifier.from_vkey(LOG.verifier.vkey())


def test_the_signed_message_is_the_specifications() -> None:
    signature = ONE.cosign(TEXT, AT)
    assert signature.signature[:8] == AT.to_bytes(8, "big")
    # The beginning of the specification's example, after its key id.
    assert base64.b64decode("jWbPPwAAAABkGFDL")[4:] == signature.signature[:8]
    message = f"cosignature/v1\ntime 1679315147\n{TEXT}".encode()
    key(1).public_key().verify(signature.signature[8:], message)
    assert signature.key_id == note.key_id(ONE.name, 4, ONE.verifier.public_key)


def test_only_a_checkpoint_is_cosigned() -> None:
    with pytest.raises(NoteError, match="not a checkpoint"):
        ONE.cosign("anything\n", AT)


def test_a_quorum_of_distinct_witnesses_is_asked_for() -> None:
    data = cosigned(ONE.cosign(TEXT, AT), TWO.cosign(TEXT, AT + 1))
    both = open_cosigned(data, ORIGIN, [LOG.verifier], policy(2, ONE, TWO))
    assert both.checkpoint == Checkpoint.parse(TEXT)
    assert both.cosigned_at == {ONE.name: AT, TWO.name: AT + 1}
    assert open_cosigned(data, ORIGIN, [LOG.verifier]).cosigned_at == {}
    twice = cosigned(ONE.cosign(TEXT, AT), ONE.cosign(TEXT, AT + 1))
    with pytest.raises(NoteError, match="1 of 2 known witnesses cosigned"):
        open_cosigned(twice, ORIGIN, [LOG.verifier], policy(2, ONE, TWO))
    assert open_cosigned(cosigned(), ORIGIN, [LOG.verifier], policy(0, ONE)).cosigned_at == {}


def test_a_witness_does_not_replace_the_log() -> None:
    data = note.format_note(TEXT, [ONE.cosign(TEXT, AT)])
    with pytest.raises(NoteError, match="no known key signed"):
        open_cosigned(data, ORIGIN, [LOG.verifier], policy(1, ONE))


def test_a_plain_signature_is_no_cosignature() -> None:
    """Same name and private key, another signature type: another key, and unknown."""
    plain = NoteSigner(ONE.name, ONE.private_key).sign(TEXT)
    with pytest.raises(NoteError, match="0 of 1 known witnesses"):
        open_cosigned(cosigned(plain), ORIGIN, [LOG.verifier], policy(1, ONE))


@pytest.mark.parametrize("position", [0, 7, 8, 71])
def test_a_changed_cosignature_refuses_the_note(position: int) -> None:
    good = ONE.cosign(TEXT, AT)
    changed = bytearray(good.signature)
    changed[position] ^= 1
    data = cosigned(NoteSignature(good.name, good.key_id, bytes(changed)))
    with pytest.raises(NoteError, match="is bad"):
        open_cosigned(data, ORIGIN, [LOG.verifier], policy(1, ONE))


def test_a_cosignature_of_another_length_or_of_another_text_is_bad() -> None:
    signature = ONE.cosign(TEXT, AT).signature
    for wrong in (b"", signature[8:], signature + b"\0", signature[:-1]):
        assert not ONE.verifier.verifies(TEXT, wrong)
    assert not ONE.verifier.verifies(TEXT + "more\n", signature)
    assert ONE.verifier.verifies(TEXT, signature)


def test_a_time_beyond_the_specification_is_bad() -> None:
    assert ONE.verifier.verifies(TEXT, ONE.cosign(TEXT, 2**63 - 1).signature)
    assert not ONE.verifier.verifies(TEXT, ONE.cosign(TEXT, 2**63).signature)


@pytest.mark.parametrize(
    ("quorum", "cosigners"),
    [(-1, [ONE]), (2, [ONE]), (1, []), (2, [ONE, ONE]), (1, [ONE, Cosigner("another.name", key(1))])],
)
def test_a_policy_that_cannot_be_met_or_counts_twice_is_refused(quorum: int, cosigners: list[Cosigner]) -> None:
    with pytest.raises(NoteError, match="cannot be asked for"):
        policy(quorum, *cosigners)


def test_another_logs_checkpoint_is_refused() -> None:
    with pytest.raises(NoteError, match="is of log"):
        open_cosigned(cosigned(), "dev/ledger/1", [LOG.verifier])


def test_an_empty_tree_can_be_cosigned() -> None:
    text = Checkpoint(ORIGIN, 0, merkle.EMPTY_ROOT).text()
    assert ONE.verifier.verifies(text, ONE.cosign(text, AT).signature)
