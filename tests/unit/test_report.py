"""Signed trust reports and tokens: what verifies, and the reason why everything else does not."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey

from pactstream import canonical, clock
from pactstream.signing import report as reports
from pactstream.signing.jwks import jwks_document, parse_jwk
from pactstream.signing.keys import SigningKey
from pactstream.signing.report import ReportError, sign_jwt, sign_report, verify_jwt, verify_report

ISSUER = "https://trust.example"
NOW = 1_778_666_400_500_000
SECOND = clock.MICROS_PER_SECOND


def signing_key(jwk: ECKey | OKPKey) -> SigningKey:
    return SigningKey("report", "ES256" if isinstance(jwk, ECKey) else "Ed25519", jwk.thumbprint(), jwk)


ES256 = signing_key(ECKey.generate_key("P-256"))
ED25519 = signing_key(OKPKey.generate_key("Ed25519"))
STRANGER = signing_key(ECKey.generate_key("P-256"))
JWKS = jwks_document([ES256.public, ED25519.public])
REPORT: dict[str, Any] = {
    "reportId": "0196d2a4-5f3e-7b1c-8a90-3c5d7e9f1b20",
    "issuer": ISSUER,
    "agentId": "76cf31d6-ffe3-4a5c-8748-021114aa8066",
    "issuedAt": clock.to_iso(NOW),
    "expiresAt": clock.to_iso(NOW + 300 * SECOND),
    "score": 0.96,
    "pactCompliance": {"valid": 24, "bound": 25},
    "note": "é\u2028\U0001f600",
}
SIGNED = sign_report(REPORT, [ES256, ED25519])
TOKEN = sign_jwt(REPORT, ES256)


def verify(report: Any, *, jwks: Any = JWKS, issuer: str = ISSUER, now: int = NOW) -> dict[str, Any]:
    return verify_report(report, jwks, issuer=issuer, now_micros=now)


def verify_token(token: str, *, jwks: Any = JWKS, issuer: str = ISSUER, now: int = NOW) -> dict[str, Any]:
    return verify_jwt(token, jwks, issuer=issuer, now_micros=now)


def b64(data: bytes | dict[str, Any]) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def header_of(entry: dict[str, str]) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(entry["protected"] + "=="))
    return decoded


def test_a_report_verifies_as_text_and_as_object() -> None:
    assert verify(SIGNED) == REPORT
    assert verify(json.dumps(SIGNED).encode()) == REPORT
    assert verify(json.dumps(SIGNED, indent=2, sort_keys=True, ensure_ascii=False).encode()) == REPORT
    assert [header_of(one) for one in SIGNED["signatures"]] == [
        {"alg": "ES256", "kid": ES256.kid, "typ": "JOSE"},
        {"alg": "Ed25519", "kid": ED25519.kid, "typ": "JOSE"},
    ]


def test_the_payload_of_a_signature_is_the_canonical_report() -> None:
    payload = b64(canonical.dumps(REPORT))
    for entry, key in zip(SIGNED["signatures"], (ES256, ED25519), strict=True):
        token = f"{entry['protected']}.{payload}.{entry['signature']}"
        jws.deserialize_compact(token, key.jwk, algorithms=[key.algorithm])


def test_one_known_key_is_enough() -> None:
    for key in (ES256, ED25519):
        assert verify(SIGNED, jwks=jwks_document([key.public])) == REPORT


def test_a_token_carries_the_same_claims() -> None:
    assert verify_token(TOKEN) == REPORT
    assert verify_token(sign_jwt(REPORT, ED25519)) == REPORT
    claims = json.loads(base64.urlsafe_b64decode(TOKEN.split(".")[1] + "=="))
    assert claims == REPORT | {
        "jti": REPORT["reportId"],
        "iss": ISSUER,
        "sub": REPORT["agentId"],
        "iat": NOW // SECOND,
        "exp": NOW // SECOND + 300,
    }
    assert json.loads(base64.urlsafe_b64decode(TOKEN.split(".")[0] + "=="))["typ"] == "JWT"


@pytest.mark.parametrize(
    ("member", "value"),
    [("score", 0.97), ("agentId", "other"), ("expiresAt", clock.to_iso(NOW + 9 * 10**8)), ("extra", None)],
)
def test_a_changed_claim_is_refused(member: str, value: Any) -> None:
    with pytest.raises(ReportError, match=f"signature by key {ES256.kid} is bad"):
        verify({**SIGNED, member: value})


def test_a_removed_claim_is_refused() -> None:
    report = dict(SIGNED)
    del report["score"]
    with pytest.raises(ReportError, match="is bad"):
        verify(report)


Mutation = Callable[[dict[str, str]], dict[str, str]]


def _flip(entry: dict[str, str]) -> dict[str, str]:
    first = "A" if entry["signature"][0] != "A" else "B"
    return {**entry, "signature": first + entry["signature"][1:]}


def _empty(entry: dict[str, str]) -> dict[str, str]:
    return {**entry, "signature": ""}


def _junk(entry: dict[str, str]) -> dict[str, str]:
    return {**entry, "signature": "é!"}


def _padded(entry: dict[str, str]) -> dict[str, str]:
    return {**entry, "signature": entry["signature"] + "=="}


def _long(entry: dict[str, str]) -> dict[str, str]:
    return {**entry, "signature": "A" * 2_000}


@pytest.mark.parametrize("mutate", [_flip, _empty, _junk, _padded, _long])
@pytest.mark.parametrize("which", [0, 1])
def test_one_bad_signature_among_good_ones_refuses_the_report(which: int, mutate: Mutation) -> None:
    signatures = list(SIGNED["signatures"])
    signatures[which] = mutate(signatures[which])
    kid = (ES256, ED25519)[which].kid
    with pytest.raises(ReportError, match=f"the signature by key {kid} is bad"):
        verify({**SIGNED, "signatures": signatures})


def test_unknown_keys_are_ignored_but_never_enough() -> None:
    signed = sign_report(REPORT, [STRANGER, ES256])
    assert verify(signed) == REPORT
    with pytest.raises(ReportError, match="no signature is by a key of the key set"):
        verify(sign_report(REPORT, [STRANGER]))
    with pytest.raises(ReportError, match="not signed by a key of the key set"):
        verify_token(sign_jwt(REPORT, STRANGER))
    with pytest.raises(ReportError, match="no signature is by a key"):
        verify(SIGNED, jwks={"keys": []})


def signed_with_header(header: dict[str, Any], key: SigningKey = ES256) -> dict[str, Any]:
    """A report whose signature is good, under a header of an attacker's choice."""
    payload = b64(canonical.dumps(REPORT))
    message = f"{b64(header)}.{payload}".encode()
    signature = jws.JWSRegistry.algorithms[key.algorithm].sign(message, key.jwk)
    return {**REPORT, "signatures": [{"protected": b64(header), "signature": b64(signature)}]}


