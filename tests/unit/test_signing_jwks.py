"""JWK Sets: what is published, what is read, what is ignored."""

from __future__ import annotations

from typing import Any

import pytest
from joserfc.jwk import ECKey, OKPKey

from pactstream.errors import InvalidInput
from pactstream.signing.jwks import jwks_document, parse_jwk, parse_jwks

EC: dict[str, Any] = {**ECKey.generate_key("P-256").as_dict(private=False), "kid": "ec"}
OKP: dict[str, Any] = {**OKPKey.generate_key("Ed25519").as_dict(private=False), "kid": "okp"}


def without(members: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in members.items() if key != name}


def test_a_key_comes_back_as_it_was_published() -> None:
    for members, algorithm in ((EC, "ES256"), (OKP, "Ed25519")):
        key = parse_jwk(members)
        assert key.algorithm == algorithm
        assert key.members() == {**members, "alg": algorithm, "use": "sig"}
        assert parse_jwk(key.members()) == key


def test_retirement_is_published_in_utc() -> None:
    key = parse_jwk({**OKP, "retiredAt": "2026-05-13T12:00:00+02:00"})
    assert key.members()["retiredAt"] == "2026-05-13T10:00:00.000000Z"


def test_a_key_in_use_is_not_shown_as_retired() -> None:
    key, gone = parse_jwk(OKP), parse_jwk({**OKP, "retiredAt": "2026-05-13T10:00:00Z"})
    assert jwks_document([key], [gone]) == {"keys": [key.members()]}
    assert jwks_document([], [gone]) == {"keys": [gone.members()]}


def test_other_members_are_ignored() -> None:
    assert parse_jwk({**EC, "x5t": "…", "key_ops": ["verify"]}) == parse_jwk(EC)


@pytest.mark.parametrize(
    "members",
    [
        None,
        [],
        "key",
        {},
        without(EC, "kty"),
        without(EC, "kid"),
        without(EC, "y"),
        without(OKP, "x"),
        {**EC, "kid": ""},
        {**EC, "kid": 5},
        {**EC, "crv": "P-384"},
        {**OKP, "crv": "X25519"},
        {**OKP, "kty": "EC"},
        {**OKP, "kty": "RSA"},
        {**OKP, "alg": "ES256"},
        {**OKP, "alg": "EdDSA"},
        {**OKP, "use": "enc"},
        {**OKP, "x": "short"},
        {**OKP, "x": "A" * 42 + "B"},
        {**EC, "x": "A" * 43, "y": "A" * 43},
        {**OKP, "retiredAt": "2026-05-13"},
        {**OKP, "retiredAt": "2026-05-13T10:00:00"},
    ],
)
def test_what_is_no_verification_key_is_refused_alone_and_ignored_in_a_set(members: Any) -> None:
    with pytest.raises(InvalidInput, match="not an ES256 or Ed25519 public key"):
        parse_jwk(members)
    if isinstance(members, dict):
        assert set(parse_jwks({"keys": [members, EC]})) == {"ec"}


@pytest.mark.parametrize("document", [None, [], {}, {"keys": None}, {"keys": [1]}, {"keys": [{}] * 1_001}])
def test_what_is_no_key_set_is_refused(document: Any) -> None:
    with pytest.raises(InvalidInput, match="not a JWK Set"):
        parse_jwks(document)


def test_two_keys_of_one_id_are_refused() -> None:
    with pytest.raises(InvalidInput, match="two keys have the id 'okp'"):
        parse_jwks({"keys": [OKP, {**EC, "kid": "okp"}]})
