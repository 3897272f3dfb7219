"""What is usual for each tenant of an agent: level, daily rhythm, spread, shape; and how unusual a window is.

Arrays have the axes (time, ..., tenant, feature); the dots are agents, of which a service has none and the
bench many. Each tenant is compared with its own past: a regression on the time of day, whose rhythm, not its
level, is drawn towards the median rhythm of the other tenants. No tenant moves that median by more than one
place, and every tenant has one vote in the shapes: that is the cap on its weight.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final, NamedTuple

import numpy as np

from evaluator_worker.anomaly import normal
from evaluator_worker.anomaly.normal import Floats

HARMONICS: Final = 3
TERMS: Final = 2 * HARMONICS + 1
DAY_MINUTES: Final = 1_440
BLOCK_MINUTES: Final = 60
HALF_LIFE_DAYS: Final = 14
FIRST_FIT_WINDOWS: Final = DAY_MINUTES // 2
"""Before so many windows of a tenant nothing is said of it."""
RHYTHM_VOTE: Final = 240.0
"""The others' rhythm counts as so many windows of the tenant's own."""
SHAPE_VOTE, NORMAL_VOTE = 300.0, 60.0
"""And their shape, and a normal's."""
LEAST_SD: Final = 0.02
MOST_LAG: Final = 0.9

DECAY: Final = 0.5 ** (BLOCK_MINUTES / DAY_MINUTES / HALF_LIFE_DAYS)
_RHYTHM: Final = np.diag([0.0] + [1.0] * (TERMS - 1))


def design(minutes: Floats) -> Floats:
    """The regressors of the minutes since 1970, shape (time, TERMS)."""
    angle = 2 * np.pi * (minutes % DAY_MINUTES)[:, None] / DAY_MINUTES * np.arange(1, HARMONICS + 1)
    return np.concatenate([np.ones((len(minutes), 1)), np.cos(angle), np.sin(angle)], 1)


@dataclass
class Sums:
    """Sufficient statistics. `windows`: those that the regression rests on; `judged`: those with residuals."""

    windows: Floats  # (..., tenant, feature)
    gram: Floats  # (..., tenant, feature, term, term)
    moment: Floats  # (..., tenant, feature, term)
    judged: Floats  # (..., tenant, feature)
    squares: Floats  # (..., tenant, feature): of residuals, and of these without what the minute before said
    lagged: Floats
    shape: Floats  # (..., tenant, feature, bin)
    cross: Floats  # (..., tenant, feature, feature): of scores

    @classmethod
    def empty(cls, agents: tuple[int, ...], tenants: int, features: int) -> Sums:
        """Nothing yet."""
        front = (*agents, tenants, features)
        return cls(
            np.zeros(front),
            np.zeros((*front, TERMS, TERMS)),
            np.zeros((*front, TERMS)),
            np.zeros(front),
            np.zeros(front),
            np.zeros(front),
            np.zeros((*front, normal.BINS)),
            np.zeros((*front, features)),
        )

    def add(self, other: Sums, kept: float = 1.0) -> None:
        """Add what another one has, after forgetting all but a share of what is here."""
        for field in fields(self):
            mine = getattr(self, field.name)
            mine *= kept
            mine += getattr(other, field.name)

    def drop(self, tenants: Floats) -> None:
        """Forget the tenants for which the mask (..., tenant) is true."""
        for field in fields(self):
            getattr(self, field.name)[tenants] = 0


@dataclass
class Model:
    """What is expected of windows, made from sums once an hour."""

    coefficients: Floats  # (..., tenant, feature, term)
    lag: Floats  # (..., tenant, feature)
    sd: Floats
    scores: Floats  # (..., tenant, feature, bin)
    whitening: Floats  # (..., 1, feature, feature)
    limits: Floats  # (feature,): of scores
    fitted: Floats  # (..., tenant, feature): whether residuals mean anything
    ready: Floats  # (..., tenant, feature): whether scores do


class Scored(NamedTuple):
    """Windows against a model: scores are standard normal if nothing has changed, 0 where nothing is known."""

    scores: Floats
    raw: Floats  # the same, before features were made independent of each other
    residuals: Floats
    places: Floats  # in the histograms


def fit(sums: Sums, limits: Floats, warm_up_windows: int = DAY_MINUTES) -> Model:
    """The model that the sums say."""
    shrunk = _coefficients(sums)
    judged = np.maximum(sums.judged, 1)
    variance = sums.squares / judged
    lag = np.clip(sums.lagged / np.maximum(sums.squares, 1e-12), -MOST_LAG, MOST_LAG)
    lag = np.where(np.abs(lag) < 2 / np.sqrt(judged), 0, lag)
    started = sums.judged > BLOCK_MINUTES
    sd = np.where(started, np.sqrt(variance * (1 - lag**2)), 1.0)
    return Model(
        coefficients=shrunk,
        lag=np.where(started, lag, 0),
        sd=np.maximum(sd, LEAST_SD),
        scores=normal.scores(_shapes(sums)),
        whitening=_whitening(sums)[..., None, :, :],
        limits=limits,
        fitted=sums.windows >= FIRST_FIT_WINDOWS,
        ready=sums.judged >= warm_up_windows,
    )


