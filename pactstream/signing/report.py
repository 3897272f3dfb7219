"""Signed trust reports: a JSON object with `signatures`, and the same claims as a compact JWT.

The payload of each signature is the RFC 8785 form of the report without `signatures`, as A2A agent cards have
it; the JWS (RFC 7515) is detached: its payload is rebuilt by the verifier. Reports carry two signatures:
ES256, which every JOSE library knows, and Ed25519 under its own name of RFC 9864 ("EdDSA" is deprecated there).
The key decides the algorithm, never the header; a verifier names the issuer that it expects.

A report has `reportId`, `issuer`, `agentId`, `issuedAt` and `expiresAt` (RFC 3339); other members are free.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.util import urlsafe_b64decode, urlsafe_b64encode
from msgspec import Meta

from pactstream import canonical, clock
from pactstream.errors import InvalidInput
from pactstream.signing.jwks import PublicKey, parse_jwks
from pactstream.signing.keys import SigningKey

MAX_REPORT_BYTES = 90_000
"""Of the canonical form; joserfc takes payloads of 128,000 base64 characters."""
MAX_LIFETIME_SECONDS = 86_400
"""A report that claims to be valid for longer is refused: a stolen retired key is soon worth nothing."""
CLOCK_SKEW_SECONDS = 60
"""How far in the verifier's future a report may have been issued."""

_MAX_SIGNATURES = 16
_REPORT_TYPE = "JOSE"
_JWT_TYPE = "JWT"
_SIGNATURES = "signatures"
_Moment = Annotated[datetime, Meta(tz=True)]


class ReportError(InvalidInput):
    """A report or token that must not be trusted, and why."""


class ReportMalformed(ReportError):
    """It, or the key set, has not the form that it should have."""


class ReportSignatureError(ReportError):
    """A signature is bad, by an unknown or retired key, or by another algorithm than its key's."""


class ReportIssuerError(ReportError):
    """Somebody else issued it."""


class ReportExpired(ReportError):
    """It is not in force: expired, not yet valid, or valid for too long to be believed."""


class _Claims(msgspec.Struct, frozen=True, rename="camel"):
    report_id: Annotated[str, Meta(min_length=1, max_length=128)]
    issuer: Annotated[str, Meta(min_length=1)]
    agent_id: Annotated[str, Meta(min_length=1)]
    issued_at: _Moment
    expires_at: _Moment

    def registered(self) -> dict[str, str | int]:
        """The registered claims of RFC 7519, section 4.1; whole seconds, rounded down."""
        return {
            "jti": self.report_id,
            "iss": self.issuer,
            "sub": self.agent_id,
            "iat": clock.to_micros(self.issued_at) // clock.MICROS_PER_SECOND,
            "exp": clock.to_micros(self.expires_at) // clock.MICROS_PER_SECOND,
        }


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A protected header. Nothing else may stand in it: no `crit`, no `b64`, no key of the signer's own."""

    alg: str
    kid: str
    typ: str


class _Signature(msgspec.Struct, frozen=True):
    protected: str
    signature: str


def sign_report(report: Mapping[str, Any], keys: Sequence[SigningKey]) -> dict[str, Any]:
    """The report with one signature by each key. Raises `ReportError` when a claim is missing or malformed."""
    payload = _payload(report)
    _claims(report)
    signatures = []
    for key in keys:
        protected, _, signature = _sign(payload, key, _REPORT_TYPE).split(".")
        signatures.append({"protected": protected, "signature": signature})
    return {**report, _SIGNATURES: signatures}


def verify_report(
    report: bytes | Mapping[str, Any], jwks: object, *, issuer: str, now_micros: int
) -> dict[str, Any]:
    """The report without its signatures, if it is `issuer`'s, in force, and every known key's signature holds.

    `report` is the JSON text or the decoded object, `jwks` the decoded JWK Set that the verifier trusts.
    Raises `ReportError` with the reason.
    """
    document = _parse_object(report) if isinstance(report, bytes) else _normalised(report)
    try:
        signatures = msgspec.convert(document.pop(_SIGNATURES, None), list[_Signature])
    except msgspec.ValidationError as error:
        raise ReportMalformed(f"the report's signatures are malformed: {error}") from error
    if not 0 < len(signatures) <= _MAX_SIGNATURES:
        raise ReportMalformed(f"a report has 1 to {_MAX_SIGNATURES} signatures")
    payload = urlsafe_b64encode(_payload(document)).decode()
    keys = _keys(jwks)
    signers = []
    for one in signatures:
        key = _verify(f"{one.protected}.{payload}.{one.signature}", keys, _REPORT_TYPE)
        if key is not None:  # a signature by a key unknown to us says nothing, for or against
            signers.append(key)
    if not signers:
        raise ReportSignatureError("no signature is by a key of the key set")
    _check_claims(_claims(document), signers, issuer, now_micros)
    return document


