"""Normal scores of histograms: what makes any distribution's past comparable with a standard normal.

A value is replaced by the mean of a standard normal within the quantiles that its bin spans. By Jensen's
inequality the score's exponential moments are at most those of the normal, whatever the distribution, ties and
lumps included: e-values built on scores stay e-values, as far as the past tells the distribution.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[Any]

BINS: Final = 20
REACH: Final = 4.0
"""Bins are equal from -REACH to +REACH standard deviations; the outermost are open."""

_NORMAL = NormalDist()
_GRID: Final = 1.0 / (1.0 + np.exp(-np.linspace(-14, 14, 2_001)))
_DENSITY: Final = np.array([_NORMAL.pdf(_NORMAL.inv_cdf(p)) for p in _GRID])
_EDGES: Final = np.linspace(-REACH, REACH, BINS + 1)[1:-1]
_QUANTILES: Final = np.array([_NORMAL.inv_cdf((n + 0.5) / 1_000) for n in range(1_000)])
_BELOW: Final = np.array([0.0, *(_NORMAL.cdf(edge) for edge in _EDGES), 1.0])

STANDARD: Final = np.diff(_BELOW)
"""The shape that a feature is taken to have before anything is known: a normal's."""


def limited(scores: Floats, limits: Floats) -> Floats:
    """Scores limited by feature (the last axis), and scaled to variance 1 again.

    Limited normals are strictly sub-Gaussian, so bets on them stay e-values; and what comes in bursts of a few
    minutes proves no change, however large.
    """
    variance = (np.clip(_QUANTILES, -limits[:, None], limits[:, None]) ** 2).mean(-1)
    return np.asarray(np.clip(scores, -limits, limits) / np.sqrt(variance))


def places_of(standardised: Floats) -> Floats:
    """Where values, in standard deviations from what is expected, fall: 1 is the middle of the second bin."""
    return np.clip((standardised + REACH) * (BINS / (2 * REACH)) - 0.5, 0, BINS - 1.001)


def look_up(table: Floats, places: Floats) -> Floats:
    """What a table (..., bin) says at places (time, ...), linear between the middles of bins.

    Linear, because a rate takes few values: a step would turn an error in what is expected, however small, into
    another score for most windows.
    """
    low = places.astype(np.int64)
    share = places - low
    at = np.arange(int(np.prod(table.shape[:-1]))).reshape(table.shape[:-1]) * BINS + low
    flat = table.ravel()
    return np.asarray(flat[at] * (1 - share) + flat[at + 1] * share)


def histogram(places: Floats, weights: Floats) -> Floats:
    """Counts (..., bin) of places (time, ...), each shared between the bins on its two sides."""
    front = places.shape[1:]
    cells = int(np.prod(front))
    low = places.astype(np.int64)
    share = places - low
    at = (np.arange(cells).reshape(front) * BINS + low).ravel()
    size = cells * BINS
    counts = np.bincount(at, (weights * (1 - share)).ravel(), size)
    counts += np.bincount(at + 1, (weights * share).ravel(), size)
    return np.asarray(counts.reshape(*front, BINS))


def scores(counts: Floats) -> Floats:
    """The normal score of each bin, of histograms along the last axis; counts must be positive."""
    shares = counts / counts.sum(-1, keepdims=True)
    below = np.clip(np.cumsum(shares, -1), 0, 1)
    density = np.interp(below, _GRID, _DENSITY, left=0, right=0)
    before = np.concatenate([np.zeros_like(density[..., :1]), density[..., :-1]], -1)
    density[..., -1] = 0
    return np.asarray((before - density) / shares)
