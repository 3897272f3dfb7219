"""What the oracle knows of an agent. Nothing here is private: it stands in leaves or follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from pactstream.scores.claims import DimensionScore


class AttestationInForce(msgspec.Struct, frozen=True, rename="camel"):
    """What a third party attests; `sequence` is the agent's leaf that holds the signed original.

    A claim that is too long for a report is None here, and stands in the leaf.
    """

    id: str
    kind: str
    issuer: str
    issued_at: str
    expires_at: str
    sequence: int
    claim: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Score:
    """The agent's latest score and the counts it rests on; times in microseconds since 1970."""

    through_sequence: int
    first_received_at_micros: int
    last_received_at_micros: int
    sessions: int
    tool_calls: int
    bound_calls: int
    valid_calls: int
    violations: Mapping[str, int]
    composite: float | None
    points: int | None
    confidence: float | None
    covered_weight: float
    tier: str | None
    sample_size: float
    method: int
    computed_at_micros: int
    dimensions: tuple[DimensionScore, ...]
    attestations: tuple[AttestationInForce, ...]


class Violation(msgspec.Struct, frozen=True, rename="camel"):
    """One violated rule; the values that violated it never come here. Long paths are cut, with an ellipsis."""

    param_path: str
    rule: str
    severity: str


class ViolatingCall(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A call that violated its pact, as reports list it; `omitted` violations are not listed."""

    sequence: int
    event_id: str
    occurred_at: str
    received_at: str
    tool: str
    severity: str
    violations: tuple[Violation, ...]
    omitted: int


class Event(ViolatingCall, frozen=True, kw_only=True):
    """One leaf, in the parts that people read, as streams send it."""

    type: str
    session_id: str
    outcome: str
    latency_ms: float | None
    bound: bool
    valid: bool | None
    log: int
    leaf_index: int


class Night(msgspec.Struct, frozen=True, rename="camel"):
    """An agent's score as of the midnight that begins `day` (UTC)."""

    day: str
    through_sequence: int
    composite: float | None
    points: int | None
    confidence: float | None
    covered_weight: float
    tier: str | None
    sample_size: float
    method: int


@dataclass(frozen=True, slots=True)
class Share:
    """An agent's calls in a window, all of them or one tenant's; the latency is None where none was told."""

    calls: int
    bound_calls: int
    valid_calls: int
    latency_p95_ms: float | None


@dataclass(frozen=True, slots=True)
class Head:
    """The agent's latest sealed leaf; `leaf_hash` is its RFC 6962 hash, hexadecimal."""

    log: int
    leaf_index: int
    sequence: int
    leaf_hash: str
    received_at_micros: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's newest signed tree head; `note` is the C2SP signed note."""

    log: int
    tree_size: int
    note: str
    sealed_at_micros: int


@dataclass(frozen=True, slots=True)
class AgentState:
    """All that a report is made of, but for the standing.

    `checkpoint` covers `head`, and `inclusion` (hashes, hexadecimal) leads from the one to the other: both also
    move when others act. `inclusion` is None where it cannot be had.
    """

    agent_id: str
    score: Score | None
    head: Head | None
    checkpoint: Checkpoint | None
    recent_violations: tuple[ViolatingCall, ...]
    inclusion: tuple[str, ...] | None = None

    def same_agent_state(self, other: AgentState) -> bool:
        """Whether nothing of the agent itself differs."""
        return (self.score, self.head, self.recent_violations) == (
            other.score,
            other.head,
            other.recent_violations,
        )