def test_the_key_decides_the_algorithm() -> None:
    good = {"alg": "ES256", "kid": ES256.kid, "typ": "JOSE"}
    assert verify(signed_with_header(good)) == REPORT
    for name in ("none", "HS256", "Ed25519", "EdDSA", "ES384", "RS256", ""):
        with pytest.raises(ReportError, match=f"names '{name}', but its key is for ES256"):
            verify(signed_with_header({**good, "alg": name}))


def test_a_public_key_is_no_shared_secret() -> None:
    """The classic confusion: HS256 with the public key's bytes as the secret."""
    pem = ES256.jwk.as_pem(private=False)
    header = {"alg": "HS256", "kid": ES256.kid, "typ": "JWT"}
    message = f"{b64(header)}.{b64(canonical.dumps(REPORT))}"
    token = f"{message}.{b64(hmac.digest(pem, message.encode(), 'sha256'))}"
    with pytest.raises(ReportError, match="names 'HS256', but its key is for ES256"):
        verify_token(token)
    unsigned = f"{b64({**header, 'alg': 'none'})}.{b64(canonical.dumps(REPORT))}."
    with pytest.raises(ReportError, match="names 'none', but its key is for ES256"):
        verify_token(unsigned)


@pytest.mark.parametrize(
    "extra",
    [
        {"crit": ["exp"]},
        {"crit": []},
        {"b64": False, "crit": ["b64"]},
        {"jwk": dict(STRANGER.public.members())},
        {"jku": "https://attacker.example/keys"},
        {"x5u": "https://attacker.example/cert"},
    ],
)
def test_headers_that_would_steer_the_verifier_are_refused(extra: dict[str, Any]) -> None:
    header = {"alg": "ES256", "kid": ES256.kid, "typ": "JOSE", **extra}
    with pytest.raises(ReportError, match=r"protected header is refused: .*unknown field"):
        verify(signed_with_header(header))


