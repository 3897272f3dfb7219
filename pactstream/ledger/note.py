"""C2SP signed-note and tlog-checkpoint: a tree head as a text that anyone can check.

A note is UTF-8 text ending in a newline, an empty line, and signature lines
`— <name> <base64(key id ‖ signature)>`. Checked exactly: a signature of an unknown key is ignored, a bad one of
a known key refuses the whole note, and any byte that does not belong is an error.
Sources: c2sp.org/signed-note, c2sp.org/tlog-checkpoint.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pactstream.errors import InvalidInput
from pactstream.ledger.merkle import HASH_BYTES

MAX_NOTE_BYTES = 1_000_000
MAX_SIGNATURES = 100
ED25519 = 0x01
"""Signature type identifier of a plain Ed25519 signature."""

_KEY_ID_BYTES = 4
_SIGNATURE_LINE = re.compile(r"— ([^ ]+) ([A-Za-z0-9+/]+={0,2})", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


class NoteError(InvalidInput):
    """A note, key or checkpoint that is malformed, or not signed as it must be."""


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line: who signed (name and 4-byte key id), and the signature proper."""

    name: str
    key_id: bytes
    signature: bytes

    def line(self) -> str:
        """The signature line with its newline."""
        return f"— {self.name} {base64.b64encode(self.key_id + self.signature).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """The text with its final newline, and its signatures. After `open_note`: the verified ones only."""

    text: str
    signatures: tuple[NoteSignature, ...]


class Verifier(Protocol):
    """A trusted key of any signature type."""

    @property
    def name(self) -> str:
        """The key's name, as in its signature lines."""
        ...

    @property
    def key_id(self) -> bytes:
        """The key's 4-byte id."""
        ...

    def verifies(self, text: str, signature: bytes) -> bool:
        """Whether `signature` is this key's over `text`."""
        ...


@dataclass(frozen=True, slots=True)
class NoteVerifier:
    """A named Ed25519 public key (32 bytes)."""

    name: str
    public_key: bytes
    key_id: bytes = field(init=False)
    _key: Ed25519PublicKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_name(self.name)
        object.__setattr__(self, "_key", ed25519(self.public_key))
        object.__setattr__(self, "key_id", key_id(self.name, ED25519, self.public_key))

    def verifies(self, text: str, signature: bytes) -> bool:
        """Whether `signature` is this key's over `text` (RFC 8032)."""
        try:
            self._key.verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True

    def vkey(self) -> str:
        """The verifier key as text: `<name>+<key id, hexadecimal>+<base64(0x01 ‖ public key)>`."""
        return format_vkey(self.name, ED25519, self.public_key)

    @classmethod
    def from_vkey(cls, text: str) -> Self:
        """The key in a verifier key text. Raises `NoteError` unless it is exactly one of an Ed25519 key."""
        return cls(*parse_vkey(text, ED25519))


@dataclass(frozen=True, slots=True)
class NoteSigner:
    """A named Ed25519 private key."""

    name: str
    private_key: Ed25519PrivateKey = field(repr=False)

    @property
    def verifier(self) -> NoteVerifier:
        """The public side."""
        return NoteVerifier(self.name, self.private_key.public_key().public_bytes_raw())

    def sign(self, text: str) -> NoteSignature:
        """This key's signature over the note text."""
        return NoteSignature(self.name, self.verifier.key_id, self.private_key.sign(text.encode()))


def key_id(name: str, signature_type: int, public_key: bytes) -> bytes:
    """The 4-byte key id: the start of SHA-256(name ‖ 0x0A ‖ type ‖ public key)."""
    return sha256(name.encode() + b"\n" + bytes([signature_type]) + public_key).digest()[:_KEY_ID_BYTES]


def format_vkey(name: str, signature_type: int, public_key: bytes) -> str:
    """A verifier key as text (C2SP signed-note, "Verifier keys")."""
    encoded = base64.b64encode(bytes([signature_type]) + public_key).decode()
    return f"{name}+{key_id(name, signature_type, public_key).hex()}+{encoded}"


def parse_vkey(text: str, signature_type: int) -> tuple[str, bytes]:
    """Name and Ed25519 public key in a verifier key text of this signature type. Raises `NoteError`."""
    # The name has no plus, but base64 has: split from the left.
    name, _, rest = text.partition("+")
    hex_id, _, encoded = rest.partition("+")
    data = decode_base64(encoded, "verifier key")
    if data[:1] != bytes([signature_type]):
        raise NoteError(f"the verifier key is not an Ed25519 key of signature type {signature_type:#04x}")
    check_name(name)
    ed25519(data[1:])
    if key_id(name, signature_type, data[1:]).hex() != hex_id:
        raise NoteError("the verifier key's id does not belong to its name and key")
    return name, data[1:]


def sign_note(text: str, signers: Iterable[NoteSigner]) -> bytes:
    """The signed note over `text`. Raises `NoteError` for a text that no verifier would accept."""
    return format_note(text, [signer.sign(text) for signer in signers])


def format_note(text: str, signatures: Iterable[NoteSignature]) -> bytes:
    """A note from its text and finished signatures (the log's own, and later its witnesses')."""
    data = f"{text}\n{''.join(one.line() for one in signatures)}".encode()
    if parse_note(data).text != text:
        raise NoteError("the text must end in a newline")
    return data


