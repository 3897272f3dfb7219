"""Detectors of drift on made-up fleets, many agents at once: ours, and those that it is compared with.

All are given the same: what a window is above what is usual for its tenant at that time of day, by our own
baselines, in standard deviations. On plain values a daily rhythm alone would set the peers off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from evaluator_worker.anomaly import baseline, evidence
from tests.bench.anomaly_sim import FEATURES, START, Fleet, Floats

LIMITS: Final = np.array([0.75] + [2.0] * (FEATURES - 1))
WARM_DAYS: Final = 6
BLOCK: Final = baseline.BLOCK_MINUTES
RUN: Final = 30
"""Windows of a moving mean."""


@dataclass
class Hour:
    """What detectors say of an hour: (minute, agent, tenant)."""

    ours: Floats
    """Logarithm of the evidence, against the own past and the others."""
    own: Floats
    """Of that against the own past alone."""
    single: Floats
    """The largest deviation of one window, in standard deviations."""
    mean: Floats
    """Of the mean of the last `RUN` windows."""
    cusum: Floats
    """Of a CUSUM that is told the size of the shift, one standard deviation."""
    plain: Floats
    """(minute, agent, tenant, feature): deviations, for others to look at."""


class Watch:
    """All detectors over one fleet."""

    def __init__(self, fleet: Fleet) -> None:
        shape = (fleet.agents, fleet.tenants, FEATURES)
        self.fleet = fleet
        self.minute = 0
        self._sums = baseline.Sums.empty((fleet.agents,), fleet.tenants, FEATURES)
        self._blocks: list[baseline.Sums] = []
        self._model = baseline.fit(self._sums, LIMITS)
        self._before = np.zeros(shape)
        self._cohort = evidence.Cohort(np.zeros(shape))
        self._evidence = evidence.Evidence.empty((fleet.agents,), fleet.tenants, FEATURES)
        self._tail = np.zeros((RUN - 1, *shape))
        self._cusum = np.zeros((2, *shape))

    def warm_up(self) -> Watch:
        """Learn for `WARM_DAYS`; evidence is gathered at the end only."""
        while self.minute < WARM_DAYS * baseline.DAY_MINUTES:
            self.hour(weigh=self.minute >= WARM_DAYS * baseline.DAY_MINUTES - evidence.FAR_MINUTES)
        return self

    def hour(self, *, weigh: bool = True) -> Hour:
        """The next hour."""
        values = self.fleet.block(self.minute, BLOCK)
        terms = baseline.design(START + np.arange(self.minute, self.minute + BLOCK))
        scored = baseline.score(self._model, values, terms, self._before)
        self._blocks.append(baseline.collect(self._model, values, terms, scored, self._before))
        self._before = scored.residuals[-1]
        said = self._say(scored, weigh)
        if len(self._blocks) > 2:
            self._sums.add(self._blocks.pop(0), baseline.DECAY)
        if self.minute < 3 * baseline.DAY_MINUTES or self.minute % (4 * BLOCK) == 0:
            self._model = baseline.fit(self._sums, LIMITS)
        self.minute += BLOCK
        return said

    def _say(self, scored: baseline.Scored, weigh: bool) -> Hour:
        shape = (BLOCK, self.fleet.agents, self.fleet.tenants)
        ours, own, cusum = (np.full(shape, -9.0) for _ in range(3))
        plain = scored.residuals / self._model.sd
        run = np.concatenate([self._tail, plain])
        self._tail = run[-(RUN - 1) :]
        sums = np.concatenate([np.zeros((1, *run.shape[1:])), run.cumsum(0)])
        mean = np.abs(sums[RUN:] - sums[:-RUN]).max(-1) / np.sqrt(RUN)
        if weigh:
            for n, now in enumerate(scored.scores):
                ours[n], own[n] = self._weigh(n, now, scored.residuals[n])
                step = np.stack([now, -now]) - 0.5
                self._cusum = np.maximum(self._cusum + step, 0)
                cusum[n] = self._cusum.max((0, -1))
        return Hour(ours, own, np.abs(plain).max(-1), mean, cusum, plain)

    def _weigh(self, n: int, scores: Floats, residuals: Floats) -> tuple[Floats, Floats]:
        front = (self.fleet.agents, self.fleet.tenants)
        departed = self._cohort.departures(scores)
        self._evidence.add(START + self.minute + n, np.ones(front), scores, departed, residuals)
        likely = self._evidence.worth_a_look()
        lesser, own = np.full(front, -9.0), np.full(front, -9.0)
        if likely.any():
            past, both = self._evidence.log_values(likely)
            own[likely] = np.logaddexp.reduce(past, 0, initial=-9)
            lesser[likely] = np.logaddexp.reduce(both, 0, initial=-9)
        return lesser, own


def peaks(said: Floats, floor: float, apart: int = 60) -> Floats:
    """The peaks above `floor` of each tenant (minute, agent, tenant), highest first; two are so far apart."""
    flat = said.reshape(len(said), -1)
    found: list[Any] = []
    for n in np.flatnonzero((flat > floor).any(0)):
        at = np.flatnonzero(flat[:, n] > floor)
        found += [flat[part, n].max() for part in np.split(at, np.flatnonzero(np.diff(at) > apart) + 1)]
    return np.sort(np.array(found))[::-1]


def level_for(found: Floats, months: float, budget: float, tail: int = 30) -> float:
    """The level that peaks exceed `budget` times an agent and month, by a straight line through the highest.

    The number of peaks above a level falls off exponentially; the line makes use of more of them than the few
    that a budget leaves.
    """
    highest = found[:tail]
    logs = np.log((np.arange(len(highest)) + 0.7) / months)
    slope, at_zero = np.polyfit(highest, logs, 1)
    return float((np.log(budget) - at_zero) / slope)