@pytest.mark.parametrize(
    "protected",
    ["", "é", "!!", "e30=", b64(b"null"), b64(b"[]"), b64(b"{}"), b64(b"\xff"), b64({"alg": "ES256"}), "a.b"],
)
def test_a_malformed_header_is_refused(protected: str) -> None:
    signature = SIGNED["signatures"][0]["signature"]
    with pytest.raises(ReportError):
        verify({**REPORT, "signatures": [{"protected": protected, "signature": signature}]})


def test_report_and_token_are_not_interchangeable() -> None:
    header, payload, signature = TOKEN.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    with pytest.raises(ReportError, match="for a 'JWT', not a 'JOSE'"):
        verify({**claims, "signatures": [{"protected": header, "signature": signature}]})
    entry = SIGNED["signatures"][0]
    token = f"{entry['protected']}.{b64(canonical.dumps(REPORT))}.{entry['signature']}"
    with pytest.raises(ReportError, match="for a 'JOSE', not a 'JWT'"):
        verify_token(token)


def test_the_issuer_is_pinned() -> None:
    with pytest.raises(ReportError, match=r"the report is by 'https://trust\.example', not by 'https://other'"):
        verify(SIGNED, issuer="https://other")
    with pytest.raises(ReportError, match=r"the report is by 'https://trust\.example', not by 'x'"):
        verify_token(TOKEN, issuer="x")


def test_a_report_is_in_force_from_issue_to_expiry() -> None:
    expiry = NOW + 300 * SECOND
    checks: list[Callable[[int], dict[str, Any]]] = [
        lambda now: verify(SIGNED, now=now),
        lambda now: verify_token(TOKEN, now=now),
    ]
    for check in checks:
        assert check(expiry - 1) == REPORT
        assert check(NOW - 60 * SECOND) == REPORT
        with pytest.raises(ReportError, match=r"expired 2026-05-13T10:05:00\.500000Z"):
            check(expiry)
        with pytest.raises(ReportError, match=r"not yet valid: issued 2026-05-13T10:00:00\.500000Z"):
            check(NOW - 60 * SECOND - 1)


def test_a_life_beyond_a_day_is_refused() -> None:
    day = 86_400 * SECOND
    assert verify(sign_report({**REPORT, "expiresAt": clock.to_iso(NOW + day)}, [ES256]))
    with pytest.raises(ReportError, match="too long a life"):
        verify(sign_report({**REPORT, "expiresAt": clock.to_iso(NOW + day + 1)}, [ES256]))


def test_a_retired_key_signs_nothing_after_its_retirement() -> None:
    def retired(at: int) -> dict[str, Any]:
        return jwks_document([], [parse_jwk({**ES256.public.members(), "retiredAt": clock.to_iso(at)})])

    assert verify(SIGNED, jwks=retired(NOW)) == REPORT
    assert verify_token(TOKEN, jwks=retired(NOW)) == REPORT
    with pytest.raises(ReportError, match="was retired before the report was issued"):
        verify(SIGNED, jwks=retired(NOW - 1))
    with pytest.raises(ReportError, match="was retired before the report was issued"):
        verify_token(TOKEN, jwks=retired(NOW - 1))


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": None},
        {"issuer": ""},
        {"agentId": 7},
        {"issuedAt": "yesterday"},
        {"issuedAt": "2026-05-13T10:00:00"},
        {"expiresAt": 1_778_666_400},
    ],
)
def test_malformed_claims_are_neither_signed_nor_accepted(changes: dict[str, Any]) -> None:
    report = {**REPORT, **changes}
    with pytest.raises(ReportError, match="claims are malformed"):
        sign_report(report, [ES256])
    with pytest.raises(ReportError, match="claims are malformed"):
        sign_jwt(report, ES256)
    header = {"alg": "ES256", "kid": ES256.kid, "typ": "JOSE"}
    token = jws.serialize_compact(header, canonical.dumps(report), ES256.jwk, algorithms=["ES256"])
    protected, _, signature = token.split(".")
    with pytest.raises(ReportError, match="claims are malformed"):
        verify({**report, "signatures": [{"protected": protected, "signature": signature}]})


