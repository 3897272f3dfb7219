"""Public keys as a JWK Set (RFC 7517): what a verifier needs, current and retired keys alike.

Two members are ours; others ignore them, as RFC 7517 section 4 has them do. `retiredAt` (RFC 3339): what the
key signed later is refused. `until`, of a compromised ledger key: for each log's origin, the largest tree
that it may vouch for.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey
from msgspec import Meta

from pactstream import clock
from pactstream.errors import InvalidInput

Algorithm: TypeAlias = Literal["ES256", "Ed25519"]
"""JWS algorithm names (RFC 7518, section 3.1; RFC 9864, section 2.2)."""

Jwk: TypeAlias = ECKey | OKPKey

_Coordinate = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{43}\Z")]  # 32 bytes
_KeyId = Annotated[str, Meta(min_length=1, max_length=128)]
_Moment = Annotated[datetime, Meta(tz=True)]
_Origin = Annotated[str, Meta(min_length=1, max_length=200)]
_Leaves = Annotated[int, Meta(ge=0, lt=1 << 53)]


class _EcMembers(msgspec.Struct, frozen=True, tag_field="kty", tag="EC", rename="camel"):
    """What is read of an EC key (RFC 7518, section 6.2); other members are ignored, as RFC 7517 has it."""

    kid: _KeyId
    crv: Literal["P-256"]
    x: _Coordinate
    y: _Coordinate
    alg: Literal["ES256"] = "ES256"
    use: Literal["sig"] = "sig"
    retired_at: _Moment | None = None
    until: dict[_Origin, _Leaves] = {}


class _OkpMembers(msgspec.Struct, frozen=True, tag_field="kty", tag="OKP", rename="camel"):
    """What is read of an OKP key (RFC 8037, section 2)."""

    kid: _KeyId
    crv: Literal["Ed25519"]
    x: _Coordinate
    alg: Literal["Ed25519"] = "Ed25519"
    use: Literal["sig"] = "sig"
    retired_at: _Moment | None = None
    until: dict[_Origin, _Leaves] = {}


class _KeySet(msgspec.Struct, frozen=True):
    keys: Annotated[list[dict[str, Any]], Meta(max_length=1_000)]


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A verification key; the key decides the algorithm, never what it signed. Retired: no later signature.

    `until`: of the logs that are named, no tree above so many leaves.
    """

    kid: str
    algorithm: Algorithm
    jwk: Jwk = field(repr=False, compare=False)
    retired_at_micros: int | None = None
    until: tuple[tuple[str, int], ...] = ()

    def members(self) -> dict[str, Any]:
        """The key as a JWK."""
        jwk: dict[str, Any] = {name: str(value) for name, value in self.jwk.as_dict(private=False).items()}
        jwk |= {"kid": self.kid, "alg": self.algorithm, "use": "sig"}
        if self.retired_at_micros is not None:
            jwk["retiredAt"] = clock.to_iso(self.retired_at_micros)
        if self.until:
            jwk["until"] = dict(self.until)
        return jwk


def parse_jwk(members: object) -> PublicKey:
    """The verification key in a JWK. Raises `InvalidInput` unless it is an ES256 or Ed25519 public key."""
    try:
        known = msgspec.convert(members, _EcMembers | _OkpMembers)
        jwk: Jwk
        if isinstance(known, _EcMembers):
            jwk = ECKey.import_key({"kty": "EC", "crv": known.crv, "x": known.x, "y": known.y})
        else:
            jwk = OKPKey.import_key({"kty": "OKP", "crv": known.crv, "x": known.x})
    except (msgspec.ValidationError, JoseError, binascii.Error, ValueError) as error:
        raise InvalidInput(f"not an ES256 or Ed25519 public key: {error}") from error
    retired_at = None if known.retired_at is None else clock.to_micros(known.retired_at)
    return PublicKey(known.kid, known.alg, jwk, retired_at, tuple(sorted(known.until.items())))


def jwks_document(current: Iterable[PublicKey], retired: Iterable[PublicKey] = ()) -> dict[str, Any]:
    """The JWK Set of current and retired keys; a key in both is current."""
    by_id = {key.kid: key for key in retired} | {key.kid: key for key in current}
    return {"keys": [key.members() for key in by_id.values()]}


def parse_jwks(document: object) -> Mapping[str, PublicKey]:
    """The verification keys of a JWK Set, by key id. Keys of other kinds are ignored (RFC 7517, section 5).

    Raises `InvalidInput` for what is no key set, and for two keys with one id.
    """
    try:
        entries = msgspec.convert(document, _KeySet).keys
    except msgspec.ValidationError as error:
        raise InvalidInput(f"not a JWK Set: {error}") from error
    keys: dict[str, PublicKey] = {}
    for entry in entries:
        try:
            key = parse_jwk(entry)
        except InvalidInput:
            continue
        if key.kid in keys:
            raise InvalidInput(f"not a JWK Set: two keys have the id {key.kid!r}")
        keys[key.kid] = key
    return keys
