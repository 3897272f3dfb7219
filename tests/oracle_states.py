"""States of an agent, and a store that gives them: for tests of the oracle without ClickHouse."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from oracle_api.standing import Standing
from oracle_api.state import (
    AgentState,
    AttestationInForce,
    Checkpoint,
    Event,
    Head,
    Night,
    Score,
    Share,
    Violation,
)
from pactstream import clock
from pactstream.control.tenants import ApiKey, Scope, Tenant, new_key
from pactstream.errors import Retryable
from pactstream.scores.claims import DimensionScore

AGENT = UUID("76cf31d6-ffe3-4a5c-8748-021114aa8066")
STRANGER = UUID("00000000-0000-4000-8000-000000000001")
START_MICROS = 1_778_666_400_000_000  # 2026-05-13T10:00:00Z


def at(second: int) -> int:
    """That many seconds into the day."""
    return START_MICROS + second * clock.MICROS_PER_SECOND


def event(sequence: int, *, tool: str = "transfer_funds", violations: Sequence[Violation] = ()) -> Event:
    """A judged call."""
    return Event(
        sequence=sequence,
        event_id=str(UUID(int=sequence)),
        type="tool_call",
        session_id="sess-1",
        occurred_at=clock.to_iso(at(sequence)),
        received_at=clock.to_iso(at(sequence)),
        tool=tool,
        outcome="success",
        latency_ms=142.0,
        bound=True,
        valid=not violations,
        severity="critical" if violations else "",
        violations=tuple(violations),
        omitted=0,
        log=0,
        leaf_index=sequence - 1,
    )


def violating(
    sequence: int, *, paths: int = 1, path: str = "destination", tool: str = "transfer_funds"
) -> Event:
    """A call that broke the allow list, for so many paths."""
    return event(sequence, tool=tool, violations=[Violation(path, "allowList", "critical")] * paths)


SCORE = Score(
    through_sequence=40,
    first_received_at_micros=at(1),
    last_received_at_micros=at(40),
    sessions=5,
    tool_calls=25,
    bound_calls=25,
    valid_calls=24,
    violations={"critical": 1},
    composite=96.0,
    points=960,
    confidence=0.81,
    covered_weight=14.0,
    tier="gold",
    sample_size=25.0,
    method=1,
    computed_at_micros=at(41),
    dimensions=(DimensionScore("accuracy", 14.0, 96.0, 0.81, 25.0, {"evaluations": 3.0}),),
    attestations=(
        AttestationInForce(
            "a-1", "bond_posting", "bank.example", clock.to_iso(at(0)), clock.to_iso(at(99)), 3, {"usd": 5}
        ),
    ),
)
HEAD = Head(log=0, leaf_index=39, sequence=40, leaf_hash="ab" * 32, received_at_micros=at(40))
CHECKPOINT = Checkpoint(log=0, tree_size=40, note="test.local/ledger/0\n40\n…\n", sealed_at_micros=at(41))
STATE = AgentState(str(AGENT), SCORE, HEAD, CHECKPOINT, (violating(20),), ("cd" * 32,))
EMPTY = AgentState(str(AGENT), None, None, None, ())


class FakeStandings:
    """Says of every agent what it is told to."""

    def __init__(self, standing: Standing = "active") -> None:
        self.standing = standing
        self.ready = True

    def of(self, _: UUID) -> Standing:
        return self.standing


class FakeKeys:
    """Keys of tenants, as the directory finds them."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[Tenant, ApiKey]] = {}

    def add(self, tenant: Tenant, *scopes: Scope, **fields: int) -> str:
        key, record = new_key(label="test", scopes=scopes, now_micros=0, **fields)
        self.known[key] = (tenant, record)
        return key

    def find_key(self, presented: str) -> tuple[Tenant, ApiKey] | None:
        return self.known.get(presented)


class FakeStore:
    """Knows one agent; counts how often it is asked; may be down."""

    def __init__(self, state: AgentState | None = STATE, events: Sequence[Event] = ()) -> None:
        self.state = state
        self.events = list(events)
        self.down = False
        self.asked = 0
        self.heads: list[Head] = []
        """Of the agent, the newest first."""

    async def agent_state(self, agent_id: UUID) -> AgentState | None:
        self._answer()
        return self.state if agent_id == AGENT else None

    async def head_below(self, agent_id: UUID, below: int) -> Head | None:
        self._answer()
        return next((one for one in self.heads if one.leaf_index < below), None)

    async def latest_events(self, agent_id: UUID, after_sequence: int, limit: int) -> list[Event]:
        self._answer()
        known = self.events if agent_id == AGENT else []
        return [one for one in known if one.sequence > after_sequence][-limit:]

    async def history(self, agent_id: UUID, days: int) -> list[Night]:
        self._answer()
        return [Night("2026-05-13", 40, 96.0, 960, 0.81, 14.0, "gold", 25.0, 1)][:days]

    async def violations(self, agent_id: UUID, below_sequence: int, limit: int) -> list[Event]:
        self._answer()
        known = self.events if agent_id == AGENT else []
        return [one for one in known[::-1] if one.sequence < below_sequence and not one.valid][:limit]

    async def compared(self, agent_id: UUID, pseudonym: str, days: int) -> tuple[Share, Share]:
        self._answer()
        return Share(4, 4, 3, 142.0), Share(10, 9, 8, None)

    async def checkpoint(self, log: int) -> Checkpoint | None:
        self._answer()
        return CHECKPOINT if log == 0 else None

    async def checkpoints(self) -> list[Checkpoint]:
        self._answer()
        return [CHECKPOINT]

    async def answers(self) -> bool:
        return not self.down

    def _answer(self) -> None:
        self.asked += 1
        if self.down:
            raise Retryable("ClickHouse: connection to 10.1.2.3:8123 refused")
