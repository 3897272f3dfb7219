"""What a trust report claims of an agent's record: what follows from leaves. All claims: `docs/oracle.md`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec import Meta

from pactstream.errors import InvalidInput
from pactstream.scores.dimensions import METHOD

# An agent chooses its tools' names and its pacts' paths: with these its report is never too long to be signed.
RECENT_VIOLATIONS: Final = 20
LISTED_VIOLATIONS: Final = 5
"""Of one call."""
LISTED_ATTESTATIONS: Final = 10
CLAIM_CHARS: Final = 400

Instant: TypeAlias = Annotated[datetime, Meta(tz=True)]


class DimensionScore(msgspec.Struct, frozen=True, rename="camel"):
    """One of the twelve; without evidence `score` is None and `confidence` 0."""

    name: str
    weight: float
    score: float | None
    confidence: float
    sample_size: float
    inputs: dict[str, float]


class AttestationClaim(msgspec.Struct, frozen=True, rename="camel"):
    """What a third party attests; a long `claim` is None."""

    id: str
    kind: str
    issuer: str
    sequence: int
    claim: dict[str, Any] | None


class ScoreClaim(msgspec.Struct, frozen=True, rename="camel"):
    """The member `score`."""

    composite: float | None
    points: int | None
    confidence: float | None
    covered_weight: float
    tier: str | None
    sample_size: float
    method: int
    computed_at: Instant | None
    dimensions: list[DimensionScore]
    attestations: Annotated[list[AttestationClaim], Meta(max_length=LISTED_ATTESTATIONS)]


class ComplianceClaim(msgspec.Struct, frozen=True, rename="camel"):
    """The member `pactCompliance`."""

    bound: int
    valid: int
    violations_by_severity: dict[str, int]


class ObservationClaim(msgspec.Struct, frozen=True, rename="camel"):
    """The member `observation`."""

    through_sequence: int
    sessions: int
    tool_calls: int
    began: Instant = msgspec.field(name="from")


class RuleClaim(msgspec.Struct, frozen=True):
    """A violated rule of a call."""

    rule: str
    severity: str


class ViolationClaim(msgspec.Struct, frozen=True, rename="camel"):
    """A violating call."""

    event_id: str
    sequence: int
    tool: str
    severity: str
    violations: list[RuleClaim]


class HeadClaim(msgspec.Struct, frozen=True, rename="camel"):
    """The agent's latest sealed leaf."""

    log: str
    leaf_index: int
    sequence: int
    leaf_hash: str


class LedgerClaim(msgspec.Struct, frozen=True):
    """The member `ledger`."""

    head: HeadClaim | None


class Claims(msgspec.Struct, frozen=True, rename="camel"):
    """Of a verified report."""

    agent_id: str
    issued_at: Instant
    score: ScoreClaim
    pact_compliance: ComplianceClaim
    observation: ObservationClaim | None
    recent_violations: Annotated[list[ViolationClaim], Meta(max_length=RECENT_VIOLATIONS)]
    ledger: LedgerClaim

    @property
    def counted(self) -> int:
        """The number of the last leaf that the score counts; 0 without one."""
        return 0 if self.observation is None else self.observation.through_sequence


def parse_claims(report: Mapping[str, Any]) -> Claims:
    """The claims of a report.

    Raises:
        InvalidInput: they are malformed, or the score is made by a method that this release does not know.
    """
    try:
        claims = msgspec.convert(report, Claims)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"the report's claims are malformed: {error}") from error
    if claims.score.method != METHOD:
        raise InvalidInput(f"the score is made by method {claims.score.method}; this release knows {METHOD}")
    if (claims.score.computed_at is None) != (claims.observation is None):
        raise InvalidInput("a report has a score and what it counts, or neither")
    return claims
