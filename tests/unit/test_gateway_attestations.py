"""Third parties attest: who may, of whom, and what becomes of it on the way to the ledger."""

from __future__ import annotations

import base64
import json
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey

from pactstream import avro, clock
from pactstream.kafka import topics
from pactstream.scores import attestation, attested
from tests.evaluator_tools import Written, task
from tests.evaluator_tools import record as given
from tests.gateway_tools import ACME, ATLAS, OTHER, STRANGER, TestGateway, make_gateway

AUDITOR = "cccccccc-0000-4000-8000-000000000001"
NOW = 1_800_000_000
URL = "/api/v1/attestations"
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})
EC = ECKey.generate_key("P-256", {"kid": "ec"})
GOOD = {"kind": "accuracy", "correct": 97, "total": 100, "benchmark": "invoices-2026"}


def jwks(*keys: OKPKey | ECKey) -> dict[str, Any]:
    algorithms = {"OKP": "Ed25519", "EC": "ES256"}
    return {"keys": [{**key.as_dict(private=False), "alg": algorithms[key.key_type]} for key in keys]}


def signed(key: OKPKey | ECKey = ED, header: dict[str, Any] | None = None, **changes: Any) -> str:
    payload = {
        "iss": AUDITOR,
        "sub": ATLAS,
        "jti": str(uuid4()),
        "iat": NOW,
        "exp": NOW + 86_400,
        "claim": GOOD,
    }
    algorithm = "ES256" if isinstance(key, ECKey) else "Ed25519"
    protected = {"alg": algorithm, "kid": key.kid, "typ": attestation.JWS_TYPE} | (header or {})
    return jws.serialize_compact(protected, json.dumps(payload | changes), key, algorithms=[algorithm])


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> TestGateway:
    made = make_gateway(monkeypatch)
    monkeypatch.setattr(clock, "now_micros", lambda: NOW * 1_000_000)
    assert register(made).status_code == 201
    return made


def register(gateway: TestGateway, issuer: str = AUDITOR, **changes: Any) -> httpx.Response:
    body = {"name": "Audits", "kinds": ["accuracy", "bond"], "affiliates": [OTHER], "jwks": jwks(ED, EC)}
    return gateway.administer("PUT", f"/api/v1/issuers/{issuer}", json=body | changes)


def post(gateway: TestGateway, compact: str) -> httpx.Response:
    return gateway.send("POST", URL, json={"attestation": compact})


@pytest.mark.parametrize("key", [ED, EC], ids=["Ed25519", "ES256"])
def test_an_attestation_is_an_event_of_the_agent_under_its_issuers_name(
    gateway: TestGateway, key: OKPKey | ECKey
) -> None:
    compact = signed(key)
    answer = post(gateway, compact)
    assert answer.status_code == 202, answer.text
    said = answer.json()
    assert (said["agentId"], said["issuerId"], said["kind"]) == (ATLAS, AUDITOR, "accuracy")
    ((topic, at, value),) = gateway.publisher.records
    assert (topic, at) == (topics.BATCHES, ATLAS.encode())
    batch = avro.decode_as("TelemetryBatch", value)
    assert (batch["tenant_pseudonym"], batch["tenant_id"]) == (AUDITOR, f"issuer/{AUDITOR}")
    (event,) = batch["events"]
    assert (event["type"], event["event_id"], event["attestation"]) == ("attestation", said["eventId"], compact)


def test_it_reaches_the_ledger_as_signed_and_counts_once(gateway: TestGateway) -> None:
    compact = signed()
    first, second = post(gateway, compact).json(), post(gateway, compact).json()
    assert first == second
    evaluator, written = task(), Written()
    for offset, (_, key, value) in enumerate(gateway.publisher.records):
        source = given(offset=offset)
        evaluator.process(type(source)(source.topic, 3, offset, key, value), written)
    (leaf,) = written.leaves()
    assert leaf.attestation == compact
    assert (leaf.type, leaf.tenant, leaf.event_id) == (attested.TYPE, AUDITOR, first["eventId"])
    held: attested.Attested = {}
    attested.take(held, compact, 1)
    attested.take(held, compact, 2)
    assert [one.sequence for one in held.values()] == [1]


