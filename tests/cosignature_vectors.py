"""Notes with cosignatures, and what a policy of witnesses makes of them: the vectors of both SDKs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pactstream.errors import InvalidInput
from pactstream.ledger import merkle
from pactstream.ledger.cosignature import Cosigner, Policy, open_cosigned
from pactstream.ledger.log_keys import LogKey, parse_keys
from pactstream.ledger.note import Checkpoint, NoteSignature, NoteSigner, format_note, sign_checkpoint
from tests.published_ledger import signer_of

ORIGIN: Final = "dev/ledger/0"
_AT: Final = 1_778_666_402
_LINE: Final = LogKey(signer_of(0).verifier).line()
_TEXT: Final = Checkpoint(ORIGIN, 300, merkle.leaf_hash(b"root"), ("segment 0 " + "ab" * 32,)).text()
_OLDER: Final = Checkpoint(ORIGIN, 200, merkle.leaf_hash(b"root"), ("segment 0 " + "ab" * 32,)).text()


def _cosigner(seed: int, name: str) -> Cosigner:
    return Cosigner(name, Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))


_ONE, _TWO = _cosigner(101, "one.example/w"), _cosigner(102, "two.example/w")
_SAME_KEY = _cosigner(101, "also-one.example/w")


def cosignatures() -> list[dict[str, Any]]:
    """Notes, the trusted keys, witnesses and quorum: tree and times of cosignature, or null where refused."""
    one, two = _ONE.cosign(_TEXT, _AT), _TWO.cosign(_TEXT, _AT + 1)
    late = _ONE.cosign(_TEXT, 2**63 - 1)
    both, vkeys = _note(one, two), (_ONE.verifier.vkey(), _TWO.verifier.vkey())
    plain = NoteSigner(_ONE.name, _ONE.private_key)
    cases: list[tuple[str, bytes, Sequence[str], int | None]] = [
        ("both cosigned", both, vkeys, None),
        ("one of two, one asked for", _note(one), vkeys, 1),
        ("one of two, all asked for", _note(one), vkeys, None),
        ("one of two, two asked for", _note(one), vkeys, 2),
        ("nobody, and nobody asked for", _note(), vkeys, 0),
        ("nobody, and no witness known", _note(), (), None),
        ("one twice counts once", _note(one, _ONE.cosign(_TEXT, _AT + 5)), vkeys, 2),
        ("another witness", _note(two), vkeys[:1], None),
        ("the last moment there is", _note(late), vkeys[:1], None),
        ("a moment too late", _note(_ONE.cosign(_TEXT, 2**63)), vkeys[:1], None),
        ("another time than was signed", _note(_with_time(one, _AT + 1)), vkeys[:1], None),
        ("an older tree's cosignature", _note(_ONE.cosign(_OLDER, _AT)), vkeys[:1], None),
        ("one bad beside enough good ones", _note(two, _ONE.cosign(_OLDER, _AT)), vkeys, 1),
        ("a cosignature without its time", _note(_cut(one)), vkeys[:1], None),
        ("a plain signature of the witness's key", _note(plain.sign(_TEXT)), vkeys[:1], None),
        ("the witness without the log", format_note(_TEXT, [one]), vkeys[:1], None),
        ("more asked for than there are", both, vkeys, 3),
        ("one key under two names", both, (vkeys[0], _SAME_KEY.verifier.vkey()), 1),
        ("one witness twice", both, (vkeys[0], vkeys[0]), 1),
        ("a log's key for a witness's", both, (signer_of(0).verifier.vkey(),), 1),
        ("a key that is none", both, ("one.example/w",), 1),
        ("another log's", _other_log(), vkeys[:1], None),
    ]
    return [
        {
            "name": name,
            "note": note.decode(),
            "keys": _LINE,
            "witnesses": list(witnesses),
            "quorum": quorum,
            "cosigned": _opened(note, witnesses, quorum),
        }
        for name, note, witnesses, quorum in cases
    ]


def _note(*signatures: NoteSignature) -> bytes:
    return format_note(_TEXT, [signer_of(0).sign(_TEXT), *signatures])


def _other_log() -> bytes:
    checkpoint = Checkpoint("dev/ledger/7", 300, merkle.leaf_hash(b"root"))
    signed = sign_checkpoint(checkpoint, [signer_of(0)]).decode()
    return (signed + _ONE.cosign(checkpoint.text(), _AT).line()).encode()


def _with_time(one: NoteSignature, seconds: int) -> NoteSignature:
    return replace(one, signature=seconds.to_bytes(8, "big") + one.signature[8:])


def _cut(one: NoteSignature) -> NoteSignature:
    return replace(one, signature=one.signature[8:])


def _opened(note: bytes, witnesses: Sequence[str], quorum: int | None) -> dict[str, Any] | None:
    try:
        verifiers = parse_keys(_LINE.encode())[ORIGIN]
        found = open_cosigned(note, ORIGIN, verifiers, Policy.of(witnesses, quorum))
    except InvalidInput:
        return None
    # Texts: a moment may be beyond what a double holds.
    times = {name: str(seconds) for name, seconds in sorted(found.cosigned_at.items())}
    return {"size": found.checkpoint.size, "root": found.checkpoint.root.hex(), "cosignedAt": times}
