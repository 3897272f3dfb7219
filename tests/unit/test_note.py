"""Signed notes and checkpoints: published examples, and every way in which a note is refused."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pactstream.ledger import note
from pactstream.ledger.note import Checkpoint, NoteError, NoteSigner, NoteVerifier

# From the tests of Go's golang.org/x/mod/sumdb/note.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
)
PETER_SIGNATURE = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
PETER_LINE = f"— PeterNeumann {PETER_SIGNATURE}\n"
ENOCH_LINE = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
)
# From the text of c2sp.org/tlog-checkpoint.
C2SP_CHECKPOINT = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    "\n— example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
)

SIGNER = NoteSigner("log.example/1", Ed25519PrivateKey.from_private_bytes(bytes(32)))
OTHER = NoteSigner("witness.example/w", Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32))
TEXT = "log.example/1\n3\n" + base64.b64encode(bytes(32)).decode() + "\n"


def signed(text: str = TEXT, *signers: NoteSigner) -> bytes:
    return note.sign_note(text, signers or [SIGNER])


def test_the_notes_of_go_open() -> None:
    verifiers = [NoteVerifier.from_vkey(PETER), NoteVerifier.from_vkey(ENOCH)]
    opened = note.open_note((GO_TEXT + "\n" + PETER_LINE + ENOCH_LINE).encode(), verifiers)
    assert opened.text == GO_TEXT
    assert [one.name for one in opened.signatures] == ["PeterNeumann", "EnochRoot"]


def test_our_note_is_byte_for_byte_that_of_go() -> None:
    """In Go's tests, EnochRoot's key comes from a seed of zeros."""
    enoch = NoteSigner("EnochRoot", Ed25519PrivateKey.from_private_bytes(bytes(32)))
    assert enoch.verifier.vkey() == ENOCH
    assert note.sign_note(GO_TEXT, [enoch]).decode() == GO_TEXT + "\n" + ENOCH_LINE


def test_the_checkpoint_of_the_specification_parses() -> None:
    parsed = note.parse_note(C2SP_CHECKPOINT.encode())
    checkpoint = Checkpoint.parse(parsed.text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.text() == parsed.text
    assert note.format_note(parsed.text, parsed.signatures).decode() == C2SP_CHECKPOINT


def test_unknown_keys_are_ignored_and_known_ones_reported() -> None:
    data = signed(TEXT, OTHER, SIGNER)
    assert [one.name for one in note.open_note(data, [SIGNER.verifier]).signatures] == [SIGNER.name]
    both = note.open_note(data, [SIGNER.verifier, OTHER.verifier])
    assert [one.name for one in both.signatures] == [OTHER.name, SIGNER.name]
    # Same name or same key, but not both: unknown.
    namesake = NoteSigner(SIGNER.name, OTHER.private_key).verifier
    renamed = NoteSigner(OTHER.name, SIGNER.private_key).verifier
    for stranger in (namesake, renamed):
        with pytest.raises(NoteError, match="no known key"):
            note.open_note(signed(), [stranger])
    with pytest.raises(NoteError, match="no known key"):
        note.open_note(signed(), [])


def test_one_bad_signature_of_a_known_key_refuses_the_note() -> None:
    bad = note.NoteSignature(OTHER.name, OTHER.verifier.key_id, bytes(64))
    data = note.format_note(TEXT, [SIGNER.sign(TEXT), bad])
    assert note.open_note(data, [SIGNER.verifier]).text == TEXT
    with pytest.raises(NoteError, match=r"signature of witness.example/w\+[0-9a-f]{8} is bad"):
        note.open_note(data, [SIGNER.verifier, OTHER.verifier])


def test_the_last_empty_line_splits_text_and_signatures() -> None:
    text = "one\n\n— not a signature\n\nthree\n"
    assert note.open_note(signed(text), [SIGNER.verifier]).text == text


LINE = signed().decode().rpartition("\n\n")[2]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty line"),
        (b"text\n", "empty line"),
        (f"text\n{LINE}".encode(), "empty line"),
        (b"text\n\n", "empty line"),
        (f"text\n\n{LINE}".encode()[:-1], "empty line"),
        (f"text\n\n{LINE} ".encode(), "empty line"),
        (f"text\n\n{LINE}\n".encode(), "empty line"),
        (f"text\n\n{LINE}junk\n".encode(), "signature line"),
        (f"text\n\n{LINE.replace('— ', '- ')}".encode(), "signature line"),
        (f"text\n\n{LINE.replace('— ', '—')}".encode(), "signature line"),
        (f"text\n\n{LINE.replace(' log', '  log')}".encode(), "signature line"),
        (f"text\n\n{LINE.replace('log', 'l+g')}".encode(), "key name"),
        (("text\n\n" + LINE.replace("log", "l\u00a0g")).encode(), "key name"),
        (("text\n\n" + LINE.replace("log", "l\u2003g")).encode(), "key name"),
        (f"text\r\n\n{LINE}".encode(), "control"),
        (f"te\tx\n\n{LINE}".encode(), "control"),
        (f"te\x00x\n\n{LINE}".encode(), "control"),
        (b"\xff\n\n" + LINE.encode(), "UTF-8"),
        ("text\n\n— a AAAA\n".encode(), "4-byte key id"),
        ("text\n\n— a AAAAAA==\n".encode(), "4-byte key id"),
        ("text\n\n— a AAAAAB==\n".encode(), "canonical base64"),
        ("text\n\n— a AAAAA\n".encode(), "not base64"),
        (f"text\n\n{LINE * 101}".encode(), "at most 100 signatures"),
        (b"x" * 1_000_001, "at most 1000000 bytes"),
    ],
)
def test_a_malformed_note_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(NoteError, match=reason):
        note.parse_note(data)
    with pytest.raises(NoteError, match=reason):
        note.open_note(data, [SIGNER.verifier])


def test_a_hundred_signatures_are_accepted() -> None:
    data = f"{TEXT}\n{LINE * 100}".encode()
    assert len(note.open_note(data, [SIGNER.verifier]).signatures) == 100


@pytest.mark.parametrize("text", ["", "no newline", "tab\t\n", "text\n\n— a AAAAAAA="])
def test_a_text_that_does_not_come_back_is_not_signed(text: str) -> None:
    with pytest.raises(NoteError):
        signed(text)


def test_a_text_that_looks_like_a_note_comes_back() -> None:
    text = "text\n\n— a AAAAAAA=\n\n"
    assert note.parse_note(signed(text)).text == text


def test_a_verifier_key_comes_back_from_its_text() -> None:
    assert NoteVerifier.from_vkey(SIGNER.verifier.vkey()) == SIGNER.verifier
    assert NoteVerifier.from_vkey(PETER).key_id.hex() == "c74f20a3"
    golang = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"  # base64 with a plus
    assert NoteVerifier.from_vkey(golang).vkey() == golang


@pytest.mark.parametrize(
    ("vkey", "reason"),
    [
        ("", "not an Ed25519 key"),
        ("name", "not an Ed25519 key"),
        ("name+00000000", "not an Ed25519 key"),
        (PETER.replace("c74f", "c74e"), "id does not belong"),
        (PETER.replace("c74f", "C74F"), "id does not belong"),
        (PETER.replace("Peter", "Paul"), "id does not belong"),
        (PETER.replace("Peter", "Pe ter"), "key name"),
        (PETER.removeprefix("PeterNeumann"), "key name"),
        (PETER + "=", "base64"),
        (PETER + "\n", "base64"),
        (PETER[:-4], "32 bytes"),
        (PETER.replace("+AR", "+BR"), "not an Ed25519 key"),
        (PETER.replace("+AR", "+É"), "base64"),
    ],
)
def test_a_malformed_verifier_key_is_refused(vkey: str, reason: str) -> None:
    with pytest.raises(NoteError, match=reason):
        NoteVerifier.from_vkey(vkey)


def test_a_signer_does_not_show_its_key() -> None:
    assert repr(SIGNER) == "NoteSigner(name='log.example/1')"


ROOT = base64.b64encode(bytes(range(32))).decode()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "three lines"),
        (f"log\n1\n{ROOT}", "three lines"),
        (f"log\n{ROOT}\n", "three lines"),
        (f"\n1\n{ROOT}\n", "three lines"),
        (f"log\n\n{ROOT}\n", "three lines"),
        (f"log\n1\n{ROOT}\n\n", "three lines"),
        (f"log\n1\n{ROOT}\n\nextension\n", "three lines"),
        (f"log\n01\n{ROOT}\n", "decimal"),
        (f"log\n-1\n{ROOT}\n", "decimal"),
        (f"log\n+1\n{ROOT}\n", "decimal"),
        (f"log\n1 \n{ROOT}\n", "decimal"),
        (f"log\n1_0\n{ROOT}\n", "decimal"),
        (f"log\n١\n{ROOT}\n", "decimal"),
        (f"log\n{'9' * 20}\n{ROOT}\n", "decimal"),
        (f"log\n1\n{ROOT[:-1]}\n", "base64"),
        (f"log\n1\n{ROOT[:-2]}9=\n", "canonical base64"),
        (f"log\n1\n{ROOT[:-4]}\n", "32 bytes"),
        (f"log\n1\nAAAA{ROOT}\n", "32 bytes"),
    ],
)
def test_a_malformed_checkpoint_is_refused(text: str, reason: str) -> None:
    with pytest.raises(NoteError, match=reason):
        Checkpoint.parse(text)


@pytest.mark.parametrize("extensions", [(), ("timestamp 5",), ("one", "two words")])
@pytest.mark.parametrize("size", [0, 1, 2**63 - 1])
def test_a_checkpoint_comes_back(size: int, extensions: tuple[str, ...]) -> None:
    checkpoint = Checkpoint(SIGNER.name, size, bytes(range(32)), extensions)
    data = note.sign_checkpoint(checkpoint, [SIGNER])
    assert note.open_checkpoint(data, SIGNER.name, [SIGNER.verifier]) == checkpoint
    with pytest.raises(NoteError, match=r"of log 'log\.example/1', not"):
        note.open_checkpoint(data, "log.example/2", [SIGNER.verifier])


@pytest.mark.parametrize(
    "checkpoint",
    [
        Checkpoint("", 1, bytes(32)),
        Checkpoint("log\n5", 1, bytes(32)),
        Checkpoint("log", -1, bytes(32)),
        Checkpoint("log", 1, bytes(31)),
        Checkpoint("log", 1, bytes(32), ("",)),
        Checkpoint("log", 1, bytes(32), ("a\nb",)),
    ],
)
def test_an_impossible_checkpoint_is_not_signed(checkpoint: Checkpoint) -> None:
    with pytest.raises(NoteError):
        note.sign_checkpoint(checkpoint, [SIGNER])
