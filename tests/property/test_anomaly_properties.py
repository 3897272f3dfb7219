"""What must hold of the search for anomalies whatever arrives: order, repeats, poison, and chance."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator_worker.anomaly import baseline, evidence, normal
from evaluator_worker.anomaly.state import State
from evaluator_worker.anomaly.stream import WAIT_MINUTES, advance
from pactstream import avro
from tests.anomaly_tools import LEVEL, WARM, fleet, slower, warm_state
from tests.behaviour_tools import AGENT

KEY = AGENT.encode()
MINUTES = 26


@cache
def in_order() -> list[tuple[int, bytes]]:
    """Minute and record of a drift that is found."""
    minutes = fleet(WARM, MINUTES, change=slower(1.6, {2}))
    return [
        (minute, avro.encode("BehaviourWindow", window))
        for minute, windows in minutes
        for window in windows.values()
    ]


def run(records: list[bytes]) -> tuple[bytes | None, list[bytes]]:
    state: bytes | None = warm_state()
    found: list[bytes] = []
    for value in records:
        after = advance(state, KEY, value, LEVEL)
        state, found = after.state or state, found + after.anomalies
    return state, found


@cache
def result() -> tuple[bytes | None, list[bytes]]:
    return run([value for _, value in in_order()])


def test_the_drift_is_found() -> None:
    assert len(result()[1]) == 1


@settings(max_examples=6, deadline=None)
@given(st.randoms(use_true_random=False))
def test_order_repeats_and_lateness_change_nothing(random: Any) -> None:
    """Out of order by less than the wait, repeated within it, and again long after."""
    moved = sorted(in_order(), key=lambda one: one[0] + random.uniform(0, WAIT_MINUTES - 1))
    sent: list[bytes] = []
    for _, value in moved:
        sent.append(value)
        if random.random() < 0.3:
            sent.append(random.choice(sent))
    late = [random.choice(sent[: len(sent) // 2]) for _ in range(5)]
    assert run(sent + late) == result()


def test_a_lower_revision_changes_nothing_and_a_higher_one_counts() -> None:
    _, first = in_order()[0]
    window = avro.decode_as("BehaviourWindow", first)
    other = avro.encode("BehaviourWindow", window | {"revision": 0, "errors": window["tool_calls"]})
    assert run([first, other, *(value for _, value in in_order()[1:])]) == result()
    newer = avro.encode("BehaviourWindow", window | {"revision": 2})
    state, _ = run([other, first])
    assert state != run([first, newer])[0]


def test_a_state_is_the_same_after_writing_and_reading() -> None:
    state, _ = result()
    detector = avro.decode_as("AnomalyState", state)["detector"]
    assert State.decode(detector).encode() == detector


_numbers = st.floats(-5, 5)


@given(st.lists(_numbers, min_size=4, max_size=9), st.floats(-1e9, 1e9), st.data())
def test_no_tenant_moves_the_others_beyond_what_honest_ones_do(
    sane: list[float], poison: float, data: Any
) -> None:
    """The cap: whatever one tenant does, each other's median stays among its honest neighbours."""
    villain = data.draw(st.integers(0, len(sane) - 1))
    poisoned = np.array(sane)
    poisoned[villain] = poison
    medians = baseline.loo_median(poisoned)
    for n in set(range(len(sane))) - {villain}:
        honest = sorted(value for k, value in enumerate(sane) if k not in (n, villain))
        # One place to either side of the middle, and no further.
        odd = len(honest) % 2
        low, high = honest[(len(honest) - 1) // 2 - odd], honest[len(honest) // 2 + odd]
        assert low - 1e-9 <= medians[n] <= high + 1e-9


@given(st.lists(_numbers, min_size=2, max_size=8))
def test_the_median_of_the_others_is_that(numbers: list[float]) -> None:
    found = baseline.loo_median(np.array(numbers))
    for n in range(len(numbers)):
        assert np.isclose(found[n], np.median(numbers[:n] + numbers[n + 1 :]))


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=12), st.floats(1, 1e5))
def test_e_bh_flags_what_its_definition_says(values: list[float], limit: float) -> None:
    flagged = evidence.e_bh(np.array(values), limit)
    ordered = sorted(values, reverse=True)
    count = max((k for k, value in enumerate(ordered, 1) if value * k >= limit), default=0)
    assert flagged.sum() == count
    assert not count or min(np.array(values)[flagged]) >= max(np.array(values)[~flagged], default=0)


def paths(seed: int, count: int, windows: int, noise: str) -> Any:
    """Scores of unchanged features, as a baseline of the same noise makes them: (path, window, feature)."""
    random = np.random.default_rng(seed)

    def draw(size: tuple[int, int]) -> Any:
        if noise == "skewed":
            return np.exp(random.standard_normal(size)) - 1.6
        return random.poisson(0.5, size) - 0.5 if noise == "lumped" else random.standard_normal(size)

    past = draw((20_000, 4))
    spread = past.std(0)
    counts = normal.histogram(normal.places_of(past / spread), np.ones(past.shape))
    table = normal.scores(counts + 1e-3)
    fresh = draw((count * windows, 4))
    scores = normal.look_up(table, normal.places_of(fresh / spread))
    return normal.limited(scores, np.full(4, 2.0)).reshape(count, windows, 4)


def test_chance_exceeds_one_in_alpha_with_at_most_that_probability() -> None:
    """Ville's inequality, for whatever noise: three standard errors are left for the simulation."""
    windows = 200
    for seed, noise in enumerate(("normal", "skewed", "lumped")):
        scores = paths(seed, 1_000, windows, noise)
        logs = evidence.log_e(np.cumsum(scores, 1), np.arange(1.0, windows + 1)[None])
        highest = logs.max(1)
        for alpha in (0.1, 0.02):
            share = (highest >= np.log(1 / alpha)).mean()
            assert share <= alpha + 3 * np.sqrt(alpha / 1_000), (noise, alpha, share)


def test_the_detector_s_expectation_is_at_most_the_starts_it_has_tried() -> None:
    scores = paths(9, 500, 240, "normal")
    detector = evidence.Evidence.empty((), 500, 4)
    for minute in range(240):
        now = scores[:, minute]
        detector.add(minute, np.ones(500), now, now, now)
    _, lesser = detector.log_values(np.ones(500, bool))
    mean = np.exp(lesser).sum(0).mean()
    assert mean <= len(detector.starts)
    assert len(detector.starts) <= 240 / evidence.EVERY_MINUTES


def test_what_all_tenants_do_together_is_no_departure() -> None:
    random = np.random.default_rng(3)
    cohort = evidence.Cohort(np.zeros((6, 2)))
    together = [cohort.departures(random.standard_normal((6, 2)) + 3) for _ in range(60)]
    assert np.abs(np.mean(together[3:])) < 0.1
    calm = evidence.Cohort(np.zeros((6, 2)))
    alone = random.standard_normal((60, 6, 2))
    alone[:, 0] += 1
    departed = np.array([calm.departures(now) for now in alone])
    assert departed[:, 0].mean() > 0.8
    assert np.abs(departed[:, 1:].mean()) < 0.1
