"""Scores under those who would bend them: each test tries one way, and gains nothing by it."""

from __future__ import annotations

from typing import Any

import pytest

from pactstream.scores.findings import FAILURES_A_DAY
from pactstream.scores.statistics import TENANT_UNITS
from pactstream.scores.tally import DAY_MICROS
from tests.score_tools import (
    BROKEN,
    HOUR,
    KEPT,
    NOON,
    SECOND,
    TODAY,
    UNBOUND,
    Life,
    aims,
    attests,
    call,
)

START: dict[str, Any] = {"type": "session_start", "sessionId": "s"}
END = {"type": "session_end", "outcome": "success", "sessionId": "s"}
ANSWER = {"type": "response", "outcome": "success", "sessionId": "s"}
FAILED = call(KEPT, outcome="error")


def known(value: float | None) -> float:
    assert value is not None
    return value


def honest() -> Life:
    """Ten days of eight hours' work; each day one call fails and one breaks its pact."""
    life = Life()
    for day in range(TODAY - 9, TODAY + 1):
        for hour in range(8):
            extra = {3: [FAILED], 5: [call(BROKEN)]}.get(hour, [])
            life.tell(START, call(KEPT), *extra, ANSWER, END, at=day * DAY_MICROS + hour * HOUR)
    return life


def test_few_observations_score_low_and_more_of_the_same_score_higher() -> None:
    scores = [known(Life().daily([call(KEPT)] * 6, days=days).of("safety")) for days in (1, 2, 5, 20)]
    assert scores == sorted(scores)
    assert scores[0] < 75
    assert scores[-1] > 90
    assert known(Life().tell(call(KEPT)).of("safety")) < 40


def padded(*leaves: dict[str, Any], hours: int = 8) -> Life:
    """The same life with a hundred times these in the first hours of each day."""
    life = honest()
    for day in range(TODAY - 9, TODAY + 1):
        for hour in range(hours):
            life.tell(*leaves * 100, at=day * DAY_MICROS + hour * HOUR)
    return life


def test_more_calls_in_the_same_hours_add_nothing() -> None:
    assert padded(call(KEPT)).score().dimensions == honest().score().dimensions


def test_more_sessions_and_responses_in_the_same_hours_add_nothing() -> None:
    assert padded(START, ANSWER, END).score().dimensions == honest().score().dimensions


def test_empty_sessions_around_the_clock_help_one_dimension_of_five_points_only() -> None:
    plain, clock = honest().score(), padded(START, ANSWER, END, hours=24).score()
    differ = [name for name in plain.dimensions if plain.dimensions[name] != clock.dimensions[name]]
    assert differ == ["harness_stability"]
    assert known(clock.composite) - known(plain.composite) < 1


def test_calls_of_tools_that_no_pact_names_do_not_help() -> None:
    for verdict in (UNBOUND, None):
        plain, more = honest(), padded(call(verdict, tool="noop"), call(verdict, tool="nil"), hours=24)
        assert more.of("safety") == plain.of("safety")
        assert more.of("reliability") == plain.of("reliability")
        assert known(more.score().composite) < known(plain.score().composite)


def test_failures_weigh_more_than_successes_and_each_one_counts() -> None:
    # An hour of good calls and as many hours with one failure: well below one half.
    life = Life().daily([call(KEPT), FAILED])
    assert known(life.of("reliability")) < 30
    # Saving failures up for one hour does not hide them.
    spread = Life().daily([FAILED, FAILED, FAILED, FAILED, *[call(KEPT)] * 8])
    bunched = Life().daily([*[call(KEPT)] * 12])
    for day in range(TODAY - 9, TODAY + 1):
        bunched.tell(*[FAILED] * 4, at=day * DAY_MICROS)
    assert known(bunched.of("reliability")) < 60
    assert known(spread.of("reliability")) < 60


def test_a_bad_day_is_bounded() -> None:
    short = Life().daily([call(KEPT)] * 12).tell(*[FAILED] * FAILURES_A_DAY)
    long = Life().daily([call(KEPT)] * 12).tell(*[FAILED] * 5_000)
    assert long.of("reliability") == short.of("reliability")


