"""Notes and checkpoints under fuzzing: only our error, and no single-byte change goes unnoticed."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from pactstream.ledger import note
from pactstream.ledger.note import Checkpoint, NoteError, NoteSigner, NoteVerifier

SIGNER = NoteSigner("log.example/1", Ed25519PrivateKey.from_private_bytes(bytes(32)))
CHECKPOINT = Checkpoint(SIGNER.name, 12_345, bytes(range(32)), ("segment 1",))
NOTE = note.sign_checkpoint(CHECKPOINT, [SIGNER])
TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"])).map(lambda line: line + "\n")


@given(st.lists(TEXTS, min_size=1).map("".join))
def test_any_text_comes_back(text: str) -> None:
    assert note.open_note(note.sign_note(text, [SIGNER]), [SIGNER.verifier]).text == text


@given(st.integers(0, len(NOTE) - 1), st.integers(0, 255))
def test_every_changed_byte_is_noticed(at: int, value: int) -> None:
    changed = NOTE[:at] + bytes([value]) + NOTE[at + 1 :]
    if changed != NOTE:
        with pytest.raises(NoteError):
            note.open_note(changed, [SIGNER.verifier])


@given(st.integers(0, len(NOTE)), st.binary(min_size=1, max_size=3))
def test_every_added_byte_is_noticed(at: int, extra: bytes) -> None:
    with pytest.raises(NoteError):
        note.open_checkpoint(NOTE[:at] + extra + NOTE[at:], SIGNER.name, [SIGNER.verifier])


@given(st.integers(0, len(NOTE) - 1))
def test_every_cut_is_noticed(length: int) -> None:
    with pytest.raises(NoteError):
        note.open_note(NOTE[:length], [SIGNER.verifier])


NOTE_LIKE = st.lists(
    st.sampled_from([b"\n", b"\n\n", "— ".encode(), b"log.example/1", b" ", b"AAAAAAA=", b"1", b"+"])
    | st.binary(max_size=6)
).map(b"".join)


@given(NOTE_LIKE)
def test_garbage_raises_only_our_error(data: bytes) -> None:
    with pytest.raises(NoteError):
        note.open_note(data, [SIGNER.verifier])


@given(NOTE_LIKE)
def test_what_parses_is_written_back_alike(data: bytes) -> None:
    try:
        parsed = note.parse_note(data)
    except NoteError:
        return
    assert note.format_note(parsed.text, parsed.signatures) == data


@given(st.text() | st.from_regex(r"[a-z ]{0,3}\+[0-9a-f]{8}\+[A-Za-z0-9+/=]{0,48}"))
def test_garbage_keys_raise_only_our_error(text: str) -> None:
    with pytest.raises(NoteError):
        NoteVerifier.from_vkey(text)


@given(st.text() | st.from_regex(r"\A[a-z]{0,3}\n[0-9]{0,3}\n[A-Za-z0-9+/]{42}A=\n(x\n)?\Z"))
def test_a_checkpoint_has_one_text(text: str) -> None:
    try:
        checkpoint = Checkpoint.parse(text)
    except NoteError:
        return
    assert checkpoint.text() == text
    assert base64.b64encode(checkpoint.root).decode() in text
