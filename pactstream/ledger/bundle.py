"""An audit bundle: what one agent did, as a zip that proves itself.

    manifest.json   what this is about, and each further member's size and SHA-256, RFC 8785
    manifest.note   a C2SP signed note over the manifest's SHA-256, by the key that signs reports
    checkpoint      the signed note of the log that all of it is in
    events.jsonl    a leaf a line, in the agent's own order: {"index", "leaf", "path"}, proved to the checkpoint
    timeline.txt    the same in words; who verifies writes it anew and compares
    keys.json       the tenant's API keys, without what makes them keys: made, expired, revoked
    pacts/…         each version of a pact of the tenant, RFC 8785; its leaves name the hash

Every byte of the file is accounted for: members follow each other without gaps, nothing stands before or after
them. Both sides hold one event in memory, however many there are.
"""

from __future__ import annotations

import json
import struct
import tempfile
import zipfile
import zlib
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Annotated, Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta

from pactstream import canonical
from pactstream.errors import Fatal, InvalidInput
from pactstream.ledger import merkle
from pactstream.ledger.leaf import MAX_LEAF_BYTES, AgentHead, Leaf, agent_link, parse_leaf
from pactstream.ledger.note import (
    Checkpoint,
    NoteSigner,
    Verifier,
    decode_base64,
    open_checkpoint,
    open_note,
    sign_note,
)

MANIFEST, SIGNATURE, CHECKPOINT = "manifest.json", "manifest.note", "checkpoint"
EVENTS, TIMELINE, KEYS, PACTS = "events.jsonl", "timeline.txt", "keys.json", "pacts/"
MAX_MANIFEST_BYTES: Final = 4_000_000
MAX_MEMBER_BYTES: Final = 1 << 40
MAX_SMALL_BYTES: Final = 16_000_000
"""Of a pact, the list of keys, a note."""
MAX_LINE_BYTES: Final = 2 * MAX_LEAF_BYTES + 16_384

# What zipfile raises for hostile input.
_NO_ZIP: Final = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError)
_LOCAL_HEADER: Final = struct.Struct("<4s5H3I2H")
_END_BYTES: Final = 22
_CHUNK: Final = 1 << 16
_Hex32 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
_Size = Annotated[int, Meta(ge=0, le=MAX_MEMBER_BYTES)]


class BundleError(InvalidInput):
    """A bundle that is malformed, altered, or proves nothing."""


