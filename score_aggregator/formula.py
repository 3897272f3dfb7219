"""From counts to a score. Pure; `docs/scores.md` explains each figure.

Only what is computed is reported: a dimension without evidence is absent, never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt

PACT_COMPLIANCE = "pact_compliance"
"""Share of the calls bound by a pact that were valid."""

WEIGHTS: Mapping[str, float] = {PACT_COMPLIANCE: 1.0}
"""What each dimension weighs in the composite, relative to the others that are computed."""

_Z_95 = 1.959963984540054
"""The standard normal distribution's 97.5 % quantile."""


def compliance(valid: int, bound: int) -> float | None:
    """`valid / bound`, from 0 to 1; None when nothing was bound."""
    return valid / bound if bound else None


def dimensions(valid: int, bound: int) -> dict[str, float]:
    """The dimensions that the counts support, each from 0 to 1."""
    rate = compliance(valid, bound)
    return {} if rate is None else {PACT_COMPLIANCE: rate}


def composite(computed: Mapping[str, float]) -> float | None:
    """100 times the weighted mean of the computed dimensions; None when there are none."""
    weight = sum(WEIGHTS[name] for name in computed)
    if not weight:
        return None
    return 100 * (sum(WEIGHTS[name] * figure for name, figure in computed.items()) / weight)


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % score interval of a proportion (E. B. Wilson, JASA 22, 1927), within 0 to 1; `trials` > 0.

    Unlike the textbook interval it holds for few trials and for proportions near 0 and 1, where agents live.
    """
    z2 = _Z_95 * _Z_95
    rate = successes / trials
    scale = 1 + z2 / trials
    centre = (rate + z2 / (2 * trials)) / scale
    half = _Z_95 * sqrt(rate * (1 - rate) / trials + z2 / (4 * trials * trials)) / scale
    return max(0.0, centre - half), min(1.0, centre + half)


def confidence(valid: int, bound: int) -> float | None:
    """One minus the width of the compliance's 95 % interval: near 0 for few calls, towards 1 with many."""
    if not bound:
        return None
    low, high = wilson_interval(valid, bound)
    return 1 - (high - low)
