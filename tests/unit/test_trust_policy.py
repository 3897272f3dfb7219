"""A counterparty's policy: what allows, what denies, and that nothing unknown is taken for granted."""

from __future__ import annotations

from typing import Any

import pytest

from pactstream import clock
from pactstream.errors import InvalidInput
from pactstream.trust import Decision, Policy, decide
from tests.oracle_states import at

NOW = at(60)


def call(seconds_ago: int = 10, severity: str = "critical", **more: Any) -> dict[str, Any]:
    return {
        "receivedAt": clock.to_iso(NOW - seconds_ago * clock.MICROS_PER_SECOND),
        "tool": "transfer_funds",
        "severity": severity,
        "violations": [{"paramPath": "destination", "rule": "allowList", "severity": severity}],
        "omitted": 0,
        **more,
    }


def report(*calls: dict[str, Any], **more: Any) -> dict[str, Any]:
    severities = [one["severity"] for one in calls]
    return {
        "agentStatus": "active",
        "issuedAt": clock.to_iso(at(50)),
        "score": {"composite": 78.5, "confidence": 0.8, "tier": "gold"},
        "sampleSize": 25,
        "pactCompliance": {"violationsBySeverity": {one: severities.count(one) for one in severities}},
        "recentViolations": list(calls),
        "freshness": {"asOf": clock.to_iso(at(40))},
        **more,
    }


def ask(claims: dict[str, Any], **policy: Any) -> Decision:
    return decide(claims, Policy.parse(policy), now_micros=NOW)


def reason(claims: dict[str, Any], **policy: Any) -> str:
    decision = ask(claims, **policy)
    assert not decision
    (only,) = decision.reasons
    return only


def test_an_agent_that_meets_every_demand_is_allowed() -> None:
    decision = ask(
        report(call(severity="minor")),
        minTier="gold",
        minComposite=78.5,
        minConfidence=0.8,
        minSampleSize=25,
        maxAgeSeconds=10,
        maxSilenceSeconds=20,
        forbiddenViolations=[{"severity": "major"}],
    )
    assert decision == Decision(True, ())
    assert decision


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"minTier": "platinum"}, "its tier is gold; demanded is platinum"),
        ({"minComposite": 78.6}, "its composite score is 78.5; demanded is 78.6"),
        ({"minConfidence": 0.81}, "its confidence is 0.8; demanded is 0.81"),
        ({"minSampleSize": 26}, "its sample size is 25; demanded is 26"),
        ({"maxAgeSeconds": 9.5}, "the report was issued 10 s ago; accepted are 9.5 s"),
        ({"maxSilenceSeconds": 19}, "the agent's last event was 20 s ago; accepted are 19 s"),
    ],
)
def test_one_unmet_demand_denies_with_its_reason(policy: dict[str, Any], expected: str) -> None:
    assert reason(report(), **policy) == expected


def test_every_reason_is_given() -> None:
    decision = ask(report(agentStatus="paused"), minTier="platinum", minConfidence=1)
    assert len(decision.reasons) == 3
    assert decision.reasons[0] == "the agent is paused"


@pytest.mark.parametrize("status", ["paused", "revoked", "unregistered", "unknown", "", "Active"])
def test_only_an_active_agent_is_allowed_whatever_the_policy_says(status: str) -> None:
    assert reason(report(agentStatus=status)) == f"the agent is {status}"


@pytest.mark.parametrize("score", [{"composite": None, "confidence": None}, {"tier": "unheard-of"}])
def test_what_is_not_known_does_not_meet_a_demand(score: dict[str, Any]) -> None:
    decision = ask(report(score=score), minTier="bronze", minComposite=0, minConfidence=0)
    assert len(decision.reasons) == 3


@pytest.mark.parametrize(
    ("forbidden", "denied"),
    [
        ({}, True),
        ({"severity": "critical"}, True),
        ({"severity": "critical", "withinSeconds": 11}, True),
        ({"severity": "critical", "withinSeconds": 9}, False),
        ({"tool": "transfer_funds"}, True),
        ({"tool": "get_balance"}, False),
        ({"rule": "allowList"}, True),
        ({"rule": "maxAmount"}, False),
        ({"rule": "allowList", "tool": "transfer_funds", "withinSeconds": 60}, True),
        ({"rule": "allowList", "tool": "get_balance"}, False),
    ],
)
def test_a_violation_denies_where_every_member_given_fits(forbidden: dict[str, Any], denied: bool) -> None:
    assert ask(report(call()), forbiddenViolations=[forbidden]).allow is not denied


def test_a_severity_includes_worse_ones_and_no_milder_ones() -> None:
    assert not ask(report(call(severity="critical")), forbiddenViolations=[{"severity": "major"}])
    assert ask(report(call(severity="minor")), forbiddenViolations=[{"severity": "major"}])


def test_violations_that_are_counted_but_no_longer_listed_still_deny() -> None:
    claims = report(pactCompliance={"violationsBySeverity": {"critical": 3}})
    assert reason(claims, forbiddenViolations=[{"severity": "critical"}]) == "3 critical violations in all"


def test_what_a_full_list_may_have_pushed_out_denies() -> None:
    noise = [call(severity="info", tool="get_balance") for _ in range(20)]
    assert "more violations than the report lists" in reason(
        report(*noise), forbiddenViolations=[{"severity": "critical", "withinSeconds": 3_600}]
    )
    old = [*noise[:19], call(4_000, severity="info")]
    assert ask(report(*old), forbiddenViolations=[{"severity": "critical", "withinSeconds": 3_600}])


def test_rules_that_a_call_does_not_list_may_be_the_forbidden_one() -> None:
    assert not ask(report(call(omitted=1)), forbiddenViolations=[{"rule": "maxAmount"}])


@pytest.mark.parametrize(
    "policy",
    [
        {"minTeir": "gold"},
        {"minTier": "iron"},
        {"minConfidence": 2},
        {"maxAgeSeconds": 0},
        {"forbiddenViolations": [{"severity": "fatal"}]},
        {"forbiddenViolations": [{"tol": "x"}]},
        {"forbiddenViolations": [{}] * 101},
        b"{",
        b"\xff",
        "[]",
    ],
)
def test_a_policy_that_is_not_understood_is_refused(policy: Any) -> None:
    with pytest.raises(InvalidInput, match="not a policy"):
        Policy.parse(policy)


def test_what_is_no_report_is_not_decided_on() -> None:
    claims = report()
    del claims["agentStatus"]
    with pytest.raises(InvalidInput, match="not the claims of a report"):
        decide(claims, Policy())


def test_now_is_the_clocks_unless_given() -> None:
    assert not decide(report(), Policy(max_age_seconds=60))
