"""Fleets of agents that are made up, with labels: what detectors of drift are measured on.

Everything comes from one seed. A window is a row of feature values, as `evaluator_worker.anomaly.features`
makes them of counts and sketches. One standard deviation is that of a feature's windows around its rhythm.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[Any]

FEATURES: Final = 12
DAY: Final = 1_440
START: Final = 29_000_000 // DAY * DAY
"""The first minute of every fleet, since 1970: a midnight."""

_CALL_RATE: Final = 0
_LUMPED: Final = (1, 2)
"""Error and violation rates: few values, most of them the lowest."""
_SKEWED: Final = (3, 5)
_HEAVY: Final = (4, 6)
_SHARED: Final = 0.15
"""Of a window's variance, what all tenants of an agent have in common in a minute."""


@dataclass(frozen=True)
class Shift:
    """A drift: in one tenant of each agent, features move by so many standard deviations, at once or slowly."""

    minute: int
    size: float
    moved: int = 1
    ramp_minutes: int = 0
    everywhere: bool = False
    """In all tenants: a roll-out of a version, not a drift."""


@dataclass
class Fleet:
    """Agents, each with the same number of tenants; `blocks` tells their windows hour by hour."""

    seed: int
    agents: int
    tenants: int = 6
    shift: Shift | None = None
    bursts_a_day: float = 3.0
    poisoned: float = 0.0
    """The last tenant of each agent swings by so many standard deviations in all features, day and night."""
    random: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)
        shape = (self.agents, self.tenants, FEATURES)
        self.level = self.random.normal(0, 3, shape)
        self.scale = np.exp(self.random.normal(0, 0.4, shape))
        # A working day with soft edges: no sum of a few harmonics. Tenants differ in hours and extent.
        agent_hours = self.random.uniform(8, 16, (self.agents, 1, 1))
        self.noon = agent_hours + self.random.normal(0, 0.7, (self.agents, self.tenants, 1))
        self.width = self.random.uniform(1.0, 2.0, (self.agents, 1, 1))
        self.rhythm = self.random.normal(0, 0.8, (self.agents, 1, FEATURES)) + self.random.normal(0, 0.2, shape)
        self.rhythm[..., _CALL_RATE] += 2
        self.burst_left = np.zeros((self.agents, self.tenants))
        self.directions = self._directions()

    def _directions(self) -> Floats:
        """Of each agent, which features of its first tenant move, and which way."""
        moved = 0 if self.shift is None else self.shift.moved
        order = np.argsort(self.random.random((self.agents, FEATURES)), -1)
        signs = self.random.choice([-1.0, 1.0], (self.agents, FEATURES))
        chosen = np.zeros((self.agents, FEATURES))
        np.put_along_axis(chosen, order[:, :moved], 1.0, -1)
        return np.asarray(chosen * signs)

    def change(self, shift: Shift) -> None:
        """From now on, this shift and no other."""
        self.shift = shift
        self.directions = self._directions()

    def block(self, first: int, minutes: int) -> Floats:
        """Windows of the minutes from `START + first`: (time, agent, tenant, feature). Call it in order."""
        shape = (minutes, self.agents, self.tenants, FEATURES)
        noise = self.random.standard_normal(shape)
        shared = self.random.standard_normal((minutes, self.agents, 1, FEATURES))
        noise = np.sqrt(1 - _SHARED) * noise + np.sqrt(_SHARED) * shared
        noise[..., 4] = 0.6 * noise[..., 3] + 0.8 * noise[..., 4]
        noise[..., 8] = -0.5 * noise[..., 7] + np.sqrt(0.75) * noise[..., 8]
        minute = np.arange(first, first + minutes)
        for n in _SKEWED:
            noise[..., n] = (np.exp(0.4 * noise[..., n]) - 1.0833) / 0.4518
        for n in _HEAVY:
            noise[..., n] = np.sinh(0.5 * noise[..., n]) / 0.5726
        for n in _LUMPED:
            noise[..., n] = (np.maximum(np.round(1.5 * noise[..., n] - 0.5), 0) - 0.43) / 0.77
        noise[..., _CALL_RATE] += 3 * self._bursts(minutes)
        noise += self._shifted(minute)
        if self.poisoned:
            noise[:, :, -1] += self.poisoned * np.sign(np.sin(2 * np.pi * minute / 311))[:, None, None]
        return np.asarray(self.level + self.scale * (noise + self._daily(minute)))

    def _bursts(self, minutes: int) -> Floats:
        """1 while a tenant has a burst of calls: a few minutes, a few times a day."""
        begun = self.random.random((minutes, self.agents, self.tenants)) < self.bursts_a_day / DAY
        length = self.random.integers(2, 9, begun.shape)
        on = np.zeros(begun.shape)
        for n in range(minutes):
            self.burst_left = np.where(begun[n], length[n], np.maximum(self.burst_left - 1, 0))
            on[n] = self.burst_left > 0
        return on

    def _daily(self, minute: Floats) -> Floats:
        hour = (minute % DAY / 60.0)[:, None, None, None]
        away = np.abs((hour - self.noon + 12) % 24 - 12)
        busy = 1 / (1 + np.exp((away - 4.5) / self.width))
        return np.asarray(self.rhythm * busy)

    def _shifted(self, minute: Floats) -> Floats:
        moved = np.zeros((len(minute), self.agents, self.tenants, FEATURES))
        if self.shift is None:
            return moved
        since = minute - self.shift.minute
        grown = np.clip((since + 1) / max(self.shift.ramp_minutes, 1), 0, 1) * (since >= 0)
        where = slice(None) if self.shift.everywhere else slice(0, 1)
        moved[:, :, where] = self.shift.size * grown[:, None, None, None] * self.directions[:, None, :]
        return moved
