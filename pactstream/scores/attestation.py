"""What third parties attest of an agent: accuracy evaluations, bond postings, security reviews.

An attestation is a compact JWS (RFC 7515) by a key that its issuer registered, ES256 or Ed25519. Its payload is
the JSON object below; `iss`, `sub`, `jti`, `iat` and `exp` are as RFC 7519 has them. It stands in the ledger as
it was signed, so that anybody who has the issuer's public key can check it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec import Meta

from pactstream.errors import InvalidInput
from pactstream.signing import compact as compact_jws
from pactstream.signing.jwks import PublicKey, parse_jwks

KINDS: Final = ("accuracy", "bond", "security")
JWS_TYPE: Final = "pactstream-attestation+jws"
MAX_CHARS: Final = 8_192
MAX_LIFETIME_SECONDS: Final = 366 * 86_400

_Count: TypeAlias = Annotated[int, Meta(ge=0, le=10**9)]
_Id: TypeAlias = Annotated[
    str, Meta(pattern=r"\A[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")
]
_Seconds: TypeAlias = Annotated[int, Meta(ge=0, le=2**40)]


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", rename="camel"):
    """What is attested; the members depend on the kind."""


class Accuracy(Claim, frozen=True, tag="accuracy"):
    """An evaluation against known answers: so many of so many were right."""

    correct: _Count
    total: Annotated[int, Meta(ge=1, le=10**9)]
    benchmark: Annotated[str, Meta(min_length=1, max_length=128)]


class Bond(Claim, frozen=True, tag="bond"):
    """Money that stands behind the agent. `coverage`: of the most that it can lose at once, from 0 to 1."""

    amount: Annotated[str, Meta(pattern=r"\A[0-9]{1,18}(\.[0-9]{1,8})?\Z")]
    currency: Annotated[str, Meta(pattern=r"\A[A-Z0-9]{3,10}\Z")]
    coverage: Annotated[float, Meta(ge=0, le=1)]


class Security(Claim, frozen=True, tag="security"):
    """A review of the agent's security: findings still open, by severity."""

    critical: _Count
    high: _Count
    medium: _Count
    low: _Count
    scope: Annotated[str, Meta(min_length=1, max_length=128)]


class Revocation(Claim, frozen=True, tag="revocation"):
    """Takes back an attestation of the same issuer about the same agent."""

    revokes: _Id


AnyClaim: TypeAlias = Accuracy | Bond | Security | Revocation


class Attestation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The payload: who says it of whom, when, until when, and what."""

    iss: _Id
    sub: _Id
    jti: _Id
    iat: _Seconds
    exp: _Seconds
    claim: AnyClaim


class _Issuer(msgspec.Struct, frozen=True, rename="camel"):
    issuer_id: _Id
    jwks: dict[str, Any]


class _Issuers(msgspec.Struct, frozen=True):
    issuers: list[_Issuer]


_decode_payload = msgspec.json.Decoder(Attestation).decode


def read(compact: str) -> Attestation:
    """What an attestation says, its signature unchecked: of one that stands in the ledger, so was checked.

    Raises:
        InvalidInput: it is none.
    """
    return _decoded(compact_jws.payload_of(compact, max_chars=MAX_CHARS))


def verify(compact: str, keys: Mapping[str, PublicKey], *, now_micros: int) -> Attestation:
    """What an attestation says, signed by one of these keys of its issuer (by key id), and in force.

    Raises:
        InvalidInput: malformed, signed by none of them or by a retired one, expired, from the future, or longer
            in force than `MAX_LIFETIME_SECONDS`.
    """
    payload, key = compact_jws.verify(compact, keys, typ=JWS_TYPE, what="the attestation", max_chars=MAX_CHARS)
    said, now = _decoded(payload), now_micros // 1_000_000
    if key.retired_at_micros is not None and said.iat * 1_000_000 >= key.retired_at_micros:
        raise InvalidInput("the attestation is signed by a retired key")
    if said.iat > now + 300:
        raise InvalidInput("the attestation is from the future")
    if not now < said.exp <= said.iat + MAX_LIFETIME_SECONDS:
        raise InvalidInput("the attestation has expired, or is in force for more than 366 days")
    if isinstance(said.claim, Accuracy) and said.claim.correct > said.claim.total:
        raise InvalidInput("more answers are right than were asked for")
    return said


def parse_issuers(text: bytes) -> dict[str, Mapping[str, PublicKey]]:
    """The keys of each issuer by key id, from the gateway's list of issuers (`GET /api/v1/issuers`).

    Raises:
        InvalidInput: it is no such list.
    """
    try:
        listed = msgspec.json.decode(text, type=_Issuers).issuers
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"not a list of issuers: {error}") from error
    return {one.issuer_id: parse_jwks(one.jwks) for one in listed}


def issuer_of(compact: str) -> str:
    """The issuer that an attestation names, so that its keys can be looked up.

    Raises:
        InvalidInput: it is none.
    """
    return read(compact).iss


def _decoded(payload: bytes) -> Attestation:
    try:
        return _decode_payload(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"not an attestation: {error}") from error
