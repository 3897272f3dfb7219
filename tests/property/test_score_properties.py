"""Scores as mathematics: within bounds, monotone, and the same whatever the order of what is counted."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactstream.scores.evidence import Day
from pactstream.scores.leaves import CountedLeaf, Objectives, Verdict
from pactstream.scores.statistics import Units, decay, estimate

AMOUNT = st.floats(0, 1e6)


@given(AMOUNT, AMOUNT, st.floats(0.01, 1e3))
def test_more_for_never_lowers_and_more_against_never_raises(good: float, bad: float, more: float) -> None:
    here = estimate([Units(good, bad)]).score or 0
    assert (estimate([Units(good + more, bad)]).score or 0) >= here - 1e-9
    assert (estimate([Units(good, bad + more)]).score or 0) <= max(here, 2.6) + 1e-9
    assert 0 <= here <= 100


@given(AMOUNT, AMOUNT, st.floats(1, 100))
def test_more_of_the_same_makes_surer_and_never_lower(good: float, bad: float, times: float) -> None:
    few, many = estimate([Units(good, bad)]), estimate([Units(good * times, bad * times)])
    # With less than a unit the uniform prior still speaks, a little: it gives 2.5 points to no evidence at all.
    assert many.confidence >= few.confidence - 0.04
    assert (many.score or 0) >= (few.score or 0) - 2.6
    assert 0 <= few.confidence <= 1


@given(AMOUNT, AMOUNT)
def test_a_cap_keeps_the_proportion(good: float, bad: float) -> None:
    capped = Units(good, bad).capped(100)
    assert capped.total <= 100 + 1e-6
    assert abs(capped.good * bad - capped.bad * good) <= 1e-6 * max(1, good * bad)


@given(st.integers(0, 1_000))
def test_evidence_halves_with_each_half_life(age: int) -> None:
    assert decay(age + 14) == pytest.approx(decay(age) / 2)


LEAVES = st.builds(
    CountedLeaf,
    sequence=st.just(1),
    type=st.sampled_from(["session_start", "session_end", "tool_call", "response"]),
    session_id=st.sampled_from([f"s{n}" for n in range(200)]),
    outcome=st.sampled_from(["success", "error", "failure", "aborted", "denied", "partial", ""]),
    tool=st.sampled_from(["a", "b", "ü"]),
    latency_ms=st.none() | st.floats(0, 1e12),
    token_count=st.none() | st.integers(0, 2**53 - 1),
    confidence=st.none() | st.integers(0, 100),
    objectives=st.none()
    | st.builds(
        Objectives,
        latency_p95_ms=st.none() | st.integers(1, 1_000),
        model=st.sampled_from([None, "allowed", "other", "unstated"]),
        tokens_per_session=st.none() | st.integers(1, 1_000),
    ),
    verdict=st.none()
    | st.builds(
        Verdict,
        valid=st.booleans(),
        bound=st.booleans(),
        severity=st.sampled_from(["critical", "minor", "info"]),
    ),
)


@given(st.lists(st.tuples(LEAVES, st.integers(0, 23)), max_size=300), st.randoms(use_true_random=False))
def test_the_order_of_leaves_does_not_matter_and_nothing_is_lost_on_the_way_to_kafka(
    leaves: list[tuple[CountedLeaf, int]], chance: random.Random
) -> None:
    one, two = Day(), Day()
    for leaf, hour in leaves:
        one.add(leaf, hour)
    chance.shuffle(leaves)
    for leaf, hour in leaves:
        two.add(leaf, hour)
    assert one.counts() == two.counts() == Day.from_avro(one.to_avro()).counts()
    assert len(one.tokens) <= 64