def test_a_changed_attestation_is_refused_whatever_was_changed(gateway: TestGateway) -> None:
    header, payload, signature = signed().split(".")
    other_header, other_payload, other_signature = signed(EC, claim=GOOD | {"correct": 100}).split(".")
    forged = [
        (header, other_payload, signature),
        (other_header, payload, signature),
        (header, payload, other_signature),
        (header, payload, "AAAA"),
    ]
    for parts in forged:
        answer = post(gateway, ".".join(parts))
        assert answer.status_code in (400, 422), answer.text
    assert gateway.publisher.records == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": NOW}, "expired"),
        ({"exp": NOW + 400 * 86_400}, "366 days"),
        ({"iat": NOW + 3_600, "exp": NOW + 7_200}, "from the future"),
        ({"iat": -1}, "not an attestation"),
        ({"jti": "one"}, "not an attestation"),
        ({"claim": GOOD | {"correct": 101}}, "more answers are right"),
        ({"claim": {"kind": "accuracy"}}, "not an attestation"),
        ({"claim": {"kind": "charm", "much": 1}}, "not an attestation"),
        ({"claim": GOOD | {"note": "x"}}, "not an attestation"),
        ({"claim": {"kind": "bond", "amount": "1e9", "currency": "USDC", "coverage": 1}}, "not an attestation"),
        ({"claim": {"kind": "bond", "amount": "1", "currency": "USDC", "coverage": 1.5}}, "not an attestation"),
        ({"admin": True}, "not an attestation"),
    ],
)
def test_what_is_no_attestation_in_force_is_refused_and_says_why(
    gateway: TestGateway, changes: dict[str, Any], reason: str
) -> None:
    answer = post(gateway, signed(**changes))
    assert answer.status_code in (400, 422)
    assert reason in answer.json()["error"]
    assert gateway.publisher.records == []


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ({"alg": "ES256"}, ED),
        ({"kid": "ec"}, ED),
        ({"kid": "unknown"}, ED),
        ({"typ": "JWT"}, ED),
        ({}, OKPKey.generate_key("Ed25519", {"kid": "ed"})),
    ],
)
def test_only_the_issuers_own_keys_sign(gateway: TestGateway, header: dict[str, Any], key: OKPKey) -> None:
    compact = signed(key)
    if header:
        protected = {"alg": "Ed25519", "kid": "ed", "typ": attestation.JWS_TYPE} | header
        encoded = base64.urlsafe_b64encode(json.dumps(protected).encode()).rstrip(b"=").decode()
        compact = ".".join([encoded, *compact.split(".")[1:]])
    assert post(gateway, compact).status_code in (400, 422)
    assert gateway.publisher.records == []


def test_who_may_not_attest_is_refused(gateway: TestGateway) -> None:
    refused = [
        (signed(iss=str(uuid4())), 403, "not registered"),
        (
            signed(claim={"kind": "security", "critical": 0, "high": 0, "medium": 0, "low": 0, "scope": "s"}),
            403,
            "security",
        ),
        (signed(sub=str(uuid4())), 404, "no such agent"),
    ]
    for compact, status, reason in refused:
        answer = post(gateway, compact)
        assert (answer.status_code, reason in answer.json()["error"]) == (status, True)
    assert gateway.publisher.records == []


def test_nobody_attests_for_themselves(gateway: TestGateway) -> None:
    # The auditor belongs to the stranger's tenant; the tenant's own id, and the agent's, are no way round it.
    assert register(gateway, issuer=ACME).status_code == 201
    assert register(gateway, issuer=ATLAS).status_code == 201
    for issuer, agent in ((AUDITOR, STRANGER), (ACME, ATLAS), (ATLAS, ATLAS)):
        answer = post(gateway, signed(iss=issuer, sub=agent))
        assert answer.status_code == 403
        assert "for themselves" in answer.json()["error"]
    assert gateway.publisher.records == []


def test_a_revoked_issuer_attests_nothing_and_stays_revoked(gateway: TestGateway) -> None:
    assert gateway.administer("POST", f"/api/v1/issuers/{AUDITOR}/revoke").status_code == 200
    assert register(gateway, name="Audits again").json()["revokedAt"] is not None
    assert post(gateway, signed()).status_code == 403


def test_what_was_attested_can_be_taken_back_whatever_the_kinds(gateway: TestGateway) -> None:
    first = post(gateway, signed()).json()
    back = {"kind": "revocation", "revokes": first["attestationId"]}
    assert post(gateway, signed(claim=back)).json()["kind"] == "revocation"


def test_a_retired_key_signs_nothing_later(gateway: TestGateway) -> None:
    retired = jwks(ED)
    retired["keys"][0]["retiredAt"] = clock.to_iso((NOW - 10) * 1_000_000)
    assert register(gateway, jwks=retired).status_code == 200
    assert post(gateway, signed()).status_code in (400, 422)
    assert post(gateway, signed(iat=NOW - 20)).status_code == 202


def test_issuers_are_registered_by_administrators_and_shown_to_all(gateway: TestGateway) -> None:
    body = {"name": "x", "kinds": ["bond"], "jwks": jwks(ED)}
    assert gateway.ask("PUT", f"/api/v1/issuers/{AUDITOR}", json=body).status_code == 401
    assert gateway.ask("POST", f"/api/v1/issuers/{AUDITOR}/revoke").status_code == 401
    (shown,) = gateway.send("GET", "/api/v1/issuers").json()["issuers"]
    assert shown == gateway.send("GET", f"/api/v1/issuers/{AUDITOR}").json()
    assert {key["kid"] for key in shown["jwks"]["keys"]} == {"ed", "ec"}
    assert "affiliates" not in shown
    assert gateway.send("GET", f"/api/v1/issuers/{uuid4()}").status_code == 404


@pytest.mark.parametrize(
    "changes",
    [
        {"jwks": {"keys": []}},
        {"jwks": {}},
        {"jwks": {"keys": [{"kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB"}]}},
        {"jwks": {"keys": [{**ED.as_dict(private=True), "alg": "Ed25519"}]}},
        {"kinds": []},
        {"kinds": ["charm"]},
        {"affiliates": ["acme"]},
    ],
)
def test_an_issuer_needs_public_keys_and_known_kinds(gateway: TestGateway, changes: dict[str, Any]) -> None:
    assert register(gateway, issuer=str(UUID(int=5)), **changes).status_code in (400, 422)


def test_hostile_bodies_are_refused_and_flooding_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = make_gateway(monkeypatch, gateway_pact_writes_per_minute=3)
    answers = [post(gateway, text) for text in ("", "a.b", "x" * 9_000)]
    assert {one.status_code for one in answers} <= {400, 422}
    assert post(gateway, "a.b.c").status_code == 429
