"""What a mirror says of a report that it serves: that it had these bytes from the oracle, and when.

A JWT (RFC 7519) in the header `Pactstream-Mirror` beside the report, which stays as its issuer signed it. It is
signed with ES256, which every JOSE library knows. Claims: `iss` the mirror's name, `sub` the agent, `iat` when
the mirror had the report from the oracle, `exp` the end of the report's life, rounded up, `sha256` of the body.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from pactstream.errors import InvalidInput
from pactstream.signing import compact
from pactstream.signing.jwks import parse_jwks
from pactstream.signing.keys import SigningKey

HEADER: Final = "Pactstream-Mirror"
MAX_CHARS: Final = 2_048

_TYPE: Final = "pactstream-mirror+jwt"
_Seconds = Annotated[int, Meta(ge=0, le=2**40)]


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The claims; times are seconds since 1970."""

    iss: str
    sub: str
    iat: _Seconds
    exp: _Seconds
    sha256: str


def sign(body: bytes, key: SigningKey, *, mirror: str, agent_id: str, seconds: int, expires: int) -> str:
    """The statement about a report's body as a compact JWT; `key` is an ES256 key."""
    said = Statement(mirror, agent_id, seconds, expires, sha256(body).hexdigest())
    return compact.sign(msgspec.json.encode(said), key, _TYPE)


def verify(statement: str, body: bytes, jwks: object, *, mirror: str, now_micros: int) -> Statement:
    """What a mirror whose key set you keep says of this body.

    Raises:
        InvalidInput: malformed, by another mirror or key, about another body, or past its end.
    """
    payload, _ = compact.verify(
        statement, parse_jwks(jwks), typ=_TYPE, what="the mirror's statement", max_chars=MAX_CHARS
    )
    try:
        said = msgspec.json.decode(payload, type=Statement)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"the mirror's statement is malformed: {error}") from error
    if said.iss != mirror:
        raise InvalidInput(f"the statement is by the mirror {said.iss!r}")
    if said.sha256 != sha256(body).hexdigest():
        raise InvalidInput("the mirror's statement is about another report")
    if said.exp * 1_000_000 <= now_micros:
        raise InvalidInput("the mirror's statement has expired")
    return said
