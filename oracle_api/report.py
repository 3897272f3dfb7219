"""From an agent's state to the claims of its trust report. Pure; `docs/oracle.md` explains each claim."""

from __future__ import annotations

from typing import Any

import msgspec

from oracle_api.standing import Standing
from oracle_api.state import AgentState, Checkpoint, Head, Score, ViolatingCall
from pactstream import clock
from pactstream.scores.dimensions import METHOD, WINDOW_DAYS

VERSION = 1
"""Of the claims' form: raised when a claim changes its meaning."""


def build(
    state: AgentState,
    standing: Standing,
    *,
    report_id: str,
    issuer: str,
    deployment: str,
    issued_at_micros: int,
    lifetime_seconds: int,
) -> dict[str, Any]:
    """The unsigned report. What has not been computed is null or absent, never made up.

    In canonical form, whose members are sorted, `agentId` and `agentStatus` come first: an agent out of service
    says so before anything else.
    """
    expires_at_micros = issued_at_micros + lifetime_seconds * clock.MICROS_PER_SECOND
    return {
        "agentId": state.agent_id,
        "agentStatus": standing,
        "version": VERSION,
        "reportId": report_id,
        "issuer": issuer,
        "issuedAt": clock.to_iso(issued_at_micros),
        "expiresAt": clock.to_iso(expires_at_micros),
        "score": _score(state.score),
        "pactCompliance": _compliance(state.score),
        "sampleSize": state.score.bound_calls if state.score else 0,
        "observation": _observation(state.score),
        "recentViolations": [violation(one) for one in state.recent_violations],
        "ledger": {
            "head": _head(state.head, deployment),
            "checkpoint": None if state.checkpoint is None else state.checkpoint.note,
            "inclusionProof": None if state.inclusion is None else list(state.inclusion),
        },
        "freshness": _freshness(state, issued_at_micros),
    }


def origin(deployment: str, log: int) -> str:
    """The name of a log, as its checkpoints carry it."""
    return f"{deployment}/ledger/{log}"


def checkpoint_entry(checkpoint: Checkpoint, deployment: str) -> dict[str, Any]:
    """One log in the list of checkpoints."""
    return {
        "log": checkpoint.log,
        "origin": origin(deployment, checkpoint.log),
        "treeSize": checkpoint.tree_size,
        "sealedAt": clock.to_iso(checkpoint.sealed_at_micros),
        "checkpoint": checkpoint.note,
    }


def compliance_rate(score: Score | None) -> float | None:
    """Valid calls by bound calls; None when none was bound."""
    return score.valid_calls / score.bound_calls if score and score.bound_calls else None


def _score(score: Score | None) -> dict[str, Any]:
    return {
        "composite": score.composite if score else None,
        "points": score.points if score else None,
        "confidence": score.confidence if score else None,
        "coveredWeight": score.covered_weight if score else 0,
        "tier": score.tier if score else None,
        "sampleSize": score.sample_size if score else 0,
        "method": score.method if score else METHOD,
        "windowDays": WINDOW_DAYS,
        "computedAt": clock.to_iso(score.computed_at_micros) if score else None,
        "dimensions": [msgspec.to_builtins(one) for one in score.dimensions] if score else [],
        "attestations": [msgspec.to_builtins(one) for one in score.attestations] if score else [],
    }


def _compliance(score: Score | None) -> dict[str, Any]:
    return {
        "bound": score.bound_calls if score else 0,
        "valid": score.valid_calls if score else 0,
        "rate": compliance_rate(score),
        "violationsBySeverity": dict(score.violations) if score else {},
    }


def _observation(score: Score | None) -> dict[str, Any] | None:
    if score is None:
        return None
    return {
        "from": clock.to_iso(score.first_received_at_micros),
        "to": clock.to_iso(score.last_received_at_micros),
        "throughSequence": score.through_sequence,
        "sessions": score.sessions,
        "toolCalls": score.tool_calls,
    }


def violation(event: ViolatingCall) -> dict[str, Any]:
    """A violating call as reports and pages list it."""
    return {
        "eventId": event.event_id,
        "sequence": event.sequence,
        "occurredAt": event.occurred_at,
        "receivedAt": event.received_at,
        "tool": event.tool,
        "severity": event.severity,
        "violations": [
            {"paramPath": one.param_path, "rule": one.rule, "severity": one.severity}
            for one in event.violations
        ],
        "omitted": event.omitted,
    }


def _head(head: Head | None, deployment: str) -> dict[str, Any] | None:
    if head is None:
        return None
    return {
        "log": origin(deployment, head.log),
        "leafIndex": head.leaf_index,
        "sequence": head.sequence,
        "leafHash": head.leaf_hash,
    }


def _freshness(state: AgentState, issued_at_micros: int) -> dict[str, Any]:
    """The newest event that the score or the ledger reflects, and its age when the report was issued."""
    sequence, received_at_micros = 0, issued_at_micros
    if state.score is not None:
        sequence, received_at_micros = state.score.through_sequence, state.score.last_received_at_micros
    if state.head is not None and state.head.sequence > sequence:
        sequence, received_at_micros = state.head.sequence, state.head.received_at_micros
    age_micros = max(0, issued_at_micros - received_at_micros)
    lag_micros = _score_lag_micros(state)
    return {
        "asOf": clock.to_iso(received_at_micros),
        "sequence": sequence,
        "secondsSinceLastEvent": round(age_micros / clock.MICROS_PER_SECOND, 3),
        "scoreLagSeconds": None if lag_micros is None else round(lag_micros / clock.MICROS_PER_SECOND, 3),
    }


def _score_lag_micros(state: AgentState) -> int | None:
    """From the last event that the score counts to the last one sealed; None where either is missing."""
    if state.score is None or state.head is None:
        return None
    if state.head.sequence <= state.score.through_sequence:
        return 0
    return max(0, state.head.received_at_micros - state.score.last_received_at_micros)
