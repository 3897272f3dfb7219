"""Reports and tokens under fuzzing: what was signed verifies, no changed byte does, no other error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OKPKey

from pactstream import canonical, clock
from pactstream.signing.jwks import jwks_document
from pactstream.signing.keys import SigningKey
from pactstream.signing.report import ReportError, sign_jwt, sign_report, verify_jwt, verify_report

NOW = 1_778_666_400_000_000
_EC, _OKP = ECKey.generate_key("P-256"), OKPKey.generate_key("Ed25519")
KEYS = (
    SigningKey("report", "ES256", _EC.thumbprint(), _EC),
    SigningKey("report", "Ed25519", _OKP.thumbprint(), _OKP),
)
JWKS = jwks_document([key.public for key in KEYS])
REPORT: dict[str, Any] = {
    "reportId": "0196d2a4-5f3e-7b1c-8a90-3c5d7e9f1b20",
    "issuer": "https://trust.example",
    "agentId": "agent",
    "issuedAt": clock.to_iso(NOW),
    "expiresAt": clock.to_iso(NOW + 60_000_000),
}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
CLAIMS = st.dictionaries(
    TEXT.filter(lambda name: name not in {*REPORT, "signatures", "jti", "iss", "sub", "iat", "exp"}),
    st.recursive(
        st.none()
        | st.booleans()
        | TEXT
        | st.integers(-canonical.MAX_SAFE_INTEGER, canonical.MAX_SAFE_INTEGER)
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)
SIGNED = json.dumps(sign_report(REPORT, KEYS)).encode()
TOKEN = sign_jwt(REPORT, KEYS[0])


def verify(report: bytes | dict[str, Any]) -> dict[str, Any]:
    return verify_report(report, JWKS, issuer="https://trust.example", now_micros=NOW)


def verify_token(token: str) -> dict[str, Any]:
    return verify_jwt(token, JWKS, issuer="https://trust.example", now_micros=NOW)


@given(CLAIMS)
def test_any_claims_verify_after_a_journey_as_json(claims: dict[str, Any]) -> None:
    report = REPORT | claims
    signed = sign_report(report, KEYS)
    assert verify(json.dumps(signed).encode()) == report
    # Another implementation may write numbers as RFC 8785 does: a large float then looks like an integer.
    assert verify(canonical.dumps(signed)) == report
    assert verify(json.loads(canonical.dumps(signed))) == report
    for key in KEYS:
        assert verify_token(sign_jwt(report, key)) == report


@given(st.integers(0, len(SIGNED) - 1), st.integers(0, 255))
def test_a_changed_byte_never_changes_what_is_accepted(at: int, value: int) -> None:
    """White space and escapes may change; a member, a value or a signature may not."""
    mutated = SIGNED[:at] + bytes([value]) + SIGNED[at + 1 :]
    try:
        assert verify(mutated) == REPORT
    except ReportError:
        assert mutated != SIGNED


@given(st.integers(0, len(TOKEN) - 1), st.characters())
def test_every_changed_character_of_a_token_is_noticed(at: int, character: str) -> None:
    mutated = TOKEN[:at] + character + TOKEN[at + 1 :]
    if mutated != TOKEN:
        with pytest.raises(ReportError):
            verify_token(mutated)


@given(st.binary() | CLAIMS.map(lambda claims: json.dumps({**REPORT, **claims, "signatures": []}).encode()))
def test_garbage_raises_only_our_error(data: bytes) -> None:
    with pytest.raises(ReportError):
        verify(data)
    with pytest.raises(ReportError):
        verify_token(data.decode(errors="surrogateescape"))
