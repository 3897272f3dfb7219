"""When nights are computed, and what a fall comes to, without ClickHouse."""

from __future__ import annotations

from threading import Event
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactstream import clock
from pactstream.errors import Retryable
from pactstream.scores.dimensions import WEIGHTS
from pactstream.scores.tally import DAY_MICROS
from score_aggregator import nightly, regression
from tests.score_tools import HOUR, TODAY

SCORES = st.lists(st.none() | st.floats(0, 100), min_size=12, max_size=12).filter(
    lambda scores: any(one is not None for one in scores)
)


def composite(scores: list[float | None]) -> tuple[float, float]:
    """The weighted mean of what is covered, and the covered weight."""
    covered = [(weight, one) for weight, one in zip(WEIGHTS.values(), scores, strict=True) if one is not None]
    weight = sum(weight for weight, _ in covered)
    return sum(weight * one for weight, one in covered) / weight, float(weight)


@given(SCORES, SCORES)
def test_contributions_sum_to_the_change_exactly(now: list[float | None], before: list[float | None]) -> None:
    (here, covered), (there, once) = composite(now), composite(before)
    parts = regression.contributions(here, covered, now, there, once, before)
    assert sum(parts.values()) == regression.change_micros(here, there)
    for (name, part), one, other in zip(parts.items(), now, before, strict=True):
        if one is None and other is None:
            assert abs(part) <= 12, name  # rounding, where it is the largest of none


class Nights:
    """What `nightly.run` is called with, and the clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *times: int) -> None:
        self.days: list[int] = []
        self.stop = Event()
        self.failures = 0
        self._times = list(times)
        monkeypatch.setattr(nightly, "run", self._run)
        monkeypatch.setattr(nightly, "_CHECK_SECONDS", 0)
        monkeypatch.setattr(clock, "now_micros", self._now)

    def _run(self, _: Any, day: int) -> nightly.Night:
        if self.failures:
            self.failures -= 1
            raise Retryable("planned: ClickHouse is away")
        self.days.append(day)
        return nightly.Night(1, 0)

    def _now(self) -> int:
        if len(self._times) == 1:
            self.stop.set()
            return self._times[0]
        return self._times.pop(0)


MIDNIGHT = TODAY * DAY_MICROS


def test_a_night_is_computed_at_the_start_and_once_a_day_after_the_delay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = [
        MIDNIGHT + HOUR,
        MIDNIGHT + 2 * HOUR,
        MIDNIGHT + 24 * HOUR,
        MIDNIGHT + 25 * HOUR,
        MIDNIGHT + 26 * HOUR,
    ]
    nights = Nights(monkeypatch, *times)
    nightly.Nightly(None, 1_800).run(nights.stop)  # type: ignore[arg-type]
    assert nights.days == [TODAY, TODAY + 1]


def test_before_the_delay_is_over_it_is_still_the_night_before(monkeypatch: pytest.MonkeyPatch) -> None:
    nights = Nights(monkeypatch, MIDNIGHT + 60, MIDNIGHT + 60)
    nightly.Nightly(None, 1_800).run(nights.stop)  # type: ignore[arg-type]
    assert nights.days == [TODAY - 1]


def test_a_night_that_failed_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    nights = Nights(monkeypatch, *[MIDNIGHT + HOUR] * 9)
    nights.failures = 2
    nightly.Nightly(None, 0).run(nights.stop)  # type: ignore[arg-type]
    assert nights.days == [TODAY]
