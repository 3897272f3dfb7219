"""Records of `telemetry.evaluated` as the evaluator writes them, made without it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import msgspec

from pactstream import avro, clock
from pactstream.ledger.leaf import GENESIS, AgentHead, BuiltLeaf, Source, build_leaf
from pactstream.pacts import Verdict
from pactstream.pacts.verdict import Violation

TENANT = "t_5f0c9a1b2c3d4e5f"
START_MICROS = 1_790_000_000_000_000
PACT_ID = "11111111-1111-4111-8111-111111111111"


_VALID = Verdict(valid=True, bound=True, pact_id=PACT_ID, pact_version=3, pact_hash="ab" * 32)
_VIOLATION = Violation("destination", "allowList", "critical", "0xBAD", ["0xA11A"], "not on the list")
_INVALID = msgspec.structs.replace(_VALID, valid=False, severity="critical", violations=(_VIOLATION,))


def agent_id(number: int) -> str:
    return str(UUID(int=0x76CF31D6_FFE3_4A5C_8748_000000000000 + number))


def event_id(agent: int, sequence: int) -> str:
    return str(UUID(int=0x018F_0000_0000_7000_8000_0000_0000_0000 + (agent << 32) + sequence))


def event(identity: str, number: int) -> dict[str, Any]:
    """A decoded Avro `TelemetryEvent`: a tool call, or every fourth time a response."""
    blank = dict.fromkeys(
        ("parent_event_id", "room_id", "error_message", "input", "output", "token_count", "reason", "metadata")
    )
    common = {
        "event_id": identity,
        "session_id": f"session-{number // 8}",
        "occurred_at_micros": START_MICROS + number * 1_000,
        "outcome": "success",
        "latency_ms": 142.0 + number % 2 / 2,
    }
    if number % 4 == 3:
        said = {"type": "response", "output": "Settled 4 invoices — fertig.", "token_count": 240}
        none = dict.fromkeys(("tool", "params", "pact_id", "pact_version"))
        return {**blank, **common, **none, **said}
    call = {
        "type": "tool_call",
        "tool": "transfer_funds",
        "params": b'{"destination":"0xA11A","amount":250.10,"currency":"USDC"}',
        "pact_id": PACT_ID,
        "pact_version": 3,
    }
    return {**blank, **common, **call}


class Evaluated:
    """Writes batches for one partition, each agent's leaves linked.

    Every fourth event of an agent is a response; the fifth event of a batch, if a call, violates its pact.
    """

    def __init__(self, partition: int = 0) -> None:
        self._partition = partition
        self._heads: dict[int, AgentHead] = {}
        self._batches = 0

    def batch(self, agent: int, size: int) -> tuple[bytes, bytes]:
        """Key and value of the agent's next record."""
        identity = agent_id(agent)
        received_at = START_MICROS + self._batches * 10_000
        events = list(self._events(agent, identity, size, clock.to_iso(received_at)))
        return self._record(identity, received_at, events)

    def erasure(self, agent: int) -> tuple[bytes, bytes]:
        """Key and value of a record that erases all of the agent's values before it; no values of its own."""
        identity = agent_id(agent)
        received_at = START_MICROS + self._batches * 10_000
        head = self._heads.get(agent, GENESIS)
        said = dict.fromkeys(event(event_id(agent, head.sequence + 1), 0)) | {
            "type": "erasure",
            "event_id": event_id(agent, head.sequence + 1),
            "session_id": "",
            "occurred_at_micros": received_at,
        }
        built = self._built(identity, said, None, 0, clock.to_iso(received_at), head)
        self._heads[agent] = built.head
        return self._record(identity, received_at, [_evaluated(said, built)])

    def batches(self, count: int, *, agents: int = 3, size: int = 5) -> list[tuple[bytes, bytes]]:
        """The next `count` records, the agents in turn."""
        return [self.batch(number % agents, size) for number in range(count)]

    def _record(self, identity: str, received_at: int, events: list[dict[str, Any]]) -> tuple[bytes, bytes]:
        record = {
            "tenant_id": "tenant-1",
            "tenant_pseudonym": TENANT,
            "agent_id": identity,
            "received_at_micros": received_at,
            "source_topic": "telemetry.batches",
            "source_partition": self._partition,
            "source_offset": self._batches,
            "events": events,
        }
        self._batches += 1
        return identity.encode(), avro.encode("EvaluatedBatch", record)

    def _events(self, agent: int, identity: str, size: int, received_at: str) -> Iterator[dict[str, Any]]:
        for index in range(size):
            head = self._heads.get(agent, GENESIS)
            said = event(event_id(agent, head.sequence + 1), head.sequence)
            verdict = (_INVALID if index == 4 else _VALID) if said["type"] == "tool_call" else None
            built = self._built(identity, said, verdict, index, received_at, head)
            self._heads[agent] = built.head
            yield _evaluated(said, built)

    def _built(
        self,
        identity: str,
        said: dict[str, Any],
        verdict: Verdict | None,
        index: int,
        received_at: str,
        head: AgentHead,
    ) -> BuiltLeaf:
        return build_leaf(
            said,
            verdict,
            agent_id=identity,
            tenant=TENANT,
            received_at=received_at,
            source=Source(index, self._batches, self._partition, "telemetry.batches"),
            head=head,
        )


def _evaluated(said: dict[str, Any], built: BuiltLeaf) -> dict[str, Any]:
    return {
        "event_id": said["event_id"],
        "sequence": built.head.sequence,
        "leaf": built.leaf,
        "private": built.private,
    }