def score(model: Model, values: Floats, terms: Floats, before: Floats) -> Scored:
    """Windows (time, ..., tenant, feature), NaN where not known; `before`: residuals of the minute before."""
    expected = np.einsum("tp,...p->t...", terms, model.coefficients)
    known = ~np.isnan(values) & model.fitted
    residuals = np.where(known, values - expected, 0)
    previous = np.concatenate([before[None], residuals[:-1]])
    innovations = np.where(known, residuals - model.lag * previous, 0)
    places = normal.places_of(innovations / model.sd)
    raw = np.where(known, normal.look_up(model.scores, places), 0)
    white = np.einsum(
        "...kf,...kgf->...kg", raw, np.broadcast_to(model.whitening, (*raw.shape[1:], raw.shape[-1]))
    )
    return Scored(np.where(known, normal.limited(white, model.limits), 0), raw, residuals, places)


def collect(model: Model, values: Floats, terms: Floats, scored: Scored, before: Floats) -> Sums:
    """The sums of a few windows, to be added to those of a baseline."""
    seen = ~np.isnan(values) * 1.0
    judged = seen * model.fitted
    previous = np.concatenate([before[None], scored.residuals[:-1]])
    return Sums(
        windows=seen.sum(0),
        gram=np.einsum("t...,tp,tq->...pq", seen, terms, terms, optimize=True),
        moment=np.einsum("t...,tp->...p", np.nan_to_num(values), terms),
        judged=judged.sum(0),
        squares=(scored.residuals**2).sum(0),
        lagged=(scored.residuals * previous).sum(0),
        shape=normal.histogram(scored.places, judged),
        cross=np.einsum("t...f,t...g->...fg", scored.raw, scored.raw),
    )


def _coefficients(sums: Sums) -> Floats:
    """By tenant and feature; the rhythm drawn towards the median rhythm of the others."""
    own = _solve(sums.gram + 10 * _RHYTHM + 1e-6 * np.eye(TERMS), sums.moment)
    tenants = own.shape[-3]
    if tenants == 1:
        return own
    others = loo_median(np.moveaxis(own, -3, -1))
    towards = np.moveaxis(others, -1, -3) * np.diag(_RHYTHM)
    gram = sums.gram + RHYTHM_VOTE * _RHYTHM + 1e-6 * np.eye(TERMS)
    return _solve(gram, sums.moment + RHYTHM_VOTE * towards)


def _solve(gram: Floats, moment: Floats) -> Floats:
    return np.asarray(np.linalg.solve(gram, moment[..., None])[..., 0])


def loo_median(values: Floats) -> Floats:
    """For each along the last axis, the median of the others. Needs two or more."""
    count = values.shape[-1]
    order = np.argsort(values, -1, kind="stable")
    ranks = np.argsort(order, -1, kind="stable")
    ordered = np.take_along_axis(values, order, -1)

    def without(place: int) -> Floats:
        """What is at that place when the value of each rank is left out."""
        low, high = ordered[..., place, None], ordered[..., place + 1, None]
        return np.where(ranks > place, low, high)

    left = count - 1
    if left % 2:
        return without(left // 2)
    return (without(left // 2 - 1) + without(left // 2)) / 2


def _shapes(sums: Sums) -> Floats:
    """Each tenant's own histogram, and one vote for each of all tenants, and a normal's."""
    total = sums.shape.sum(-1, keepdims=True)
    vote = np.where(total > 0, sums.shape / np.maximum(total, 1), normal.STANDARD)
    pooled = vote.mean(-3, keepdims=True)
    return np.asarray(sums.shape + SHAPE_VOTE * pooled + NORMAL_VOTE * normal.STANDARD + 1e-3)


def _whitening(sums: Sums) -> Floats:
    """The inverse square root of the features' correlation: each stays as close to itself as can be."""
    judged = np.maximum(sums.judged.max(-1), 1)[..., None, None]
    pooled = (sums.cross / judged).mean(-3)
    features = pooled.shape[-1]
    scale = np.sqrt(np.maximum(np.diagonal(pooled, axis1=-2, axis2=-1), 0.05))
    correlation = pooled / (scale[..., :, None] * scale[..., None, :])
    correlation = np.where(np.eye(features, dtype=bool), 1.0, 0.98 * correlation)
    values, vectors = np.linalg.eigh(correlation)
    root = 1 / np.sqrt(np.maximum(values, 0.05))
    return np.asarray(np.einsum("...ij,...j,...kj->...ik", vectors, root, vectors))


def shift(sums: Sums, tenants: Floats, steps: Floats) -> None:
    """Move the level of the tenants (a mask) by steps (..., tenant, feature), as if it had always been so."""
    moved = steps[..., None] * sums.gram[..., 0]
    sums.moment[tenants] += moved[tenants]