class Member(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of the bundle."""

    name: Annotated[str, Meta(max_length=200)]
    bytes: _Size
    sha256: _Hex32


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """What a bundle is about; `tenant` is the pseudonym that the tenant's leaves carry."""

    v: Literal[1]
    type: Literal["audit-bundle"]
    agent_id: str
    tenant: str
    issuer: str
    origin: str
    made_at: str
    since: str
    events: Annotated[int, Meta(ge=1)]
    first_sequence: Annotated[int, Meta(ge=1)]
    last_sequence: Annotated[int, Meta(ge=1)]
    files: tuple[Member, ...]


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    index: Annotated[int, Meta(ge=0)]
    leaf: str
    path: Annotated[tuple[str, ...], Meta(max_length=63)]


class Proved(NamedTuple):
    """A leaf as bytes, its index in the log, and its audit path."""

    leaf_index: int
    leaf: bytes
    path: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class About:
    """What a bundle is to be made of, beside its events."""

    agent_id: str
    tenant: str
    issuer: str
    made_at: str
    since: str
    checkpoint: bytes
    """The signed note to which the events are proved."""


def note_name(issuer: str) -> str:
    """The name under which an issuer signs bundles."""
    return f"{issuer}/audit"


def write(
    path: Path, about: About, events: Iterable[Proved], small: Mapping[str, bytes], signer: NoteSigner
) -> Manifest:
    """Write a bundle to a new file, and return its manifest.

    `small` are the key list and the pacts by name. Raises `BundleError` where there are no events, and `Fatal`
    where the file is there or cannot be written.
    """
    try:
        with path.open("xb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
            return _write(made, about, events, small, signer)
    except FileExistsError:
        raise Fatal(f"{path} exists; choose another file") from None
    except OSError as error:
        raise Fatal(f"cannot write {path}: {error.strerror}") from error


def _write(
    made: zipfile.ZipFile,
    about: About,
    events: Iterable[Proved],
    small: Mapping[str, bytes],
    signer: NoteSigner,
) -> Manifest:
    first = last = count = 0
    members = [_put(made, CHECKPOINT, [about.checkpoint])]
    with tempfile.TemporaryFile() as timeline:

        def lines() -> Iterator[bytes]:
            nonlocal first, last, count
            for one in events:
                leaf = parse_leaf(one.leaf)
                first, last, count = first or leaf.sequence, leaf.sequence, count + 1
                timeline.write(timeline_line(leaf))
                yield _line(one)

        members.append(_put(made, EVENTS, lines()))
        timeline.seek(0)
        members.append(_put(made, TIMELINE, iter(lambda: timeline.read(_CHUNK), b"")))
    if not count:
        raise BundleError("the agent has no published events in that time")
    members += [_put(made, name, [data]) for name, data in sorted(small.items())]
    manifest = Manifest(
        v=1,
        type="audit-bundle",
        agent_id=about.agent_id,
        tenant=about.tenant,
        issuer=about.issuer,
        origin=Checkpoint.parse(_text(about.checkpoint)).origin,
        made_at=about.made_at,
        since=about.since,
        events=count,
        first_sequence=first,
        last_sequence=last,
        files=tuple(members),
    )
    data = canonical.dumps(msgspec.to_builtins(manifest))
    _put(made, MANIFEST, [data])
    _put(made, SIGNATURE, [sign_note(_signed_text(about.issuer, data), [signer])])
    return manifest


def verify(
    path: Path, *, issuer: str, signers: Sequence[Verifier], logs: Mapping[str, Sequence[Verifier]]
) -> Manifest:
    """The manifest of a bundle in which every byte holds.

    `signers` are the issuer's keys under `note_name`, `logs` the logs' keys by origin. Raises `BundleError`, or
    another `InvalidInput`, with the reason.
    """
    try:
        with path.open("rb") as file:
            _check_container(file)
            with zipfile.ZipFile(file) as read:
                return _verify(read, issuer, signers, logs)
    except OSError as error:
        raise Fatal(f"{path} cannot be read: {error.strerror}") from error
    except _NO_ZIP as error:
        raise BundleError(f"not a bundle: {error}") from error


def _verify(
    read: zipfile.ZipFile, issuer: str, signers: Sequence[Verifier], logs: Mapping[str, Sequence[Verifier]]
) -> Manifest:
    data = _all(read, MANIFEST, MAX_MANIFEST_BYTES)
    note = open_note(_all(read, SIGNATURE, MAX_SMALL_BYTES), signers)
    if note.text != _signed_text(issuer, data):
        raise BundleError("the signed note is not over this manifest, or not by this issuer")
    manifest = _manifest(data, issuer)
    expected = [one.name for one in manifest.files] + [MANIFEST, SIGNATURE]
    if [one.filename for one in read.infolist()] != expected:
        raise BundleError("the bundle does not hold exactly what its manifest lists, in that order")
    files = {one.name: one for one in manifest.files}
    if len(files) != len(manifest.files) or not {CHECKPOINT, EVENTS, TIMELINE, KEYS} <= files.keys():
        raise BundleError("the manifest does not list what a bundle has")
    checkpoint = open_checkpoint(
        _small(read, files[CHECKPOINT]), manifest.origin, logs.get(manifest.origin, ())
    )
    hashes = {}
    for name, one in files.items():
        if name.startswith(PACTS):
            hashes[name] = _pact_hash(name, _small(read, one))
        elif name not in (CHECKPOINT, EVENTS, TIMELINE, KEYS):
            raise BundleError(f"{name} is nothing that a bundle has")
    _check_keys(_small(read, files[KEYS]))
    _check_events(read, manifest, files, checkpoint, hashes)
    return manifest


def _check_events(
    read: zipfile.ZipFile,
    manifest: Manifest,
    files: Mapping[str, Member],
    tree: Checkpoint,
    pacts: Mapping[str, str],
) -> None:
    """Each event is the agent's next, proved to the checkpoint, and judged by the pact that is here."""
    head: AgentHead | None = None
    count, timeline, timeline_bytes = 0, sha256(), 0
    for line in _lines(read, files[EVENTS]):
        proved = _read_line(line)
        leaf = parse_leaf(proved.leaf)
        hashed = merkle.leaf_hash(proved.leaf)
        merkle.verify_inclusion(hashed, proved.leaf_index, tree.size, proved.path, tree.root)
        if leaf.agent_id != manifest.agent_id:
            raise BundleError(f"event {leaf.event_id} is of another agent")
        if head is None and leaf.sequence != manifest.first_sequence:
            raise BundleError("the events do not begin where the manifest says")
        if head is not None and (fault := agent_link(leaf, head)) is not None:
            raise BundleError(f"event {leaf.event_id}: {fault}")
        _check_pact(leaf, manifest.tenant, pacts)
        head, count = AgentHead(leaf.sequence, hashed), count + 1
        shown = timeline_line(leaf)
        timeline.update(shown)
        timeline_bytes += len(shown)
    if head is None or (count, head.sequence) != (manifest.events, manifest.last_sequence):
        raise BundleError("there are not as many events as the manifest says")
    said = files[TIMELINE]
    if (timeline.hexdigest(), timeline_bytes) != (said.sha256, said.bytes):
        raise BundleError("the timeline does not tell what the events do")
    for _ in _lines(read, said):
        pass  # and the file is the one that the manifest names


def _check_pact(leaf: Leaf, tenant: str, pacts: Mapping[str, str]) -> None:
    if leaf.tenant != tenant or leaf.pact is None or leaf.pact.hash is None:
        return
    name = pact_name(leaf.pact.id, leaf.pact.version or 0)
    if pacts.get(name) != leaf.pact.hash:
        raise BundleError(f"event {leaf.event_id} was judged by {name}, which is not here, or is another")


def pact_name(pact_id: str, version: int) -> str:
    """The member that holds a version of a pact."""
    return f"{PACTS}{pact_id}/{version}.json"


def timeline_line(leaf: Leaf) -> bytes:
    """An event in words, one line."""
    parts = [leaf.occurred_at, f"#{leaf.sequence}", leaf.type, leaf.tool or "", leaf.outcome or ""]
    if leaf.verdict is not None and leaf.verdict.bound:
        broken = ", ".join(f"{one.param_path} breaks {one.rule}" for one in leaf.verdict.violations)
        parts.append("valid" if leaf.verdict.valid else f"{leaf.verdict.severity}: {broken}")
    parts.append(f"session {leaf.session_id}, event {leaf.event_id}")
    text = " ".join(part for part in parts if part)
    return "".join(one if one.isprintable() else "�" for one in text).encode("utf-8", "replace") + b"\n"


# The container.


def _check_container(file: IO[bytes]) -> None:
    """Nothing stands before, between or after the members.

    A zip is read from its end, and tolerates whatever its directory does not point at. Here that is a place to
    hide things in, and is refused.
    """
    size = file.seek(0, 2)
    file.seek(max(size - _END_BYTES, 0))
    end = file.read()
    if len(end) != _END_BYTES or not end.startswith(b"PK\5\6") or end[-2:] != b"\0\0":
        raise BundleError("not a bundle: it does not end as a zip without comment does")
    with zipfile.ZipFile(file) as read:
        at = 0
        for one in read.infolist():
            if one.header_offset != at or one.flag_bits & ~0x800 or one.comment:
                raise BundleError(f"{one.filename!r} does not follow the member before it, or is encrypted")
            file.seek(at)
            head = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
            at += _LOCAL_HEADER.size + head[-2] + head[-1] + one.compress_size
        directory = read.start_dir
        entries = sum(
            46 + len(one.filename.encode()) + len(one.extra) + len(one.comment) for one in read.infolist()
        )
    zip64 = size - _END_BYTES - directory - entries
    if at != directory or zip64 not in (0, 76):
        raise BundleError("bytes follow the members that are not theirs")


def _put(made: zipfile.ZipFile, name: str, chunks: Iterable[bytes]) -> Member:
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.compress_type = zipfile.ZIP_DEFLATED
    hashed, size = sha256(), 0
    with made.open(info, "w", force_zip64=True) as member:
        for chunk in chunks:
            hashed.update(chunk)
            size += len(chunk)
            member.write(chunk)
    return Member(name, size, hashed.hexdigest())


def _all(read: zipfile.ZipFile, name: str, limit: int) -> bytes:
    try:
        with read.open(name) as member:
            data = member.read(limit + 1)
    except (KeyError, RuntimeError) as error:
        raise BundleError(f"{name} is missing, or cannot be read") from error
    if len(data) > limit:
        raise BundleError(f"{name} has more than {limit} bytes")
    return data


def _small(read: zipfile.ZipFile, said: Member) -> bytes:
    data = _all(read, said.name, MAX_SMALL_BYTES)
    if (len(data), sha256(data).hexdigest()) != (said.bytes, said.sha256):
        raise BundleError(f"{said.name} is not the file that the manifest names")
    return data


def _lines(read: zipfile.ZipFile, said: Member) -> Iterator[bytes]:
    """The lines of a member; at its end it must have been the one that the manifest names."""
    hashed, size = sha256(), 0
    with read.open(said.name) as member:
        while line := member.readline(MAX_LINE_BYTES + 1):
            size += len(line)
            if len(line) > MAX_LINE_BYTES or size > said.bytes or not line.endswith(b"\n"):
                raise BundleError(f"{said.name} has a line without end, or more than the manifest says")
            hashed.update(line)
            yield line
    if (size, hashed.hexdigest()) != (said.bytes, said.sha256):
        raise BundleError(f"{said.name} is not the file that the manifest names")


# Its members.


def _line(one: Proved) -> bytes:
    path = tuple(b64encode(hashed).decode() for hashed in one.path)
    return canonical.dumps({"index": one.leaf_index, "leaf": one.leaf.decode(), "path": list(path)}) + b"\n"


def _read_line(line: bytes) -> Proved:
    try:
        read = _decode_line(line)
        path = [decode_base64(one, "proof hash") for one in read.path]
        proved = Proved(read.index, read.leaf.encode(), path)
        exact = _line(proved) == line
    except (msgspec.DecodeError, UnicodeError, RecursionError, InvalidInput) as error:
        raise BundleError(f"a line is no event: {error}") from error
    if not exact:
        raise BundleError("a line is not in canonical form")
    return proved


def _manifest(data: bytes, issuer: str) -> Manifest:
    try:
        manifest = _decode_manifest(data)
        exact = canonical.dumps(msgspec.to_builtins(manifest)) == data
    except (msgspec.DecodeError, UnicodeError, RecursionError, InvalidInput) as error:
        raise BundleError(f"not a manifest: {error}") from error
    if not exact or manifest.issuer != issuer:
        raise BundleError("the manifest is not in canonical form, or another issuer's")
    return manifest


def _pact_hash(name: str, data: bytes) -> str:
    try:
        exact = canonical.dumps(json.loads(data)) == data
    except (ValueError, RecursionError, InvalidInput) as error:
        raise BundleError(f"{name} is no pact: {error}") from error
    if not exact:
        raise BundleError(f"{name} is not in canonical form")
    return sha256(data).hexdigest()


def _check_keys(data: bytes) -> None:
    try:
        keys: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{KEYS} is not JSON: {error}") from error
    if not isinstance(keys, list) or not all(isinstance(one, dict) and "keyId" in one for one in keys):
        raise BundleError(f"{KEYS} is no list of keys")


def _signed_text(issuer: str, manifest: bytes) -> str:
    return f"{note_name(issuer)}\n{sha256(manifest).hexdigest()}\n"


def _text(note: bytes) -> str:
    return note.partition(b"\n\n")[0].decode() + "\n"


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_manifest = msgspec.json.Decoder(Manifest).decode
