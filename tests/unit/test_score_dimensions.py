"""Each dimension by what it is made of, and the composite by its parts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from pactstream.scores.dimensions import TIERS, WEIGHTS, WINDOW_DAYS
from pactstream.scores.evidence import LATENCY_EDGES, SAMPLED_SESSIONS, Day
from pactstream.scores.findings import FAILURES_A_DAY
from pactstream.scores.formula import MIN_COVERED_WEIGHT, tier_of
from pactstream.scores.statistics import HALF_LIFE_DAYS, TENANT_UNITS, Units, estimate
from pactstream.scores.tally import DAY_MICROS
from tests.score_tools import KEPT, NOON, SECOND, TODAY, Life, aims, atlas, attests, call


def known(value: float | None) -> float:
    assert value is not None
    return value


def test_weights_sum_to_a_hundred() -> None:
    assert sum(WEIGHTS.values()) == 100
    assert list(WEIGHTS.values()) == sorted(WEIGHTS.values(), reverse=True)


def test_without_evidence_every_dimension_is_null_and_uncovered() -> None:
    found = Life().score(NOON)
    assert list(found.dimensions) == list(WEIGHTS)
    estimates = [one.estimate for one in found.dimensions.values()]
    assert {(one.score, one.confidence, one.sample_size) for one in estimates} == {(None, 0, 0)}
    assert (found.composite, found.confidence, found.covered_weight, found.tier) == (None, None, 0, None)


def test_the_composite_is_the_weighted_mean_of_what_is_covered() -> None:
    found = Life().daily(atlas()).score()
    covered = {name: one.estimate for name, one in found.dimensions.items() if one.estimate.score is not None}
    assert set(covered) == {
        "reliability",
        "safety",
        "self_audit",
        "runtime_compliance",
        "harness_stability",
    }
    assert found.covered_weight == 13 + 11 + 9 + 5 + 5
    total = sum(WEIGHTS[name] * known(one.score) for name, one in covered.items())
    assert found.composite == pytest.approx(total / 43)
    confidence = sum(WEIGHTS[name] * one.confidence for name, one in covered.items()) / 100
    assert found.confidence == pytest.approx(confidence)
    assert known(found.confidence) < 0.43
    fields = found.fields()
    assert fields["points"] == round(10 * known(found.composite))
    assert [one["name"] for one in fields["dimension_scores"]] == list(WEIGHTS)


def test_neither_attestations_alone_nor_telemetry_without_a_pact_make_a_composite() -> None:
    attested = Life().tell(
        attests("accuracy", correct=99, total=100, benchmark="b"),
        attests("bond", n=2, amount="100", currency="USDC", coverage=1.0),
        attests("security", n=3, critical=0, high=0, medium=0, low=0, scope="s"),
    )
    assert attested.score().covered_weight == 30
    assert attested.score().composite is None
    unbound = Life().daily(
        [{"type": "session_start"}, call(None), {"type": "session_end", "outcome": "success"}]
    )
    assert unbound.score().composite is None


def test_tiers_ask_for_confidence_and_evidence_too() -> None:
    assert tier_of(95, 0.8, 100) == "platinum"
    assert tier_of(95, 0.6, 100) == "gold"
    assert tier_of(95, 0.8, 40) == "silver"
    assert tier_of(95, 0.3, 100) == "bronze"
    assert tier_of(95, 0.2, 100) is None
    assert tier_of(39.9, 1, 100) is None
    assert tier_of(None, None, 0) is None


@pytest.mark.parametrize(
    ("good", "bad", "score"),
    # mean - 1.645 sd of Beta(1 + good, 1 + bad), by hand.
    [(0, 0.001, 2.5), (100, 0, 97.42), (9, 3, 52.24), (0, 100, 0)],
)
def test_the_estimate_is_the_posteriors_lower_bound(good: float, bad: float, score: float) -> None:
    assert estimate([Units(good, bad)]).score == pytest.approx(score, abs=0.06)


def test_latency_is_held_against_the_objective_of_each_tool() -> None:
    def life(*latencies: float) -> Life:
        return Life().daily(call(KEPT, latencyMs=one, **aims(latencyP95Ms=100)) for one in latencies)

    assert known(life(*[50.0] * 20).of("latency")) > 85
    assert life(*[100.0] * 20).of("latency") == life(*[1.0] * 20).of("latency")  # one in time is in time
    assert life(*[50.0] * 19, 200.0).of("latency") == life(*[50.0] * 20).of("latency")  # a p95 lets one be late
    assert known(life(*[50.0] * 15, *[200.0] * 5).of("latency")) < 65


def test_without_an_objective_latency_is_held_against_the_agents_own_past() -> None:
    def life(now_ms: float) -> Life:
        told = Life()
        for day in range(TODAY - 30, TODAY + 1):
            ms = now_ms if day > TODAY - 7 else 100.0
            told.tell(*[call(KEPT, latencyMs=ms)] * 5, at=day * DAY_MICROS)
        return told

    assert known(life(100).of("latency")) > 80
    assert known(life(500).of("latency")) < 10
    assert Life().daily([call(KEPT, latencyMs=9)], days=5).of("latency") is None  # no past yet


def test_cost_is_tokens_within_the_budget_of_a_session() -> None:
    def life(tokens: int) -> Life:
        leaves = [
            {"type": "response", "outcome": "success", "sessionId": f"s{n}", "tokenCount": tokens}
            | aims(tokensPerSession=1_000)
            for n in range(6)
        ]
        return Life().daily(leaves)

    assert known(life(900).of("cost_efficiency")) > 85
    assert life(0).of("cost_efficiency") == life(1_000).of("cost_efficiency")
    assert known(life(2_000).of("cost_efficiency")) < 30
    assert (
        Life().daily([{"type": "response", "outcome": "success", "tokenCount": 5}]).of("cost_efficiency")
        is None
    )


def test_the_sample_of_sessions_does_not_depend_on_order() -> None:
    leaves = [
        {"type": "response", "outcome": "success", "sessionId": f"s{n % 300}", "tokenCount": n}
        | aims(tokensPerSession=500)
        for n in range(900)
    ]
    one, two = Life().tell(*leaves).score(), Life().tell(*reversed(leaves)).score()
    assert one.dimensions == two.dimensions
    day = Day()
    assert len(day.tokens) <= SAMPLED_SESSIONS


def test_models_are_allowed_others_or_not_stated() -> None:
    def life(*models: str) -> Life:
        return Life().daily(call(KEPT, **aims(model=one)) for one in models)

    allowed, other = life(*["allowed"] * 6), life(*["allowed"] * 5, "other")
    assert known(allowed.of("model_compliance")) > 85
    assert known(other.of("model_compliance")) < 70
    assert known(life(*["unstated"] * 6).of("model_compliance")) < 5
    assert life("allowed", *["unstated"] * 5).of("model_compliance") == life("allowed").of("model_compliance")
    assert Life().daily([call(KEPT)]).of("model_compliance") is None


def test_sessions_that_never_end_count_as_broken() -> None:
    ended = Life().daily([{"type": "session_start"}, {"type": "session_end", "outcome": "failure"}])
    left = Life().daily(
        [{"type": "session_start"}, {"type": "session_start"}, {"type": "session_end", "outcome": "x"}]
    )
    timed_out = Life().daily([{"type": "session_start"}, {"type": "session_end", "outcome": "timeout"}])
    assert known(ended.of("harness_stability")) > 70
    assert known(left.of("harness_stability")) < known(ended.of("harness_stability")) - 20
    assert known(timed_out.of("harness_stability")) < 10


def test_attested_accuracy_is_shrunk_and_decays() -> None:
    def life(total: int, age_days: int = 0) -> Life:
        return Life().tell(attests("accuracy", age_days=age_days, correct=total, total=total, benchmark="b"))

    assert known(life(5).of("accuracy")) < known(life(100).of("accuracy")) < known(life(200).of("accuracy"))
    assert life(100_000).of("accuracy") == life(200).of("accuracy")  # one issuer counts so much and no more
    assert known(life(100, 200).of("accuracy")) < known(life(100).of("accuracy"))


def test_of_an_issuer_the_newest_counts_and_a_revoked_or_expired_one_does_not() -> None:
    good: dict[str, Any] = {"critical": 0, "high": 0, "medium": 0, "low": 0, "scope": "s"}
    life = Life().tell(attests("security", n=1, age_days=5, **good))
    before = known(life.of("security"))
    life.tell(attests("security", n=2, age_days=1, **good | {"critical": 2}))
    assert known(life.of("security")) < before - 40
    life.tell(attests("security", n=3, age_days=9, **good))  # older: changes nothing
    assert known(life.of("security")) < before - 40
    second = "00000000-0000-4000-8000-000000000002"
    life.tell(attests("revocation", SECOND, n=4, revokes=second))  # not its own
    assert life.of("security") is not None
    life.tell(attests("revocation", n=5, revokes=second))
    assert life.of("security") is None
    life.tell(attests("security", SECOND, n=6, **good))
    assert life.of("security") is not None
    assert life.of("security", NOON + 2 * DAY_MICROS) is None


def test_bonds_cover_together_at_most_everything() -> None:
    bond: dict[str, Any] = {"amount": "100.50", "currency": "USDC"}
    life = Life().tell(attests("bond", coverage=0.25, **bond))
    assert life.of("bond") == 25
    life.tell(attests("bond", SECOND, n=2, coverage=1.0, **bond))
    assert life.of("bond") == 100


def test_the_edges_of_latency_are_exact() -> None:
    assert len(LATENCY_EDGES) == 88
    assert LATENCY_EDGES[:5] == (1, 1.25, 1.5, 1.75, 2)
    assert list(LATENCY_EDGES) == sorted(LATENCY_EDGES)


def test_the_page_says_what_the_code_does() -> None:
    page = (Path(__file__).parents[2] / "docs" / "scores.md").read_text("utf-8")
    listed = re.findall(r"^\| `([a-z_]+)` \| ([0-9]+) \|", page, re.MULTILINE)
    assert {name: int(weight) for name, weight in listed} == dict(WEIGHTS)
    tiers = re.findall(
        r"^\| (platinum|gold|silver|bronze) \| (\d+) \| ([\d.]+) \| (\d+) \|", page, re.MULTILINE
    )
    assert [(tier, float(a), float(b), float(c)) for tier, a, b, c in tiers] == [tuple(one) for one in TIERS]
    shown = re.findall(r"^\| (\d+) \| (\d) \| ([\d.]+) \| ([\d.]+) \|$", page, re.MULTILINE)
    assert len(shown) == 5
    for good, bad, score, confidence in shown:
        found = estimate([Units(float(good), float(bad))])
        assert (round(known(found.score), 1), round(found.confidence, 2)) == (float(score), float(confidence))
    assert f"halves every {HALF_LIFE_DAYS} days and is gone after {WINDOW_DAYS}" in page
    assert f"covered weight of {MIN_COVERED_WEIGHT}" in page
    assert f"at most {TENANT_UNITS:.0f} units" in page
    assert f"{FAILURES_A_DAY} a day count" in page
