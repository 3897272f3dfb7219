"""From an agent's state to the claims of its report."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from oracle_api import report
from oracle_api.negotiation import JSON, JWT, preferred, unchanged
from oracle_api.standing import Standing
from oracle_api.state import AgentState
from oracle_api.store import PATH_CHARS
from pactstream import canonical
from pactstream.scores.claims import CLAIM_CHARS, LISTED_ATTESTATIONS, LISTED_VIOLATIONS, RECENT_VIOLATIONS
from pactstream.scores.dimensions import METHOD
from pactstream.signing.report import MAX_REPORT_BYTES
from tests.oracle_states import AGENT, CHECKPOINT, EMPTY, HEAD, SCORE, STATE, violating

ISSUED = SCORE.last_received_at_micros + 1_500_000


def build(state: AgentState = STATE, standing: Standing = "active") -> dict[str, object]:
    return report.build(
        state,
        standing,
        report_id="r-1",
        issuer="oracle.test",
        deployment="test.local",
        issued_at_micros=ISSUED,
        lifetime_seconds=300,
    )


FULL = {
    "agentId": str(AGENT),
    "agentStatus": "active",
    "version": 1,
    "reportId": "r-1",
    "issuer": "oracle.test",
    "issuedAt": "2026-05-13T10:00:41.500000Z",
    "expiresAt": "2026-05-13T10:05:41.500000Z",
    "score": {
        "composite": 96.0,
        "points": 960,
        "confidence": 0.81,
        "coveredWeight": 14.0,
        "tier": "gold",
        "sampleSize": 25.0,
        "method": 1,
        "windowDays": 90,
        "computedAt": "2026-05-13T10:00:41.000000Z",
        "dimensions": [
            {
                "name": "accuracy",
                "weight": 14.0,
                "score": 96.0,
                "confidence": 0.81,
                "sampleSize": 25.0,
                "inputs": {"evaluations": 3.0},
            }
        ],
        "attestations": [
            {
                "id": "a-1",
                "kind": "bond_posting",
                "issuer": "bank.example",
                "issuedAt": "2026-05-13T10:00:00.000000Z",
                "expiresAt": "2026-05-13T10:01:39.000000Z",
                "sequence": 3,
                "claim": {"usd": 5},
            }
        ],
    },
    "pactCompliance": {"bound": 25, "valid": 24, "rate": 0.96, "violationsBySeverity": {"critical": 1}},
    "sampleSize": 25,
    "observation": {
        "from": "2026-05-13T10:00:01.000000Z",
        "to": "2026-05-13T10:00:40.000000Z",
        "throughSequence": 40,
        "sessions": 5,
        "toolCalls": 25,
    },
    "recentViolations": [
        {
            "eventId": "00000000-0000-0000-0000-000000000014",
            "sequence": 20,
            "occurredAt": "2026-05-13T10:00:20.000000Z",
            "receivedAt": "2026-05-13T10:00:20.000000Z",
            "tool": "transfer_funds",
            "severity": "critical",
            "violations": [{"paramPath": "destination", "rule": "allowList", "severity": "critical"}],
            "omitted": 0,
        }
    ],
    "ledger": {
        "head": {
            "log": "test.local/ledger/0",
            "leafIndex": 39,
            "sequence": 40,
            "leafHash": "ab" * 32,
        },
        "checkpoint": CHECKPOINT.note,
        "inclusionProof": ["cd" * 32],
    },
    "freshness": {
        "asOf": "2026-05-13T10:00:40.000000Z",
        "sequence": 40,
        "secondsSinceLastEvent": 1.5,
        "scoreLagSeconds": 0,
    },
}


def test_every_claim_of_a_full_report() -> None:
    assert build() == FULL


def test_an_agent_out_of_service_says_so_before_anything_else() -> None:
    text = canonical.dumps(build(standing="paused")).decode()
    assert text.startswith(f'{{"agentId":"{AGENT}","agentStatus":"paused",')


def test_what_is_not_known_is_null_and_never_zero() -> None:
    built = build(EMPTY)
    assert built["score"] == {
        "composite": None,
        "points": None,
        "confidence": None,
        "coveredWeight": 0,
        "tier": None,
        "sampleSize": 0,
        "method": METHOD,
        "windowDays": 90,
        "computedAt": None,
        "dimensions": [],
        "attestations": [],
    }
    assert built["observation"] is None
    assert built["ledger"] == {"head": None, "checkpoint": None, "inclusionProof": None}
    assert built["sampleSize"] == 0
    assert isinstance(built["pactCompliance"], dict)
    assert built["pactCompliance"]["rate"] is None


@pytest.mark.parametrize(
    ("scored", "sealed", "sequence", "seconds", "lag"), [(40, 38, 40, 1.5, 0), (40, 42, 42, 0.5, 1)]
)
def test_freshness_is_of_the_newest_event_that_anything_reflects(
    scored: int, sealed: int, sequence: int, seconds: float, lag: float
) -> None:
    later = SCORE.last_received_at_micros + 1_000_000
    state = replace(
        STATE,
        score=replace(SCORE, through_sequence=scored),
        head=replace(HEAD, sequence=sealed, received_at_micros=later),
    )
    freshness = build(state)["freshness"]
    assert isinstance(freshness, dict)
    assert (freshness["sequence"], freshness["secondsSinceLastEvent"]) == (sequence, seconds)
    assert freshness["scoreLagSeconds"] == lag


def test_a_clock_behind_the_gateways_shows_no_negative_age() -> None:
    state = replace(STATE, score=replace(SCORE, last_received_at_micros=ISSUED + 1), head=None)
    freshness = build(state)["freshness"]
    assert isinstance(freshness, dict)
    assert freshness["secondsSinceLastEvent"] == 0


def test_the_worst_history_still_fits_a_report() -> None:
    worst = violating(20, paths=LISTED_VIOLATIONS, path="\x00" * PATH_CHARS, tool="🜁" * 128)
    claim = SCORE.attestations[0]
    long = msgspec.structs.replace(claim, issuer="i" * 256, claim={"text": "\x00" * (CLAIM_CHARS // 6)})
    score = replace(SCORE, attestations=(long,) * LISTED_ATTESTATIONS, dimensions=SCORE.dimensions * 12)
    built = build(replace(STATE, score=score, recent_violations=(worst,) * RECENT_VIOLATIONS))
    assert len(canonical.dumps(built)) < MAX_REPORT_BYTES


def test_only_what_is_the_agents_own_makes_another_state() -> None:
    others_acted = replace(STATE, checkpoint=replace(CHECKPOINT, tree_size=99))
    assert STATE.same_agent_state(others_acted)
    for changed in (
        replace(STATE, head=replace(HEAD, sequence=41)),
        replace(STATE, score=replace(SCORE, valid_calls=23)),
        replace(STATE, recent_violations=()),
    ):
        assert not STATE.same_agent_state(changed)


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("application/json", JSON),
        ("application/jwt", JWT),
        ("Application/JWT; q=0.9", JWT),
        ("application/jwt;q=0.5, application/json;q=0.8", JSON),
        ("application/json, application/jwt", JWT),
        ("application/jwt;q=0", JSON),
        ("application/jwt;q=broken", JSON),
        ("text/html,application/xhtml+xml,*/*;q=0.8", JSON),
        (",;,;q=", JSON),
    ],
)
def test_the_form_follows_the_accept_header(accept: str, form: str) -> None:
    assert preferred(accept) == form


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, False),
        ('"a"', True),
        ('W/"a"', True),
        ('"b", "a"', True),
        ("*", True),
        ('"b"', False),
        ("a", False),
        ("", False),
    ],
)
def test_an_entity_tag_is_found_in_a_list(header: str | None, expected: bool) -> None:
    assert unchanged(header, '"a"') is expected