def sign_jwt(report: Mapping[str, Any], key: SigningKey) -> str:
    """The report's members and `jti`, `iss`, `sub`, `iat`, `exp` as a compact JWT. Raises `ReportError`."""
    return _sign(_payload({**report, **_claims(report).registered()}), key, _JWT_TYPE)


def verify_jwt(token: str, jwks: object, *, issuer: str, now_micros: int) -> dict[str, Any]:
    """The report in a compact JWT, under the same conditions as `verify_report`. Raises `ReportError`."""
    key = _verify(token, _keys(jwks), _JWT_TYPE)
    if key is None:
        raise ReportSignatureError("the token is not signed by a key of the key set")
    document = _parse_object(_decode(token.split(".")[1], "payload"))
    claims = _claims(document)
    for name, value in claims.registered().items():
        if document.pop(name, None) != value:
            raise ReportMalformed(f"the claim {name!r} disagrees with the report")
    _check_claims(claims, [key], issuer, now_micros)
    return document


def _payload(report: Mapping[str, Any]) -> bytes:
    if _SIGNATURES in report:
        raise ReportMalformed("the report is signed already")
    try:
        payload = canonical.dumps(dict(report))
    except InvalidInput as error:
        raise ReportMalformed(f"the report cannot be signed: {error}") from error
    if len(payload) > MAX_REPORT_BYTES:
        raise ReportMalformed(f"a report has at most {MAX_REPORT_BYTES} bytes")
    return payload


def _sign(payload: bytes, key: SigningKey, typ: str) -> str:
    header = {"alg": key.algorithm, "kid": key.kid, "typ": typ}
    return jws.serialize_compact(header, payload, key.jwk, algorithms=[key.algorithm])


def _verify(token: str, keys: Mapping[str, PublicKey], typ: str) -> PublicKey | None:
    """The key whose signature the compact JWS `token` carries; None when the key is unknown."""
    parts = token.split(".")
    if len(parts) != 3:
        raise ReportMalformed("not a compact JWS: it has three parts")
    header = _parse_header(parts[0])
    if header.typ != typ:
        raise ReportSignatureError(f"the signature is for a {header.typ!r}, not a {typ!r}")
    key = keys.get(header.kid)
    if key is None:
        return None
    if header.alg != key.algorithm:
        raise ReportSignatureError(f"the signature names {header.alg!r}, but its key is for {key.algorithm}")
    try:
        jws.deserialize_compact(token, key.jwk, algorithms=[key.algorithm])
    except (JoseError, ValueError) as error:
        raise ReportSignatureError(f"the signature by key {key.kid} is bad") from error
    return key


def _parse_header(encoded: str) -> _Header:
    try:
        return msgspec.json.decode(_decode(encoded, "header"), type=_Header)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ReportMalformed(f"the protected header is refused: {error}") from error


def _decode(encoded: str, what: str) -> bytes:
    try:
        return urlsafe_b64decode(encoded.encode("ascii"))
    except ValueError as error:  # binascii.Error and UnicodeEncodeError are among them
        raise ReportMalformed(f"the {what} is not base64url") from error


def _parse_object(data: bytes) -> dict[str, Any]:
    try:
        document = canonical.parse_json(data)
    except InvalidInput as error:
        raise ReportMalformed(f"the report is malformed: {error}") from error
    if not isinstance(document, dict):
        raise ReportMalformed("the report is not a JSON object")
    return document


def _normalised(report: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with the numbers that its canonical text has, whichever library decoded it."""
    try:
        document: dict[str, Any] = canonical.as_doubles(dict(report))
    except InvalidInput as error:
        raise ReportMalformed(f"the report is malformed: {error}") from error
    return document


def _keys(jwks: object) -> Mapping[str, PublicKey]:
    try:
        return parse_jwks(jwks)
    except InvalidInput as error:
        raise ReportMalformed(str(error)) from error


def _claims(report: Mapping[str, Any]) -> _Claims:
    try:
        return msgspec.convert(report, _Claims)
    except msgspec.ValidationError as error:
        raise ReportMalformed(f"the report's claims are malformed: {error}") from error


def _check_claims(claims: _Claims, signers: Sequence[PublicKey], issuer: str, now_micros: int) -> None:
    if claims.issuer != issuer:
        raise ReportIssuerError(f"the report is by {claims.issuer!r}, not by {issuer!r}")
    issued, expires = clock.to_micros(claims.issued_at), clock.to_micros(claims.expires_at)
    if issued > now_micros + CLOCK_SKEW_SECONDS * clock.MICROS_PER_SECOND:
        raise ReportExpired(f"the report is not yet valid: issued {clock.to_iso(issued)}")
    if expires <= now_micros:
        raise ReportExpired(f"the report expired {clock.to_iso(expires)}")
    if expires - issued > MAX_LIFETIME_SECONDS * clock.MICROS_PER_SECOND:
        raise ReportExpired("the report claims too long a life")
    for key in signers:
        if key.retired_at_micros is not None and issued > key.retired_at_micros:
            raise ReportSignatureError(f"key {key.kid} was retired before the report was issued")
