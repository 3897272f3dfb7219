"""`pactstream score explain`: parts that add up, and one line for whatever is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pactstream.cli import score as score_command
from tests.cli_tools import Run, runner
from tests.score_tools import AGENT, NOON, Life, atlas, attests


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys)


def claim(life: Life) -> dict[str, Any]:
    """The `score` claim of a report on this life."""
    fields = life.score(NOON).fields()
    return {
        "composite": fields["composite"],
        "points": fields["points"],
        "confidence": fields["confidence"],
        "coveredWeight": fields["covered_weight"],
        "tier": fields["tier"],
        "sampleSize": fields["sample_size"],
        "method": fields["method"],
        "dimensions": [
            {"sampleSize" if name == "sample_size" else name: value for name, value in one.items()}
            for one in fields["dimension_scores"]
        ],
        "attestations": [
            {
                "kind": one["kind"],
                "issuer": one["issuer"],
                "expiresAt": "2027",
                "claim": json.loads(one["claim"]),
            }
            for one in fields["attestations"]
        ],
    }


def serve(monkeypatch: pytest.MonkeyPatch, answer: object) -> None:
    monkeypatch.setattr(score_command, "fetch", lambda _: json.dumps(answer).encode())


def test_the_parts_add_up_to_the_composite(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    given = claim(Life().daily(atlas()))
    serve(monkeypatch, {"score": given})
    found = json.loads(run("score", "explain", AGENT, "--json").out)
    parts = [one["points"] for one in found["dimensions"] if one["points"] is not None]
    lost = [one["lost"] for one in found["dimensions"] if one["lost"] is not None]
    assert sum(parts) == pytest.approx(given["composite"])
    assert sum(parts) + sum(lost) == pytest.approx(100)
    assert found["agentId"] == AGENT
    assert not all(found["nextTier"]["met"].values())


def test_people_see_each_dimension_and_what_is_uncovered(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    life = Life().daily(atlas()).tell(attests("bond", amount="5", currency="USDC", coverage=0.5))
    given = claim(life)
    serve(monkeypatch, {"score": given})
    ran = run("score", "explain", AGENT)
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0].startswith(f"{AGENT}: {given['composite']:.2f} of 100 ({given['points']} of 1000)")
    assert lines[1].startswith("for ")
    (accuracy,) = [line for line in lines if line.startswith("accuracy")]
    assert "uncovered" in accuracy
    (safety,) = [line for line in lines if line.startswith("safety")]
    assert "good" in safety
    assert [line for line in lines if line.startswith("bond, attested by")]


def test_without_a_composite_it_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, {"score": claim(Life())})
    ran = run("score", "explain", AGENT)
    assert "no composite, too little is covered (0 of 100)" in ran.out


@pytest.mark.parametrize("answer", [[], {}, {"score": None}, {"score": {"coveredWeight": "much"}}, "x"])
def test_what_is_no_report_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch, answer: object) -> None:
    serve(monkeypatch, answer)
    ran = run("score", "explain", AGENT)
    assert (ran.code, ran.err) == (1, "pactstream: the oracle's answer is no trust report\n")


def test_an_agent_has_a_uuid(run: Run) -> None:
    assert run("score", "explain", "atlas").code == 3