def test_old_evidence_decays() -> None:
    def life(good_days_ago: int, bad_days_ago: int) -> Life:
        told = Life()
        for days_ago, leaf in sorted([(good_days_ago, call(KEPT)), (bad_days_ago, call(BROKEN))], reverse=True):
            for hour in range(10):
                told.tell(leaf, at=(TODAY - days_ago) * DAY_MICROS + hour * HOUR)
        return told

    reformed, fallen = life(good_days_ago=1, bad_days_ago=60), life(good_days_ago=60, bad_days_ago=1)
    assert known(reformed.of("safety")) > known(fallen.of("safety")) + 10
    assert fallen.of("safety") == pytest.approx(0, abs=1)
    # What is out of the window is out.
    assert life(good_days_ago=1, bad_days_ago=95).of("safety") == life(1, 200).of("safety")


def test_silence_does_not_hold_a_score_up() -> None:
    busy = [START, *[call(KEPT)] * 20, ANSWER, END]
    life = Life().daily(busy, days=30)
    at = [NOON + days * DAY_MICROS for days in (0, 14, 28, 56, 80)]
    composites = [known(life.score(one).composite) for one in at]
    confidences = [known(life.score(one).confidence) for one in at]
    assert composites == sorted(composites, reverse=True)
    assert confidences == sorted(confidences, reverse=True)
    assert composites[-1] < composites[0] - 15
    after = life.score(NOON + 91 * DAY_MICROS)
    assert (after.composite, after.confidence, after.tier, after.covered_weight) == (None, None, None, 0)


def test_one_tenants_flood_does_not_dominate() -> None:
    bad = [call(BROKEN), FAILED, *[call(KEPT)] * 2]
    life = Life()
    for tenant in ("a", "b", "c"):
        life.daily(bad, tenant=tenant)
    before = known(life.of("safety"))
    for day in range(TODAY - 9, TODAY + 1):
        for hour in range(24):
            leaves = [call(KEPT, tool=f"t{n}") for n in range(40)]
            life.tell(*leaves, at=day * DAY_MICROS + hour * HOUR, tenant="flood")
    after = life.score().dimensions["safety"]
    # Its 3,000 tool-hours count as a hundred, a quarter of all.
    assert after.estimate.sample_size <= 4 * TENANT_UNITS
    assert known(after.estimate.score) < before + 40
    assert known(after.estimate.score) < 50


def test_a_hostile_tenant_cannot_ruin_an_agent_either() -> None:
    life = Life()
    for tenant in ("a", "b", "c"):
        life.daily([call(KEPT)] * 20, tenant=tenant)
    before = known(life.of("safety"))
    for _ in range(50):
        life.tell(*[call(BROKEN)] * 1_000, tenant="hostile")
    assert known(life.of("safety")) > before / 2


def test_it_does_not_pay_to_call_a_violation_a_success() -> None:
    silent = Life().daily([*[call(KEPT)] * 10, call(BROKEN)])
    honest_one = Life().daily([*[call(KEPT)] * 10, call(BROKEN, outcome="error")])
    stopped = Life().daily([*[call(KEPT)] * 10, call(BROKEN, outcome="refused")])
    assert silent.of("self_audit") == 0
    assert known(honest_one.of("self_audit")) > 60
    assert known(stopped.of("runtime_compliance")) > known(silent.of("runtime_compliance")) + 20
    assert known(honest_one.score().composite) > known(silent.score().composite)


def test_bold_claims_cost_more_than_modest_ones() -> None:
    def claims(confidence: int) -> Life:
        leaves = [call(KEPT, confidence=confidence, outcome="success" if n % 4 else "error") for n in range(20)]
        return Life().daily(leaves)

    true, bold, modest = claims(75), claims(100), claims(50)
    assert known(true.of("scope_honesty")) > 85
    assert known(bold.of("scope_honesty")) < known(modest.of("scope_honesty")) < known(true.of("scope_honesty"))
    # Sure claims about calls that no pact names do not make up for bold ones about those that matter.
    padded = claims(100)
    for day in range(TODAY - 9, TODAY + 1):
        padded.tell(*[call(UNBOUND, confidence=100)] * 500, at=day * DAY_MICROS)
    assert known(padded.of("scope_honesty")) < 75


def spent(*tokens: int, day: int = TODAY) -> list[dict[str, Any]]:
    """Responses of a session each, within or beyond a budget of 1,000 tokens."""
    return [
        ANSWER | {"sessionId": f"{day}-{n}", "tokenCount": one} | aims(tokensPerSession=1_000)
        for n, one in enumerate(tokens)
    ]


