"""Evidence that scores have moved: an e-detector for each tenant.

For a change at a given minute, the product over the windows since is an e-process: each feature's scores, which
are standard normal if nothing changed, bet on a shift of unknown size by mixing over it (Robbins 1970), and
features are mixed over which of them moved. A detector is the sum over possible minutes of change (Shin, Ramdas
and Rinaldo 2024: e-SR): if nothing changed, its expectation is at most the number of minutes tried so far, so
that it exceeds c once in c tries at most.

What is tested is departure from the tenant's own past *and* from its agent's other tenants. The evidence is the
lesser of the two, which is valid if either has not changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from evaluator_worker.anomaly.baseline import loo_median
from evaluator_worker.anomaly.normal import Floats

EVERY_MINUTES: Final = 5
"""A change is taken to begin at a multiple of this,"""
NEAR_MINUTES: Final = 120
"""for changes further back of"""
SELDOM_MINUTES: Final = 60
FAR_MINUTES: Final = 480
"""and not further back than this."""
LEAST_WINDOWS: Final = 12
"""So many windows since the change are needed: a burst of calls is over by then."""
MARGIN: Final = 0.04
"""A mean that is off by less (in standard deviations) counts as unmoved: a past is known only so well."""
PRIOR_VARIANCE: Final = 1.0
MOVED_SHARE: Final = 0.15
"""Of the features, beforehand."""
MEMORY: Final = 0.15
"""Of the others' movement: the weight of the latest minute."""
DOUBT: Final = 6.0
"""The others have moved if their mean movement's square is more than so many times its variance."""
_LOOK: Final = 2.0
_TRIES_A_MONTH: Final = 30 * 1_440 // EVERY_MINUTES


def threshold(tenants: int, alarms_a_month: float) -> float:
    """The evidence above which false alarms of an agent with so many tenants are guaranteed to be this few."""
    return tenants * _TRIES_A_MONTH / alarms_a_month


def e_bh(evidence: Floats, limit: Floats | float) -> Floats:
    """Which of the tenants (last axis) to flag: the e-BH procedure (Wang and Ramdas 2022), as a mask.

    The k strongest are flagged if each has at least `limit` / k. `limit` is `threshold` of all tenants.
    """
    order = np.argsort(-evidence, -1, kind="stable")
    ordered = np.take_along_axis(evidence, order, -1)
    ranks = np.arange(1, evidence.shape[-1] + 1)
    enough = ordered * ranks >= limit
    count = np.where(enough, ranks, 0).max(-1)
    flagged = np.zeros(evidence.shape, bool)
    np.put_along_axis(flagged, order, ranks <= count[..., None], -1)
    return flagged


def log_bets(totals: Floats, windows: Floats) -> Floats:
    """Of each feature, the logarithm of its e-process: sums of scores (..., feature) over windows (...)."""
    count = windows[..., None]
    excess = np.maximum(np.abs(totals) - MARGIN * count, 0)
    spread = 1 + PRIOR_VARIANCE * count
    return np.asarray(PRIOR_VARIANCE * excess**2 / (2 * spread) - 0.5 * np.log(spread) - np.log(2))


def log_e(totals: Floats, windows: Floats) -> Floats:
    """The logarithm of the e-process of a tenant: features mixed over which of them moved."""
    bets = log_bets(totals, windows)
    # log(1 - p + p exp(bet)), safe for large bets
    return np.asarray(np.logaddexp(np.log1p(-MOVED_SHARE), np.log(MOVED_SHARE) + bets).sum(-1))


@dataclass
class Cohort:
    """How the others move: (..., tenant, feature), the mean of their median score over the last minutes."""

    movement: Floats

    def departures(self, scores: Floats) -> Floats:
        """Scores (..., tenant, feature) less what the others do at this minute.

        What the others do is drawn towards nothing (James and Stein 1961): as long as they have not moved by
        more than chance, nothing is subtracted and no noise is added. Fewer than two others say nothing.
        """
        tenants = scores.shape[-2]
        if tenants < 3:
            return scores
        others = np.swapaxes(loo_median(np.swapaxes(scores, -1, -2)), -1, -2)
        variance = 1.57 / (tenants - 1)  # of a median of normals
        self.movement = (1 - MEMORY) * self.movement + MEMORY * others
        chance = DOUBT * variance * MEMORY / (2 - MEMORY)
        weight = np.maximum(0, 1 - chance / np.maximum(self.movement**2, 1e-12))
        return np.asarray((scores - weight * others) / np.sqrt(1 + weight**2 * variance))


@dataclass
class Evidence:
    """Sums of scores since each minute at which a change may have begun."""

    starts: list[int]
    windows: Floats  # (start, ..., tenant)
    own: Floats  # (start, ..., tenant, feature)
    departed: Floats  # (start, ..., tenant, feature)
    residuals: (
        Floats  # (start, ..., tenant, feature): not scores, but what a feature was above what was expected
    )

    @classmethod
    def empty(cls, agents: tuple[int, ...], tenants: int, features: int) -> Evidence:
        """None yet."""
        front = (0, *agents, tenants)
        return cls([], np.zeros(front), *(np.zeros((*front, features)) for _ in range(3)))

    def add(self, minute: int, present: Floats, own: Floats, departed: Floats, residuals: Floats) -> None:
        """Take in one minute of scores (..., tenant, feature), where `present` (..., tenant) is 1."""
        self._forget(minute)
        if minute % EVERY_MINUTES == 0 or not self.starts:
            self.widen_starts([minute])
        self.windows += present
        self.own += own
        self.departed += departed
        self.residuals += residuals

    def widen_starts(self, starts: list[int]) -> None:
        """Make room for further starts, of which nothing is known."""
        self.starts = self.starts + starts
        self._replace(lambda old: np.concatenate([old, np.zeros((len(starts), *old.shape[1:]))]))

    def arrays(self) -> list[Floats]:
        """What there is of each start."""
        return [self.windows, self.own, self.departed, self.residuals]

    def reset(self, tenants: Floats) -> None:
        """Forget what speaks for the tenants (a mask)."""
        for sums in self.arrays():
            sums[:, tenants] = 0

    def log_values(self, tenants: Floats) -> tuple[Floats, Floats]:
        """Logarithms of the e-processes since each start, (start, tenant), of the tenants in a mask.

        The first is against the own past, the second the lesser of that and departure from the others.
        """
        windows = self.windows[:, tenants]
        own = np.where(windows < LEAST_WINDOWS, -np.inf, log_e(self.own[:, tenants], windows))
        return own, np.minimum(own, log_e(self.departed[:, tenants], windows))

    def worth_a_look(self) -> Floats:
        """The tenants (a mask) for which a change is at all likely: the rest need not be computed."""
        spread = 2 * (1 + PRIOR_VARIANCE * self.windows)[..., None]
        bets = np.maximum(PRIOR_VARIANCE * self.own**2 / spread - 0.5 * np.log(spread / 2) - _LOOK, 0)
        return np.asarray(bets.sum(-1).max(0, initial=0) > _LOOK)

    def _forget(self, minute: int) -> None:
        kept = [n for n, start in enumerate(self.starts) if _is_kept(minute - start, start)]
        if len(kept) < len(self.starts):
            self.starts = [self.starts[n] for n in kept]
            self._replace(lambda old: old[kept])

    def _replace(self, change: Callable[[Floats], Floats]) -> None:
        for name in ("windows", "own", "departed", "residuals"):
            setattr(self, name, change(getattr(self, name)))


def _is_kept(age: int, start: int) -> bool:
    return age < NEAR_MINUTES or (start % SELDOM_MINUTES == 0 and age < FAR_MINUTES)
