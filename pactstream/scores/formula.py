"""From evidence to a score: twelve dimensions, composite, confidence, tier. Pure; see `docs/scores.md`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from pactstream import clock
from pactstream.scores.attested import claim_json
from pactstream.scores.dimensions import METHOD, TIERS, WEIGHTS, Dimension, Tier
from pactstream.scores.findings import FROM_ATTESTATIONS, Evidence, Finding, findings

MIN_COVERED_WEIGHT: Final = 33
"""Less makes no composite: neither attestations alone (30) do, nor does telemetry without a pact."""


class Scored(NamedTuple):
    """An agent's score at a moment."""

    evidence: Evidence
    dimensions: Mapping[Dimension, Finding]
    composite: float | None
    confidence: float | None
    covered_weight: float
    sample_size: float
    tier: Tier | None

    def fields(self) -> dict[str, Any]:
        """As the fields of the Avro record `Score` that are computed here."""
        return {
            "composite": self.composite,
            "confidence": self.confidence,
            "points": None if self.composite is None else round(10 * self.composite),
            "covered_weight": self.covered_weight,
            "tier": self.tier,
            "sample_size": self.sample_size,
            "method": METHOD,
            "dimension_scores": [
                {
                    "name": name,
                    "weight": float(WEIGHTS[name]),
                    "score": finding.estimate.score,
                    "confidence": finding.estimate.confidence,
                    "sample_size": finding.estimate.sample_size,
                    "inputs": dict(finding.inputs),
                }
                for name, finding in self.dimensions.items()
            ],
            "attestations": [
                {
                    "attestation_id": held.said.jti,
                    "kind": held.kind,
                    "issuer": held.said.iss,
                    "issued_at_micros": held.said.iat * clock.MICROS_PER_SECOND,
                    "expires_at_micros": held.said.exp * clock.MICROS_PER_SECOND,
                    "sequence": held.sequence,
                    "claim": claim_json(held.said.claim),
                }
                for held in self.evidence.attestations
            ],
        }


def score(evidence: Evidence) -> Scored:
    """What the evidence comes to."""
    found = findings(evidence)
    scores = {name: one.estimate.score for name, one in found.items()}
    covered = {name: value for name, value in scores.items() if value is not None}
    weight = sum(WEIGHTS[name] for name in covered)
    composite = confidence = None
    if weight >= MIN_COVERED_WEIGHT:
        composite = sum(WEIGHTS[name] * value for name, value in covered.items()) / weight
        confidence = sum(WEIGHTS[name] * one.estimate.confidence for name, one in found.items()) / 100
    size = max(one.estimate.sample_size for name, one in found.items() if name not in FROM_ATTESTATIONS)
    tier = tier_of(composite, confidence, size)
    return Scored(evidence, found, composite, confidence, float(weight), size, tier)


def tier_of(composite: float | None, confidence: float | None, sample_size: float) -> Tier | None:
    """The highest tier whose demands are met."""
    if composite is None or confidence is None:
        return None
    for demand in TIERS:
        if (
            composite >= demand.composite
            and confidence >= demand.confidence
            and sample_size >= demand.sample_size
        ):
            return demand.tier
    return None