def test_sessions_cut_small_do_not_hide_an_overrun() -> None:
    honest_one = Life().daily(spent(*[500] * 8))
    cut = Life()
    hidden = Life()
    for day in range(TODAY - 9, TODAY + 1):
        cut.tell(*spent(*[10] * 64, day=day), at=day * DAY_MICROS)
        hidden.tell(*spent(20_000, *[10] * 63, day=day), at=day * DAY_MICROS)
    # Eight times as many sessions as any day counts: no more than eight.
    assert known(cut.of("cost_efficiency")) <= known(honest_one.of("cost_efficiency")) + 1
    assert known(hidden.of("cost_efficiency")) < 10


def test_fast_calls_of_other_tools_do_not_make_up_for_slow_ones() -> None:
    slow = [call(KEPT, tool="pay", latencyMs=500, **aims(latencyP95Ms=100))] * 5
    fast = [call(KEPT, tool="look", latencyMs=1, **aims(latencyP95Ms=100))]
    plain = Life().daily(slow)
    padded_one = Life().daily(slow)
    for day in range(TODAY - 9, TODAY + 1):
        padded_one.tell(*fast * 1_000, at=day * DAY_MICROS)
    assert plain.of("latency") == 0
    # Ten thousand fast calls count as twenty.
    assert known(padded_one.of("latency")) < 50


def test_silence_about_the_model_counts_against_it() -> None:
    told = Life().daily([call(KEPT, **aims(model="allowed"))] * 6)
    silent = Life().daily([call(KEPT, **aims(model="unstated"))] * 6)
    assert known(silent.of("model_compliance")) < 5 < known(told.of("model_compliance"))
    # One word a day does not cover for another model's work.
    mixed = Life().daily([call(KEPT, **aims(model="allowed")), *[call(KEPT, **aims(model="other"))] * 11])
    assert known(mixed.of("model_compliance")) < 10


def test_an_attestation_sent_in_pieces_counts_no_more_than_its_newest() -> None:
    def evaluated(*totals: int) -> Life:
        leaves = [
            attests("accuracy", n=n, correct=one, total=one, benchmark="b") for n, one in enumerate(totals, 1)
        ]
        return Life().tell(*leaves)

    assert evaluated(*[1] * 200).of("accuracy") == evaluated(1).of("accuracy")
    assert known(evaluated(1).of("accuracy")) < 30
    assert evaluated(10**9).of("accuracy") == evaluated(200).of("accuracy")


def test_bonds_and_reviews_do_not_add_up_beyond_everything() -> None:
    bond: dict[str, Any] = {"amount": "1", "currency": "USD", "coverage": 0.8}
    twice = Life().tell(attests("bond", **bond), attests("bond", SECOND, n=2, **bond))
    assert twice.of("bond") == 100
    clean: dict[str, Any] = {"critical": 0, "high": 0, "medium": 0, "low": 0, "scope": "s"}
    found: dict[str, Any] = clean | {"critical": 3}
    worst = Life().tell(attests("security", **clean), attests("security", SECOND, n=2, **found))
    # A second opinion does not wash the first one's findings away.
    assert known(worst.of("security")) < 50


@pytest.mark.parametrize(
    ("dimension", "good", "bad"),
    [
        ("reliability", call(KEPT), FAILED),
        ("safety", call(KEPT), call(BROKEN)),
        ("self_audit", call(BROKEN, outcome="error"), call(BROKEN)),
        ("model_compliance", call(KEPT, **aims(model="allowed")), call(KEPT, **aims(model="other"))),
        ("runtime_compliance", call(KEPT), call(BROKEN)),
        ("harness_stability", END, END | {"outcome": "aborted"}),
    ],
)
def test_in_each_dimension_a_flood_is_capped_and_one_failure_costs_more_than_one_success_gains(
    dimension: str, good: dict[str, Any], bad: dict[str, Any]
) -> None:
    def life(goods: int, bads: int) -> Life:
        told = Life()
        for hour, leaf in enumerate([good] * goods + [bad] * bads):
            told.tell(leaf, at=TODAY * DAY_MICROS + hour * HOUR)
        return told

    base = known(life(8, 0).of(dimension))
    more, worse = known(life(9, 0).of(dimension)), known(life(8, 1).of(dimension))
    assert base - worse > 3 * (more - base)
    flood = Life()
    for day in range(TODAY - 9, TODAY + 1):
        for hour in range(24):
            flood.tell(*[good | {"tool": f"t{n}"} for n in range(40)], at=day * DAY_MICROS + hour * HOUR)
    found = {str(name): one for name, one in flood.score().dimensions.items()}[dimension]
    assert found.estimate.sample_size <= TENANT_UNITS
