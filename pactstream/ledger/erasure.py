"""Erasures: events in an agent's history that say which of its earlier private values are gone.

An erasure is a leaf like any other: sealed, linked, proved. `parentEventId` names the event, else `sessionId`
the session, else (`sessionId` empty, as no agent's can be) it covers all of the agent's. It reaches back only:
what it covers are leaves of the same tenant and agent before it, so they are in the same log, and whoever reads
the values again from Kafka comes to the erasure too.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

from pactstream import avro

TYPE: Final = "erasure"


class Scope(NamedTuple):
    """Whose values: a tenant's (by pseudonym) of one agent; of one session or one event where that is given."""

    tenant: str
    agent_id: str
    session_id: str | None = None
    event_id: str | None = None


class Erasure(NamedTuple):
    """An erasure in a log: the values of leaves in `scope` before `leaf_index` are to be gone."""

    scope: Scope
    log: int
    leaf_index: int


class ErasingLeaf(Protocol):
    """What an erasure says, as any form of a decoded leaf has it."""

    @property
    def type(self) -> str:
        """`TYPE`, or another: then it is no erasure."""

    @property
    def tenant(self) -> str:
        """Pseudonym of the tenant whose values are gone."""

    @property
    def agent_id(self) -> str:
        """The agent whose leaves they were of."""

    @property
    def session_id(self) -> str:
        """The session; empty: every one."""

    @property
    def parent_event_id(self) -> str | None:
        """The event; None: all of the session."""


def erasure_of(leaf: ErasingLeaf, log: int, leaf_index: int) -> Erasure | None:
    """The erasure that a leaf is; None if it is none."""
    if leaf.type != TYPE:
        return None
    event_id = leaf.parent_event_id
    session_id = leaf.session_id or None
    scope = Scope(leaf.tenant, leaf.agent_id, None if event_id else session_id, event_id)
    return Erasure(scope, log, leaf_index)


def encode_order(
    scope: Scope, *, tenant_id: str, erasure_id: str, session_id: str, now_micros: int, reason: str | None
) -> bytes:
    """The record of `telemetry.batches` that orders an erasure; its key is the agent.

    `session_id` is that of the event where the scope is one. `reason` is a private value like any other.
    Raises `InvalidInput` for a text that no record can hold.
    """
    event = {
        "type": TYPE,
        "event_id": erasure_id,
        "session_id": session_id,
        "occurred_at_micros": now_micros,
        "parent_event_id": scope.event_id,
        "reason": reason,
    }
    batch = {
        "tenant_id": tenant_id,
        "tenant_pseudonym": scope.tenant,
        "agent_id": scope.agent_id,
        "key_id": "operator",
        "request_id": erasure_id,
        "received_at_micros": now_micros,
        "events": [event],
    }
    return avro.encode("TelemetryBatch", batch)
