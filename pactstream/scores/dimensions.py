"""The twelve dimensions and their weights, and the tiers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, TypeAlias

METHOD: Final = 1
"""Version of the method: raised when a figure changes its meaning."""

WINDOW_DAYS: Final = 90
"""Evidence of so many days (UTC) counts; attestations count until they expire."""

Dimension: TypeAlias = Literal[
    "accuracy",
    "reliability",
    "safety",
    "self_audit",
    "security",
    "bond",
    "latency",
    "scope_honesty",
    "cost_efficiency",
    "model_compliance",
    "runtime_compliance",
    "harness_stability",
]

WEIGHTS: Final[Mapping[Dimension, int]] = MappingProxyType(
    {
        "accuracy": 14,
        "reliability": 13,
        "safety": 11,
        "self_audit": 9,
        "security": 8,
        "bond": 8,
        "latency": 8,
        "scope_honesty": 7,
        "cost_efficiency": 7,
        "model_compliance": 5,
        "runtime_compliance": 5,
        "harness_stability": 5,
    }
)
"""What each dimension weighs in the composite: 100 in all."""

Tier: TypeAlias = Literal["bronze", "silver", "gold", "platinum"]


class Demand(NamedTuple):
    """What a tier asks for: at least this composite, this confidence and this many units of evidence."""

    tier: Tier
    composite: float
    confidence: float
    sample_size: float


TIERS: Final = (
    Demand("platinum", 90, 0.70, 80),
    Demand("gold", 75, 0.55, 60),
    Demand("silver", 60, 0.40, 35),
    Demand("bronze", 40, 0.25, 20),
)
"""From the highest: an agent's tier is the first whose demands it meets."""
