"""Compact JWS (RFC 7515) of our own kinds: each kind has its `typ`, so that none passes for another."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.util import urlsafe_b64decode
from msgspec import Meta

from pactstream.errors import InvalidInput
from pactstream.signing.jwks import PublicKey
from pactstream.signing.keys import SigningKey

_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)


class _Header(msgspec.Struct, frozen=True):
    """What is read of the protected header; the key decides the algorithm."""

    kid: Annotated[str, Meta(min_length=1, max_length=128)]
    alg: Literal["ES256", "Ed25519"]
    typ: str


_decode_header = msgspec.json.Decoder(_Header).decode


def sign(payload: bytes, key: SigningKey, typ: str) -> str:
    """The payload as a compact JWS by this key."""
    header = {"alg": key.algorithm, "kid": key.kid, "typ": typ}
    return jws.serialize_compact(header, payload, key.jwk, algorithms=[key.algorithm])


def payload_of(compact: str, *, max_chars: int) -> bytes:
    """The payload, its signature unchecked. Raises `InvalidInput` unless it is a compact JWS."""
    return _part(compact, 1, max_chars)


def verify(
    compact: str, keys: Mapping[str, PublicKey], *, typ: str, what: str, max_chars: int
) -> tuple[bytes, PublicKey]:
    """The payload of a JWS of this type, and the one of these keys (by key id) that signed it.

    `what` is what messages call it. Whether the key was retired by then is the caller's to check.

    Raises:
        InvalidInput: malformed, of another type, or signed by none of them.
    """
    try:
        header = _decode_header(_part(compact, 0, max_chars))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"not {what}: {error}") from error
    if header.typ != typ:
        raise InvalidInput(f"not {what}: its type is not {typ}")
    key = keys.get(header.kid)
    if key is None or key.algorithm != header.alg:
        raise InvalidInput(f"{what} is signed by no key of its issuer")
    try:
        jws.deserialize_compact(compact, key.jwk, algorithms=[key.algorithm])
    except (JoseError, ValueError) as error:
        raise InvalidInput(f"the signature of {what} does not hold") from error
    return payload_of(compact, max_chars=max_chars), key


def _part(compact: str, number: int, max_chars: int) -> bytes:
    if len(compact) > max_chars or not _COMPACT.fullmatch(compact):
        raise InvalidInput("not a compact JWS")
    try:
        return urlsafe_b64decode(compact.split(".")[number].encode())
    except ValueError as error:  # binascii.Error is one
        raise InvalidInput("not a compact JWS") from error
