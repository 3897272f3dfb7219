"""A disclosure: one private value of one leaf, for one counterparty, as a small JSON file.

It holds the value and its salt, a tlog-proof with the leaf, and a statement that the operator signs as it signs
reports: what is disclosed, to whom, until when. The value is proved by the log alone; the statement says who
passed it on. Nobody can stop a copy: it only tells for whom it was made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta

from pactstream import canonical, clock, ids
from pactstream.errors import InvalidInput
from pactstream.ledger.leaf import Leaf, parse_leaf, verify_disclosure
from pactstream.ledger.note import Checkpoint, Verifier, parse_note
from pactstream.ledger.openings import SALT_BYTES
from pactstream.ledger.tlog_proof import TlogProof
from pactstream.signing.keys import SigningKey
from pactstream.signing.report import sign_report, verify_report

MAX_BYTES: Final = 4_000_000
MAX_AUDIENCE: Final = 200

_TYPE: Final = "disclosure"


class DisclosureError(InvalidInput):
    """A disclosure that is malformed, or discloses nothing that the ledger holds."""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    proof: str
    salt: Annotated[str, Meta(pattern=rf"\A[0-9a-f]{{{2 * SALT_BYTES}}}\Z")]
    statement: dict[str, Any]
    v: Literal[1]
    value: str


class _Statement(msgspec.Struct, frozen=True, rename="camel"):
    type: Literal["disclosure"]
    agent_id: str
    event_id: str
    field: str
    audience: Annotated[str, Meta(min_length=1, max_length=MAX_AUDIENCE)]
    proof_sha256: str
    expires_at: str


class Opening(NamedTuple):
    """A private value: the salt and the canonical JSON text that the leaf commits to in `field`."""

    field: str
    salt: bytes
    value: bytes


class Disclosed(NamedTuple):
    """What a disclosure proves; `value` is JSON text with exact numbers."""

    leaf: Leaf
    field: str
    value: str
    audience: str
    issuer: str
    expires_at: str
    checkpoint: Checkpoint


def make(
    proof: TlogProof, opening: Opening, *, audience: str, issuer: str, key: SigningKey, valid_seconds: int
) -> bytes:
    """The disclosure of one value of the leaf that `proof` carries.

    `issuer` and `key` are those that sign reports. Raises `InvalidInput` when the opening is not that of the
    leaf, or the audience is no text of 1 to 200 characters.
    """
    leaf = parse_leaf(proof.extra)
    verify_disclosure(leaf, opening.field, opening.salt, canonical.parse_exact(opening.value))
    text = proof.encode().decode()
    now = clock.now_micros()
    statement = {
        "type": _TYPE,
        "reportId": str(ids.uuid7()),
        "issuer": issuer,
        "agentId": leaf.agent_id,
        "eventId": leaf.event_id,
        "field": opening.field,
        "audience": audience,
        "proofSha256": sha256(text.encode()).hexdigest(),
        "issuedAt": clock.to_iso(now),
        "expiresAt": clock.to_iso(now + valid_seconds * clock.MICROS_PER_SECOND),
    }
    _statement(statement)
    # One signature: of several, a verifier would have to ignore those by keys it does not know.
    document = {
        "v": 1,
        "statement": sign_report(statement, [key]),
        "proof": text,
        "salt": opening.salt.hex(),
        "value": opening.value.decode(),
    }
    return canonical.dumps(document) + b"\n"


def origin_of(data: bytes) -> str:
    """The log that a disclosure is from, unverified. Raises `DisclosureError` when it is malformed."""
    return Checkpoint.parse(parse_note(TlogProof.parse(_file(data).proof.encode()).checkpoint).text).origin


def verify(
    data: bytes, jwks: object, *, issuer: str, verifiers: Mapping[str, Sequence[Verifier]], now_micros: int
) -> Disclosed:
    """What the disclosure proves, if every byte of it holds.

    `jwks` has the keys that sign `issuer`'s reports, `verifiers` the logs' keys by origin.
    Raises `InvalidInput` with the reason: not by the issuer, expired, no such leaf or value in its log.
    """
    file = _file(data)
    document = verify_report(file.statement, jwks, issuer=issuer, now_micros=now_micros)
    if len(file.statement["signatures"]) != 1:
        raise DisclosureError("a disclosure has one signature")
    statement = _statement(document)
    text = file.proof.encode()
    if sha256(text).hexdigest() != statement.proof_sha256:
        raise DisclosureError("the proof is not the one that the statement names")
    proof = TlogProof.parse(text)
    origin = Checkpoint.parse(parse_note(proof.checkpoint).text).origin
    checkpoint = proof.verify(proof.extra, origin, verifiers.get(origin, ())).checkpoint
    leaf = parse_leaf(proof.extra)
    if (leaf.agent_id, leaf.event_id) != (statement.agent_id, statement.event_id):
        raise DisclosureError("the leaf is not of the agent and event that the statement names")
    value = canonical.parse_exact(file.value.encode())
    if canonical.value_bytes(value) != file.value.encode():
        raise DisclosureError("the value is not in canonical form")
    verify_disclosure(leaf, statement.field, bytes.fromhex(file.salt), value)
    return Disclosed(
        leaf, statement.field, file.value, statement.audience, issuer, statement.expires_at, checkpoint
    )


def _file(data: bytes) -> _File:
    if len(data) > MAX_BYTES:
        raise DisclosureError(f"a disclosure has at most {MAX_BYTES} bytes")
    try:
        file = _decode_file(data)
        # One text for one disclosure: no byte in it is free to change.
        exact = canonical.dumps(msgspec.to_builtins(file)) + b"\n" == data
    except (msgspec.DecodeError, UnicodeError, RecursionError, InvalidInput) as error:
        raise DisclosureError(f"not a disclosure: {error}") from error
    if not exact:
        raise DisclosureError("not a disclosure: the JSON is not in canonical form")
    return file


def _statement(document: Mapping[str, Any]) -> _Statement:
    try:
        return msgspec.convert(document, _Statement)
    except msgspec.ValidationError as error:
        raise DisclosureError(f"the statement is malformed: {error}") from error


_decode_file = msgspec.json.Decoder(_File).decode
