"""The one statistic behind every dimension: what can be said of a share from so much evidence.

Evidence is weighed in units, for and against. The share has a Beta(1 + for, 1 + against) posterior (uniform
prior), and what is reported is its lower bound: mean minus 1.645 standard deviations, which a normal
distribution exceeds with 95 %. So little evidence scores low, and more of it for the agent
never scores lower.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt
from typing import Final, NamedTuple

HALF_LIFE_DAYS: Final = 14
TENANT_UNITS: Final = 100.0
"""One tenant's evidence on a dimension counts at most so many units, whatever there is of it."""

_Z_95_ONE_SIDED: Final = 1.6448536269514722


class Units(NamedTuple):
    """Evidence for and against."""

    good: float
    bad: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.good + self.bad

    def capped(self, most: float) -> Units:
        """In the same proportion, at most `most` in all."""
        scale = min(1.0, most / self.total) if self.total else 1.0
        return Units(self.good * scale, self.bad * scale)


class Estimate(NamedTuple):
    """A dimension's score from 0 to 100 (None without evidence), confidence from 0 to 1, units of evidence."""

    score: float | None
    confidence: float
    sample_size: float


NONE: Final = Estimate(None, 0.0, 0.0)


def decay(age_days: int, half_life_days: int = HALF_LIFE_DAYS) -> float:
    """What evidence of that age still weighs: half after each half-life."""
    return float(2.0 ** (-age_days / half_life_days))


def estimate(evidence: Iterable[Units]) -> Estimate:
    """Of the evidence of all tenants (or issuers), each capped by whoever made it."""
    good = bad = 0.0
    for one in evidence:
        good += one.good
        bad += one.bad
    if not good + bad:
        return NONE
    a, b = 1.0 + good, 1.0 + bad
    n = a + b
    deviation = sqrt(a * b / (n * n * (n + 1.0)))
    lower = a / n - _Z_95_ONE_SIDED * deviation
    confidence = 1.0 - 2.0 * _Z_95_ONE_SIDED * deviation
    return Estimate(100.0 * max(0.0, lower), max(0.0, confidence), good + bad)