def parse_note(data: bytes) -> Note:
    """The note in `data`, its signatures unverified: for showing who signed, never for trusting the text.

    Raises `NoteError` unless every byte is in place.
    """
    if len(data) > MAX_NOTE_BYTES:
        raise NoteError(f"a note has at most {MAX_NOTE_BYTES} bytes")
    try:
        whole = data.decode()
    except UnicodeDecodeError as error:
        raise NoteError("a note must be UTF-8") from error
    if _CONTROL.search(whole):
        raise NoteError("a note must not contain control characters")
    text, separator, tail = whole.rpartition("\n\n")  # the text may have empty lines: the last one splits
    if not separator or not tail.endswith("\n"):
        raise NoteError("a note ends in an empty line and signature lines")
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteError(f"a note has at most {MAX_SIGNATURES} signatures")
    return Note(text + "\n", tuple(parse_signature_line(line) for line in lines))


def open_note(data: bytes, verifiers: Sequence[Verifier]) -> Note:
    """The note in `data`, with the signatures that were verified, at least one.

    Raises `NoteError` when it is malformed, a known key's signature is bad, or no known key signed.
    """
    known = {(verifier.name, verifier.key_id): verifier for verifier in verifiers}
    note = parse_note(data)
    verified = []
    for one in note.signatures:
        verifier = known.get((one.name, one.key_id))
        if verifier is None:
            continue
        if not verifier.verifies(note.text, one.signature):
            raise NoteError(f"the signature of {one.name}+{one.key_id.hex()} is bad")
        verified.append(one)
    if not verified:
        raise NoteError("no known key signed the note")
    return Note(note.text, tuple(verified))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed tree head: the log's origin, its size in leaves, its 32-byte root, opaque extension lines."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """The note text. Raises `NoteError` when the parts do not form a checkpoint."""
        root = base64.b64encode(self.root).decode()
        text = "".join(f"{line}\n" for line in (self.origin, str(self.size), root, *self.extensions))
        if self.parse(text) != self:
            raise NoteError("not a checkpoint: a line contains a newline")
        return text

    @classmethod
    def parse(cls, text: str) -> Self:
        """The checkpoint in a note text, whose signatures are the caller's affair. Raises `NoteError`."""
        *lines, last = text.split("\n")
        if last or len(lines) < 3 or not all(lines):  # origin, size, root
            raise NoteError("not a checkpoint: it has at least three lines, none of them empty")
        origin, size, root, *extensions = lines
        if not _SIZE.fullmatch(size):
            raise NoteError("not a checkpoint: the size is not a decimal number")
        root_hash = decode_base64(root, "root hash")
        if len(root_hash) != HASH_BYTES:
            raise NoteError("not a checkpoint: the root hash is not 32 bytes long")
        return cls(origin, int(size), root_hash, tuple(extensions))


def sign_checkpoint(checkpoint: Checkpoint, signers: Iterable[NoteSigner]) -> bytes:
    """The checkpoint as a signed note."""
    return sign_note(checkpoint.text(), signers)


def open_checkpoint(data: bytes, origin: str, verifiers: Sequence[Verifier]) -> Checkpoint:
    """The checkpoint of log `origin` in a signed note.

    Raises `NoteError` when the note does not open, is no checkpoint, or is another log's.
    """
    checkpoint = Checkpoint.parse(open_note(data, verifiers).text)
    if checkpoint.origin != origin:
        raise NoteError(f"the checkpoint is of log {checkpoint.origin!r}, not {origin!r}")
    return checkpoint


def parse_signature_line(line: str) -> NoteSignature:
    """The signature in a line (without its newline). Raises `NoteError` for anything else."""
    match = _SIGNATURE_LINE.fullmatch(line)
    if match is None:
        raise NoteError("a signature line is an em dash, a name and a base64 signature")
    name, encoded = match.groups()
    check_name(name)
    data = decode_base64(encoded, "signature")
    if len(data) <= _KEY_ID_BYTES:
        raise NoteError("a signature has a 4-byte key id and at least one byte")
    return NoteSignature(name, data[:_KEY_ID_BYTES], data[_KEY_ID_BYTES:])


def check_name(name: str) -> None:
    """Raise `NoteError` unless `name` can be a key's name."""
    if not name or "+" in name or any(map(str.isspace, name)):
        raise NoteError("a key name is not empty and has neither spaces nor plus signs")


def ed25519(public_key: bytes) -> Ed25519PublicKey:
    """The key in its 32 bytes (RFC 8032). Raises `NoteError`."""
    try:
        return Ed25519PublicKey.from_public_bytes(public_key)
    except ValueError as error:
        raise NoteError("an Ed25519 public key is 32 bytes long") from error


def decode_base64(text: str, what: str) -> bytes:
    """Standard base64 (RFC 4648, section 4); one text for one value: no stray characters, no stray bits."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoteError(f"the {what} is not base64") from error
    if base64.b64encode(data).decode() != text:
        raise NoteError(f"the {what} is not canonical base64")
    return data