def test_what_cannot_be_canonical_is_not_signed() -> None:
    for value in (float("nan"), 2**53, "\ud800"):
        with pytest.raises(ReportError, match="cannot be signed"):
            sign_report({**REPORT, "extra": value}, [ES256])
    with pytest.raises(ReportError, match="at most 90000 bytes"):
        sign_report({**REPORT, "extra": "x" * 90_000}, [ES256])
    with pytest.raises(ReportError, match="signed already"):
        sign_report(SIGNED, [ES256])


def test_the_largest_report_verifies() -> None:
    filler = "x" * (reports.MAX_REPORT_BYTES - len(canonical.dumps({**REPORT, "extra": ""})))
    largest = {**REPORT, "extra": filler}
    assert verify(sign_report(largest, [ES256])) == largest


def test_a_token_too_large_to_verify_is_not_made() -> None:
    filler = "x" * (reports.MAX_REPORT_BYTES - len(canonical.dumps({**REPORT, "extra": ""})))
    with pytest.raises(ReportError, match="at most 90000 bytes"):
        sign_jwt({**REPORT, "extra": filler}, ES256)


@pytest.mark.parametrize(
    "signatures", [None, [], "x", {}, [1], [{}], [{"protected": "a"}], [SIGNED["signatures"][0]] * 17]
)
def test_malformed_signatures_are_refused(signatures: Any) -> None:
    with pytest.raises(ReportError, match=r"signatures"):
        verify({**REPORT, "signatures": signatures})


def test_a_report_without_signatures_is_refused() -> None:
    with pytest.raises(ReportError, match="signatures are malformed"):
        verify(REPORT)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"1", b'{"a":1,"a":1}', b"\xff", b"[" * 9_999])
def test_what_is_no_object_is_refused(data: bytes) -> None:
    with pytest.raises(ReportError):
        verify(data)


def test_a_number_that_rounds_is_compared_as_rfc_8785_has_it() -> None:
    """0.96 and 0.96000000000000000001 are one double, so one report."""
    text = json.dumps(SIGNED).replace("0.96", "0.96000000000000000001").encode()
    assert verify(text) == REPORT


def test_an_object_nested_without_end_is_refused() -> None:
    nested: dict[str, Any] = {}
    for _ in range(100_000):
        nested = {"n": nested}
    with pytest.raises(ReportError, match="nested too deeply"):
        verify({**SIGNED, "extra": nested})


@pytest.mark.parametrize("jwks", [None, [], {"keys": 5}])
def test_a_malformed_key_set_is_refused(jwks: Any) -> None:
    with pytest.raises(ReportError, match="not a JWK Set"):
        verify(SIGNED, jwks=jwks)
    with pytest.raises(ReportError, match="not a JWK Set"):
        verify_token(TOKEN, jwks=jwks)


@pytest.mark.parametrize(
    "token", ["", ".", "..", "a.b.c", "é.é.é", TOKEN + ".x", TOKEN + "=", TOKEN[:-1], "." + TOKEN]
)
def test_a_malformed_token_is_refused(token: str) -> None:
    with pytest.raises(ReportError):
        verify_token(token)


@pytest.mark.parametrize("claim", ["iss", "sub", "iat", "exp"])
@pytest.mark.parametrize("change", ["drop", "alter"])
def test_registered_claims_must_agree_with_the_report(claim: str, change: str) -> None:
    claims = json.loads(base64.urlsafe_b64decode(TOKEN.split(".")[1] + "=="))
    if change == "drop":
        del claims[claim]
    else:
        claims[claim] = 1
    header = {"alg": "ES256", "kid": ES256.kid, "typ": "JWT"}
    token = jws.serialize_compact(header, json.dumps(claims).encode(), ES256.jwk, algorithms=["ES256"])
    with pytest.raises(ReportError, match=f"claim '{claim}' disagrees"):
        verify_token(token)


def test_a_token_must_hold_an_object() -> None:
    header = {"alg": "ES256", "kid": ES256.kid, "typ": "JWT"}
    for payload, reason in ((b"[]", "not a JSON object"), (b"{", "malformed")):
        token = jws.serialize_compact(header, payload, ES256.jwk, algorithms=["ES256"])
        with pytest.raises(ReportError, match=reason):
            verify_token(token)
