"""C2SP tlog-cosignature: a witness's timestamped signature on a checkpoint, and how many a verifier asks for.

A cosignature says: at this time, this is the largest tree of this log that I have seen, and it extends all that
I saw before. Only the Ed25519 form. Source: c2sp.org/tlog-cosignature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pactstream.ledger import note
from pactstream.ledger.note import Checkpoint, NoteError, NoteSignature, Verifier

COSIGNATURE = 0x04
"""Signature type identifier of a timestamped Ed25519 cosignature."""

_TIMESTAMP_BYTES = 8
_SIGNATURE_BYTES = 64
_MAX_TIMESTAMP = 2**63 - 1


class TooFewCosignatures(NoteError):
    """The log signed the note, and fewer of the known witnesses cosigned it than are asked for."""


@dataclass(frozen=True, slots=True)
class CosignatureVerifier:
    """A witness: its name and Ed25519 public key (32 bytes). A `note.Verifier`."""

    name: str
    public_key: bytes
    key_id: bytes = field(init=False)
    _key: Ed25519PublicKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        note.check_name(self.name)
        object.__setattr__(self, "_key", note.ed25519(self.public_key))
        object.__setattr__(self, "key_id", note.key_id(self.name, COSIGNATURE, self.public_key))

    def verifies(self, text: str, signature: bytes) -> bool:
        """Whether `signature`, timestamp included, is this witness's over the checkpoint `text`."""
        if len(signature) != _TIMESTAMP_BYTES + _SIGNATURE_BYTES:
            return False
        seconds = _timestamp(signature)
        if seconds > _MAX_TIMESTAMP:
            return False
        try:
            self._key.verify(signature[_TIMESTAMP_BYTES:], _message(text, seconds))
        except InvalidSignature:
            return False
        return True

    def vkey(self) -> str:
        """The verifier key as text: `<name>+<key id, hexadecimal>+<base64(0x04 ‖ public key)>`."""
        return note.format_vkey(self.name, COSIGNATURE, self.public_key)

    @classmethod
    def from_vkey(cls, text: str) -> Self:
        """The witness in a verifier key text. Raises `NoteError` unless it is exactly one."""
        return cls(*note.parse_vkey(text, COSIGNATURE))


@dataclass(frozen=True, slots=True)
class Cosigner:
    """A witness's name and private key. The key must be used for nothing else."""

    name: str
    private_key: Ed25519PrivateKey = field(repr=False)

    def __post_init__(self) -> None:
        note.check_name(self.name)

    @property
    def verifier(self) -> CosignatureVerifier:
        """The public side."""
        return CosignatureVerifier(self.name, self.private_key.public_key().public_bytes_raw())

    def cosign(self, text: str, seconds: int) -> NoteSignature:
        """The cosignature on a checkpoint's note text at `seconds` since 1970.

        Raises `NoteError` when the text is no checkpoint: a key that cosigns signs nothing else.
        """
        Checkpoint.parse(text)
        signature = self.private_key.sign(_message(text, seconds))
        return NoteSignature(
            self.name, self.verifier.key_id, seconds.to_bytes(_TIMESTAMP_BYTES, "big") + signature
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """Which witnesses a verifier knows, and how many of them (`quorum`) must have cosigned."""

    witnesses: tuple[CosignatureVerifier, ...] = ()
    quorum: int = 0

    def __post_init__(self) -> None:
        # The signed message does not name the witness: one key under two names would count twice.
        distinct = len({witness.public_key for witness in self.witnesses})
        if distinct < len(self.witnesses) or not 0 <= self.quorum <= distinct:
            raise NoteError(f"{self.quorum} cosignatures by {distinct} distinct witnesses cannot be asked for")

    @classmethod
    def of(cls, vkeys: Sequence[str], quorum: int | None = None) -> Self:
        """The witnesses with these verifier keys; all of them must have cosigned, unless a quorum is given.

        Raises `NoteError`: one is no witness's key, or so many cannot be asked for.
        """
        witnesses = tuple(CosignatureVerifier.from_vkey(one) for one in vkeys)
        return cls(witnesses, len(witnesses) if quorum is None else quorum)


NO_WITNESSES = Policy()


class Cosigned(NamedTuple):
    """A verified checkpoint, and when (seconds since 1970) each known witness cosigned it."""

    checkpoint: Checkpoint
    cosigned_at: dict[str, int]


def open_cosigned(
    data: bytes, origin: str, verifiers: Sequence[Verifier], policy: Policy = NO_WITNESSES
) -> Cosigned:
    """The checkpoint of log `origin` in a note that the log signed and enough witnesses cosigned.

    `verifiers` are the log's keys. Raises `NoteError` when the note does not open or is another log's, and
    `TooFewCosignatures` when the policy asks for more; one bad signature of a known key refuses the note.
    """
    checkpoint = note.open_checkpoint(data, origin, verifiers)
    known = {(witness.name, witness.key_id): witness for witness in policy.witnesses}
    cosigned_at: dict[str, int] = {}
    for one in note.open_note(data, [*verifiers, *policy.witnesses]).signatures:
        if (one.name, one.key_id) in known:
            cosigned_at[one.name] = _timestamp(one.signature)
    if len(cosigned_at) < policy.quorum:
        known_of = f"{len(cosigned_at)} of {len(policy.witnesses)} known witnesses"
        raise TooFewCosignatures(
            f"{known_of} cosigned the checkpoint of {checkpoint.size} leaves; asked for are {policy.quorum}"
        )
    return Cosigned(checkpoint, cosigned_at)


def _timestamp(signature: bytes) -> int:
    return int.from_bytes(signature[:_TIMESTAMP_BYTES], "big")


def _message(text: str, seconds: int) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()
