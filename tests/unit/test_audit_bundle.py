"""An audit bundle proves itself, and no byte of it is free to change."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pactstream import avro, canonical
from pactstream.errors import Fatal, InvalidInput
from pactstream.ledger import bundle, merkle
from pactstream.ledger.bundle import About, BundleError, Manifest, Proved
from pactstream.ledger.note import Checkpoint, NoteSigner, sign_checkpoint, sign_note
from tests.evaluator_tools import AGENT, DOCUMENT, PACT, Written, call, record, task

ISSUER, ORIGIN = "pactstream.example", "pactstream.example/ledger/3"
SIGNER = NoteSigner(bundle.note_name(ISSUER), Ed25519PrivateKey.from_private_bytes(b"s" * 32))
LOG = NoteSigner(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"l" * 32))
SMALL = {
    bundle.KEYS: b'[{"keyId":"0123456789abcdef"}]\n',
    bundle.pact_name(PACT, 1): canonical.dumps(DOCUMENT),
}


def leaves(count: int) -> list[bytes]:
    written = Written()
    task().process(record(*[call(5_000 if number == 2 else number) for number in range(count)]), written)
    batches = [avro.decode_as("EvaluatedBatch", value) for _, value in written.of("telemetry.evaluated")]
    return [event["leaf"] for batch in batches for event in batch["events"]]


def proved(data: list[bytes]) -> tuple[list[Proved], bytes]:
    """Each leaf with its path in the tree of all, and the signed checkpoint of that."""
    hashes = [merkle.leaf_hash(one) for one in data]

    def node(level: int, index: int) -> bytes:
        return merkle.complete_root(hashes[index << level : (index + 1) << level])

    frontier = merkle.Frontier()
    for hashed in hashes:
        frontier.append(hashed)
    paths = [merkle.inclusion_proof(index, len(data), node) for index in range(len(data))]
    checkpoint = Checkpoint(ORIGIN, len(data), frontier.root(), ())
    listed = [Proved(index, leaf, path) for index, (leaf, path) in enumerate(zip(data, paths, strict=True))]
    return listed, sign_checkpoint(checkpoint, [LOG])


def made(path: Path, count: int = 7, small: dict[str, bytes] | None = None, first: int = 0) -> Manifest:
    events, checkpoint = proved(leaves(count))
    about = About(
        AGENT, "tenant-1", ISSUER, "2026-05-13T10:00:00.000000Z", "2026-05-06T10:00:00.000000Z", checkpoint
    )
    return bundle.write(path, about, events[first:], SMALL if small is None else small, SIGNER)


def verified(path: Path) -> Manifest:
    return bundle.verify(path, issuer=ISSUER, signers=[SIGNER.verifier], logs={ORIGIN: [LOG.verifier]})


def test_a_bundle_verifies_and_tells_in_words(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    manifest = made(path)
    assert verified(path) == manifest
    assert (manifest.events, manifest.first_sequence, manifest.last_sequence) == (7, 1, 7)
    with zipfile.ZipFile(path) as read:
        timeline = read.read(bundle.TIMELINE).decode().splitlines()
    assert len(timeline) == 7
    assert "critical: amount breaks valueRange" in timeline[2]
    with pytest.raises(Fatal, match="exists"):
        made(path)


def test_a_bundle_may_begin_in_the_middle_of_a_history(tmp_path: Path) -> None:
    made(tmp_path / "x.zip", first=3)
    assert verified(tmp_path / "x.zip").first_sequence == 4


def test_a_changed_byte_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    path, changed = tmp_path / "x.zip", tmp_path / "y.zip"
    made(path, count=3)
    data = path.read_bytes()
    manifest, refused = verified(path), 0
    places = range(0, len(data), 17)  # all of them would take a minute
    for at in places:
        changed.write_bytes(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
        try:
            assert verified(changed) == manifest  # a file's date, say: nothing reads it
        except InvalidInput:
            refused += 1
    assert refused > 0.8 * len(places)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data + b"\0",
        lambda data: b"\0" + data,
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: b"PK\5\6" + b"\0" * 18,
        lambda data: data[:-2] + b"\1\0x",
    ],
)
def test_what_stands_before_between_or_after_is_refused(
    tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "x.zip"
    made(path)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(InvalidInput):
        verified(path)


def rewritten(path: Path, change: Callable[[dict[str, bytes]], None], *, sign: bool = False) -> None:
    """The members with a change, and a manifest that fits them where `sign`: by a key that is ours."""
    with zipfile.ZipFile(path) as read:
        members = {one.filename: read.read(one) for one in read.infolist()}
    change(members)
    if sign:
        manifest = json.loads(members[bundle.MANIFEST])
        manifest["files"] = [
            {"name": name, "bytes": len(data), "sha256": sha256(data).hexdigest()}
            for name, data in members.items()
            if name not in (bundle.MANIFEST, bundle.SIGNATURE)
        ]
        members[bundle.MANIFEST] = canonical.dumps(manifest)
        _sign(members)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as written:
        for name, data in members.items():
            written.writestr(name, data)
    path.write_bytes(out.getvalue())


def _sign(members: dict[str, bytes]) -> None:
    hashed = sha256(members[bundle.MANIFEST]).hexdigest()
    members[bundle.SIGNATURE] = sign_note(f"{bundle.note_name(ISSUER)}\n{hashed}\n", [SIGNER])


def _drop_event(members: dict[str, bytes]) -> None:
    lines = members[bundle.EVENTS].splitlines(keepends=True)
    members[bundle.EVENTS] = b"".join(lines[:2] + lines[3:])


def _retell(members: dict[str, bytes]) -> None:
    members[bundle.TIMELINE] = members[bundle.TIMELINE].replace(b"critical", b"harmless")


def _other_pact(members: dict[str, bytes]) -> None:
    members[bundle.pact_name(PACT, 1)] = canonical.dumps(DOCUMENT | {"name": "Other"})


def _alter_leaf(members: dict[str, bytes]) -> None:
    members[bundle.EVENTS] = members[bundle.EVENTS].replace(b"success", b"failure")


def _move(members: dict[str, bytes]) -> None:
    members[bundle.EVENTS] = members[bundle.EVENTS].replace(b'"index":1,', b'"index":2,')


def _pad(members: dict[str, bytes]) -> None:
    members[bundle.EVENTS] = members[bundle.EVENTS].replace(b'{"index":1,', b'{"index": 1,')


def _stranger(members: dict[str, bytes]) -> None:
    manifest = members.pop(bundle.MANIFEST), members.pop(bundle.SIGNATURE)
    members["readme.txt"] = b"trust me"
    members[bundle.MANIFEST], members[bundle.SIGNATURE] = manifest


@pytest.mark.parametrize("change", [_drop_event, _retell, _other_pact, _alter_leaf, _move, _pad, _stranger])
@pytest.mark.parametrize("sign", [False, True])
def test_what_the_ledger_does_not_hold_is_refused_whoever_signs_it(
    tmp_path: Path, change: Callable[[dict[str, bytes]], None], sign: bool
) -> None:
    path = tmp_path / "x.zip"
    made(path)
    rewritten(path, change, sign=sign)
    with pytest.raises(InvalidInput):
        verified(path)


def test_a_bundle_without_a_pact_that_judged_is_refused(tmp_path: Path) -> None:
    made(tmp_path / "x.zip", small={bundle.KEYS: SMALL[bundle.KEYS]})
    with pytest.raises(BundleError, match="is not here"):
        verified(tmp_path / "x.zip")


def test_other_issuers_keys_and_logs_prove_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    made(path)
    with pytest.raises(InvalidInput):
        bundle.verify(path, issuer="other.example", signers=[SIGNER.verifier], logs={ORIGIN: [LOG.verifier]})
    with pytest.raises(InvalidInput):
        bundle.verify(path, issuer=ISSUER, signers=[], logs={ORIGIN: [LOG.verifier]})
    with pytest.raises(InvalidInput):
        bundle.verify(path, issuer=ISSUER, signers=[SIGNER.verifier], logs={})


def test_nothing_to_tell_is_no_bundle(tmp_path: Path) -> None:
    _, checkpoint = proved(leaves(1))
    about = About(AGENT, "tenant-1", ISSUER, "t", "t", checkpoint)
    with pytest.raises(BundleError, match="no published events"):
        bundle.write(tmp_path / "x.zip", about, [], SMALL, SIGNER)


PACT_NAME = bundle.pact_name(PACT, 1)


@pytest.mark.parametrize(
    ("name", "data", "fault"),
    [
        (bundle.KEYS, b"[", "is not JSON"),
        (bundle.KEYS, b"{}", "no list of keys"),
        (bundle.KEYS, b"[1]", "no list of keys"),
        (bundle.KEYS, b"[" + b" " * bundle.MAX_SMALL_BYTES + b"]", "more than"),
        (PACT_NAME, b"{", "is no pact"),
        (PACT_NAME, b'{"a": 1}', "not in canonical form"),
        (bundle.EVENTS, b"x\n", "a line is no event"),
        (bundle.EVENTS, b"x", "a line without end"),
        (bundle.EVENTS, b"", "not as many events"),
        ("pacts.txt", b"x", "nothing that a bundle has"),
    ],
)
def test_a_member_that_is_not_what_it_should_be(tmp_path: Path, name: str, data: bytes, fault: str) -> None:
    def change(members: dict[str, bytes]) -> None:
        manifest = members.pop(bundle.MANIFEST), members.pop(bundle.SIGNATURE)
        members[name] = data
        members[bundle.MANIFEST], members[bundle.SIGNATURE] = manifest

    path = tmp_path / "x.zip"
    made(path)
    rewritten(path, change, sign=True)
    with pytest.raises(BundleError, match=fault):
        verified(path)


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"agentId": "00000000-0000-4000-8000-000000000000"}, "of another agent"),
        ({"firstSequence": 2}, "do not begin where the manifest says"),
        ({"lastSequence": 8}, "not as many events as the manifest says"),
        ({"issuer": "other.example"}, "another issuer's"),
        ({"files": []}, "exactly what its manifest lists"),
        ({"v": "1"}, "not a manifest"),
    ],
)
def test_a_manifest_that_says_something_else(tmp_path: Path, said: dict[str, object], fault: str) -> None:
    def change(members: dict[str, bytes]) -> None:
        members[bundle.MANIFEST] = canonical.dumps(json.loads(members[bundle.MANIFEST]) | said)
        _sign(members)

    path = tmp_path / "x.zip"
    made(path)
    rewritten(path, change)
    with pytest.raises(BundleError, match=fault):
        verified(path)


def test_a_bundle_of_parts_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    made(path)
    rewritten(path, lambda members: members.__delitem__(bundle.TIMELINE), sign=True)
    with pytest.raises(BundleError, match="does not list"):
        verified(path)
    rewritten(path, lambda members: members.__delitem__(bundle.SIGNATURE))
    with pytest.raises(BundleError, match="is missing"):
        verified(path)
    with pytest.raises(Fatal, match="cannot be read"):
        verified(tmp_path / "none.zip")
    with pytest.raises(Fatal, match="cannot write"):
        made(tmp_path / "none" / "x.zip")
