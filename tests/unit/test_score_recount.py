"""A report compared with the leaves: what is honest passes, and each figure that is not is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import OKPKey

from pactstream import clock
from pactstream.errors import InvalidInput
from pactstream.scores import attestation
from pactstream.scores.attestation import parse_issuers
from pactstream.scores.claims import parse_claims
from pactstream.scores.recount import MAX_LAG_SECONDS, Issuers, Recount
from pactstream.scores.tally import DAY_MICROS
from tests.published_ledger import AGENTS, changed, leaves
from tests.reported import honest_claims, micros

AGENT = AGENTS[1]
HOUR = DAY_MICROS // 24
START = micros("2026-05-13T10:00:00+00:00")
KEPT = {"valid": True, "bound": True, "violations": []}
BROKEN = {
    "valid": False,
    "bound": True,
    "severity": "critical",
    "violations": [{"paramPath": "destination", "rule": "allowList", "severity": "critical"}],
}


KEY = OKPKey.generate_key("Ed25519", {"kid": "ed"})
ISSUER = "00000000-0000-4000-8000-0000000000aa"


def attested(key: OKPKey = KEY, **changes: Any) -> str:
    payload = {
        "iss": ISSUER,
        "sub": AGENT,
        "jti": "00000000-0000-4000-8000-000000000001",
        "iat": START // clock.MICROS_PER_SECOND,
        "exp": START // clock.MICROS_PER_SECOND + 86_400 * 30,
        "claim": {"kind": "accuracy", "correct": 97, "total": 100, "benchmark": "invoices"},
    }
    protected = {"alg": "Ed25519", "kid": key.kid, "typ": attestation.JWS_TYPE}
    return jws.serialize_compact(protected, json.dumps(payload | changes), key, algorithms=["Ed25519"])


ATTESTED = attested()


def history(count: int = 120) -> list[bytes]:
    """Three agents' calls, one each hour; each seventh of each is broken, and one leaf attests something."""
    made = []
    for number, entry in enumerate(leaves(count)):
        at = clock.to_iso(START + number // 3 * HOUR)
        verdict = BROKEN if number // 3 % 7 == 3 else KEPT
        members: dict[str, Any] = {"receivedAt": at, "outcome": "success", "verdict": verdict, "latencyMs": 40}
        if number == 31:
            members = {"receivedAt": at, "type": "attestation", "attestation": ATTESTED}
        made.append(changed(entry, **members))
    return made


HISTORY = history()
LATEST = START + 39 * HOUR
HONEST = honest_claims(HISTORY, AGENT, at_micros=LATEST + 5_000_000)


def differences(
    claims: dict[str, Any], entries: list[bytes] = HISTORY, issuers: Issuers | None = None
) -> list[str]:
    recount = Recount(parse_claims(claims), issuers)
    for entry in entries:
        recount.take(entry)
    return [f"{detail.path}: {detail.message}" for detail in recount.differences()]


def edited(edit: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    claims: dict[str, Any] = json.loads(json.dumps(HONEST))
    edit(claims)
    return claims


def test_an_honest_report_follows_from_the_leaves() -> None:
    assert HONEST["score"]["composite"] is not None
    assert len(HONEST["score"]["attestations"]) == 1
    assert len(HONEST["recentViolations"]) == 5
    assert differences(HONEST) == []


def test_leaves_of_others_change_nothing() -> None:
    assert differences(HONEST, [entry for entry in HISTORY if AGENT.encode() in entry]) == []


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda one: one["score"].update(composite=99.0), "composite: the report says 99.0"),
        (lambda one: one["score"].update(composite=None), "composite: the report says nothing"),
        (lambda one: one["score"].update(points=990), "points: the report says 990"),
        (lambda one: one["score"].update(confidence=0.9), "confidence: the report says 0.9"),
        (lambda one: one["score"].update(tier="gold"), "tier: the report says gold"),
        (lambda one: one["score"].update(coveredWeight=100), "covered weight: the report says 100.0"),
        (lambda one: one["score"]["dimensions"][2].update(score=100.0), "safety score: the report says 100.0"),
        (lambda one: one["score"]["dimensions"].pop(2), "safety weight: the report says nothing"),
        (lambda one: one["score"]["dimensions"][2]["inputs"].update(bad=0.0), "safety input bad"),
        (lambda one: one["score"]["attestations"].clear(), "attestation 00000000"),
        (lambda one: one["score"]["attestations"][0]["claim"].update(correct=100), "attestation 00000000"),
        (lambda one: one["pactCompliance"].update(valid=40), "valid calls: the report says 40"),
        (lambda one: one["pactCompliance"].update(violationsBySeverity={}), "violations: the report says {}"),
        (lambda one: one["observation"].update(sessions=9), "sessions: the report says 9"),
        (
            lambda one: one["observation"].update({"from": "2020-01-01T00:00:00Z"}),
            "first leaf arrived at another time",
        ),
        (lambda one: one["recentViolations"].pop(0), "leaf 39: not among the violations"),
        (lambda one: one["recentViolations"].pop(), "violation in leaf 4: the report says nothing"),
        (lambda one: one["recentViolations"][1].update(severity="minor"), "violation in leaf 32"),
        (lambda one: one["recentViolations"][1]["violations"].clear(), "violation in leaf 32"),
        (lambda one: one["score"].update(computedAt="2026-05-10T00:00:00Z"), "computed 5 days before"),
        (lambda one: one["score"].update(computedAt="2027-01-01T00:00:00Z"), "days before"),
    ],
)
def test_a_forged_figure_is_named(edit: Callable[[dict[str, Any]], object], said: str) -> None:
    assert [one for one in differences(edited(edit)) if said in one]


