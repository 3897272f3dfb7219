"""The score as mathematics: exact where it can be, monotone, and never sure of little."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_aggregator import formula

COUNTS = st.integers(1, 10**9).flatmap(lambda bound: st.tuples(st.integers(0, bound), st.just(bound)))


def test_atlas_is_ninety_six_exactly() -> None:
    assert formula.compliance(24, 25) == 0.96
    assert formula.dimensions(24, 25) == {"pact_compliance": 0.96}
    assert formula.composite({"pact_compliance": 0.96}) == 96.0


def test_nothing_is_made_up_without_evidence() -> None:
    assert formula.compliance(0, 0) is None
    assert formula.dimensions(0, 0) == {}
    assert formula.composite({}) is None
    assert formula.confidence(0, 0) is None


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # Newcombe, Statistics in Medicine 17 (1998), table I, method 3 (score without continuity correction).
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_that_of_the_literature(successes: int, trials: int, low: float, high: float) -> None:
    assert formula.wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


@given(COUNTS)
def test_figures_stay_within_their_bounds(counts: tuple[int, int]) -> None:
    valid, bound = counts
    low, high = formula.wilson_interval(valid, bound)
    assert 0 <= low <= valid / bound + 1e-12
    assert valid / bound - 1e-12 <= high <= 1
    confidence = formula.confidence(valid, bound)
    composite = formula.composite(formula.dimensions(valid, bound))
    assert confidence is not None
    assert composite is not None
    assert 0 <= confidence <= 1
    assert 0 <= composite <= 100


@given(COUNTS)
def test_a_kept_pact_never_lowers_the_score_and_a_broken_one_never_raises_it(counts: tuple[int, int]) -> None:
    valid, bound = counts
    now = formula.compliance(valid, bound)
    better, worse = formula.compliance(valid + 1, bound + 1), formula.compliance(valid, bound + 1)
    assert now is not None
    assert better is not None
    assert worse is not None
    assert worse <= now <= better


@given(COUNTS, st.integers(2, 1_000))
def test_more_of_the_same_makes_surer(counts: tuple[int, int], times: int) -> None:
    valid, bound = counts
    few, many = formula.confidence(valid, bound), formula.confidence(valid * times, bound * times)
    assert few is not None
    assert many is not None
    assert many >= few or math.isclose(many, few)


@given(st.integers(0, 3))
def test_few_calls_are_never_certain(valid: int) -> None:
    confidence = formula.confidence(valid, 3)
    assert confidence is not None
    assert confidence < 0.5
