"""Segments: what a header says, how it chains, and that its checkpoint signs all of it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pactstream import canonical
from pactstream.ledger import segment
from pactstream.ledger.note import Checkpoint, NoteError, NoteSigner, open_checkpoint, sign_checkpoint
from pactstream.ledger.segment import CHAIN_START, ChainEnd, SealedSegment, SegmentError

ORIGIN = "dev/ledger/0"
SIGNER = NoteSigner(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(32)))


def seal(end: ChainEnd = CHAIN_START, **changes: Any) -> SealedSegment:
    arguments: dict[str, Any] = {
        "origin": ORIGIN,
        "leaves": 3,
        "root": bytes(range(32)),
        "topic": "telemetry.evaluated",
        "partition": 0,
        "next_offset": end.next_offset + 5,
        "sealed_at_micros": 1_778_666_400_123_456,
        "signers": [SIGNER],
    }
    return segment.seal(end, **{**arguments, **changes})


def test_a_header_as_it_is_stored() -> None:
    first = seal()
    assert json.loads(first.header_bytes) == {
        "v": 1,
        "origin": ORIGIN,
        "index": 0,
        "firstLeaf": 0,
        "leaves": 3,
        "treeSize": 3,
        "root": bytes(range(32)).hex(),
        "previous": "0" * 64,
        "source": {"topic": "telemetry.evaluated", "partition": 0, "firstOffset": 0, "nextOffset": 5},
        "sealedAt": "2026-05-13T10:00:00.123456Z",
    }
    assert first.header_bytes == canonical.dumps(json.loads(first.header_bytes))
    assert first.header_hash == hashlib.sha256(first.header_bytes).digest()
    assert segment.parse_header(first.header_bytes) == first.header


def test_segments_chain() -> None:
    first = seal()
    assert first.chain_end == ChainEnd(1, 3, 5, first.header_hash)
    second = seal(first.chain_end, leaves=4, next_offset=9)
    header = second.header
    assert (header.index, header.first_leaf, header.tree_size) == (1, 3, 7)
    assert (header.source.first_offset, header.source.next_offset) == (5, 9)
    assert header.previous == first.header_hash.hex()
    segment.check_chain(header, first.chain_end)


def test_the_checkpoint_signs_tree_and_header() -> None:
    sealed = seal()
    checkpoint = open_checkpoint(sealed.note, ORIGIN, [SIGNER.verifier])
    assert checkpoint == Checkpoint(ORIGIN, 3, bytes(range(32)), (f"segment 0 {sealed.header_hash.hex()}",))
    opened = segment.open_sealed(sealed.header_bytes, sealed.note, ORIGIN, [SIGNER.verifier])
    assert opened == sealed.header


def test_a_header_that_was_not_signed_is_refused() -> None:
    sealed = seal()
    later = canonical.dumps({**json.loads(sealed.header_bytes), "sealedAt": "2027-05-13T10:00:00.000000Z"})
    with pytest.raises(SegmentError, match="signs another segment header"):
        segment.open_sealed(later, sealed.note, ORIGIN, [SIGNER.verifier])
    bare = sign_checkpoint(Checkpoint(ORIGIN, 3, bytes(range(32))), [SIGNER])
    with pytest.raises(SegmentError, match="signs another segment header"):
        segment.open_sealed(sealed.header_bytes, bare, ORIGIN, [SIGNER.verifier])
    with pytest.raises(NoteError, match=r"of log 'dev/ledger/0', not"):
        segment.open_sealed(sealed.header_bytes, sealed.note, "dev/ledger/1", [SIGNER.verifier])


FIRST = seal()
SECOND = seal(FIRST.chain_end)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"index": 2}, "its index is 2, due was 1"),
        ({"previous": "0" * 64}, "does not link"),
        ({"firstLeaf": 4}, "its first leaf is 4, due was 3"),
        ({"treeSize": 7}, "3 leaves from 3 do not make 7"),
        (
            {"source": {"topic": "t", "partition": 0, "firstOffset": 6, "nextOffset": 10}},
            "at offset 6, due was 5",
        ),
        ({"source": {"topic": "t", "partition": 0, "firstOffset": 5, "nextOffset": 5}}, "range is empty"),
    ],
)
def test_a_header_out_of_the_chain_is_refused(changes: dict[str, Any], reason: str) -> None:
    header = segment.parse_header(canonical.dumps({**json.loads(SECOND.header_bytes), **changes}))
    with pytest.raises(SegmentError, match=reason):
        segment.check_chain(header, FIRST.chain_end)


def test_every_misfit_is_named() -> None:
    with pytest.raises(SegmentError) as caught:
        segment.check_chain(SECOND.header, CHAIN_START)
    assert str(caught.value).count(";") == 3


@pytest.mark.parametrize(
    "changes", [{"next_offset": 0}, {"leaves": 0}, {"origin": ""}, {"root": bytes(31)}, {"partition": -1}]
)
def test_an_impossible_segment_is_not_sealed(changes: dict[str, Any]) -> None:
    with pytest.raises(SegmentError):
        seal(**changes)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[" * 100_000,
        FIRST.header_bytes + b"\n",
        json.dumps(json.loads(FIRST.header_bytes)).encode(),
        FIRST.header_bytes.replace(b'"v":1', b'"v":2'),
        FIRST.header_bytes.replace(b'"v":1', b'"v":1,"v":1'),
        FIRST.header_bytes.replace(b'"leaves":3', b'"leaves":3.0'),
        FIRST.header_bytes.replace(b'"leaves":3', b'"leaves":0'),
        FIRST.header_bytes.replace(b"dev", b"\xff"),
        FIRST.header_bytes.replace(b'"index"', b'"idx"'),
    ],
)
def test_what_is_not_exactly_a_header_is_refused(data: bytes) -> None:
    with pytest.raises(SegmentError, match="not a segment header"):
        segment.parse_header(data)