def test_a_score_of_fewer_leaves_is_named_once_they_are_old() -> None:
    """The aggregator may be behind by as much as clients accept; more is a choice."""
    entries = HISTORY[:90]
    claims = honest_claims(entries, AGENT, at_micros=START + 29 * HOUR + MAX_LAG_SECONDS * 1_000_000)
    later = [changed(HISTORY[91], receivedAt=clock.to_iso(START + 29 * HOUR + 1_000_000))]
    assert differences(claims, [*entries, *later]) == []
    old = [changed(HISTORY[91], receivedAt=clock.to_iso(START + 29 * HOUR - 1_000_000))]
    assert differences(claims, [*entries, *old]) == [
        "leaf 31: not counted, though it arrived 61 s before the report was issued"
    ]


def test_a_score_of_leaves_that_are_not_sealed_is_named() -> None:
    assert differences(HONEST, HISTORY[:118]) == ["leaf 40: counted, but the ledger has 39 of the agent"]


def test_a_nightly_score_counts_what_came_before_midnight() -> None:
    night = (LATEST // DAY_MICROS) * DAY_MICROS
    before = [entry for entry in HISTORY if micros(json.loads(entry)["receivedAt"]) < night]
    claims = honest_claims(before, AGENT, at_micros=night + 30_000_000, score_at_micros=night)
    assert differences(claims, before) == []
    # A gateway's clock that is ahead: the leaf is numbered before the last one counted.
    claims["observation"]["throughSequence"] += 1
    straggler = changed(HISTORY[len(before) + 1], receivedAt=clock.to_iso(night + 1))
    assert differences(claims, [*before, straggler]) == []


def test_without_a_score_leaves_that_are_old_are_missing() -> None:
    claims = edited(lambda one: one.update(observation=None, recentViolations=[]))
    claims["score"]["computedAt"] = None
    assert differences(claims, HISTORY[:1]) == []
    assert [one.split(",")[0] for one in differences(claims)] == [
        "leaf 1: not counted",
        "leaf 4: not among the violations",
    ]


def registered(*keys: OKPKey) -> Issuers:
    """As the gateway lists them."""
    jwks = {"keys": [{**key.as_dict(private=False), "alg": "Ed25519"} for key in keys]}
    listed = {"issuerId": ISSUER, "name": "Audits", "kinds": ["accuracy"], "jwks": jwks, "revokedAt": None}
    return parse_issuers(json.dumps({"issuers": [listed]}).encode())


def test_signatures_of_attestations_are_checked_with_their_issuers_keys() -> None:
    assert differences(HONEST, issuers=registered(KEY)) == []
    other = OKPKey.generate_key("Ed25519", {"kid": "ed"})
    for known, said in ((registered(other), "signature"), (registered(), "key"), ({}, "key")):
        (found,) = differences(HONEST, issuers=known)
        assert found.startswith("leaf 11: ")
        assert said in found


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sub": AGENTS[0]}, f"is of the agent {AGENTS[0]}"),
        ({"exp": START // 1_000_000 + 3_600}, "has expired"),
    ],
)
def test_an_attestation_that_the_gateway_would_have_refused(changes: dict[str, Any], said: str) -> None:
    entries = [*HISTORY]
    entries[31] = changed(entries[31], attestation=attested(**changes))
    claims = honest_claims(entries, AGENT, at_micros=LATEST + 5_000_000)
    (found,) = differences(claims, entries, registered(KEY))
    assert found.startswith("leaf 11: ")
    assert said in found


def test_without_keys_signatures_are_counted_as_unchecked() -> None:
    recount = Recount(parse_claims(HONEST))
    for entry in HISTORY:
        recount.take(entry)
    assert recount.unchecked_attestations == 1


@pytest.mark.parametrize("text", [b"", b"{}", b'{"issuers": [{"issuerId": "x", "jwks": {}}]}', b"\xff"])
def test_what_is_no_list_of_issuers(text: bytes) -> None:
    with pytest.raises(InvalidInput):
        parse_issuers(text)


def test_a_leaf_that_cannot_be_read_is_named() -> None:
    broken = HISTORY[1].replace(b'"type":"tool_call"', b'"type":17')
    assert "cannot be read" in differences(HONEST, [broken, *HISTORY])[0]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda one: one.pop("score"), "malformed"),
        (lambda one: one["score"].update(method=2), "method 2"),
        (lambda one: one.update(observation=None), "or neither"),
        (lambda one: one.update(recentViolations=one["recentViolations"] * 9), "malformed"),
    ],
)
def test_claims_that_are_none(edit: Callable[[dict[str, Any]], object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        parse_claims(edited(edit))
