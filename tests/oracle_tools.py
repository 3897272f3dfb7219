"""An agent's history for tests of the oracle: real leaves and checkpoints, written to the real tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pactstream import avro, clock
from pactstream.clickhouse.client import ClickHouse
from pactstream.ledger import merkle
from pactstream.ledger.note import Checkpoint, NoteSigner, sign_checkpoint
from pactstream.scores.leaves import CountedLeaf, parse_leaves
from score_aggregator import table
from score_aggregator.state import AgentState

ATLAS = UUID("76cf31d6-ffe3-4a5c-8748-021114aa8066")
DEPLOYMENT = "test.local"
START_MICROS = 1_778_666_400_000_000  # 2026-05-13T10:00:00Z


@dataclass(frozen=True, slots=True)
class Told:
    """One event in short: `broken` lists (path, rule, severity)."""

    type: str
    session: str = "sess-1"
    tool: str = ""
    outcome: str = ""
    bound: bool = True
    broken: tuple[tuple[str, str, str], ...] = ()
    latency_ms: float | None = None


def atlas_day() -> list[Told]:
    """Forty events: five sessions of five calls, the third with one critical violation."""
    day = []
    for number in range(1, 6):
        session = f"sess-2026-05-13-treasury-sweep-{number:04}"
        day.append(Told("session_start", session))
        for call in range(5):
            bad = number == 3 and call == 2
            rules = (("destination", "allowList", "critical"), ("amount", "maxAmount", "critical"))
            tool = "transfer_funds" if call % 2 == 0 else "get_balance"
            day.append(
                Told(
                    "tool_call",
                    session,
                    tool,
                    "success",
                    broken=rules if bad else (),
                    latency_ms=40.0 + 17 * call,
                )
            )
        day += [
            Told("response", session, outcome="success", latency_ms=1340.0),
            Told("session_end", session, outcome="success"),
        ]
    return day


@dataclass(slots=True)
class History:
    """Writes an agent's events, seals them and scores them, as the pipeline would."""

    database: ClickHouse
    agent: UUID = ATLAS
    log: int = 0
    signer: NoteSigner = field(
        default_factory=lambda: NoteSigner(f"{DEPLOYMENT}/ledger/0", Ed25519PrivateKey.generate())
    )
    now_micros: int = START_MICROS
    sequence: int = 0
    tree_size: int = 0
    segments: int = 0
    counted: AgentState = field(init=False)

    def __post_init__(self) -> None:
        self.counted = AgentState(str(self.agent))

    def tell(self, events: Iterable[Told], *, seal: bool = True, score: bool = True) -> None:
        """Add events, a second apart; optionally without the checkpoint or the score."""
        told = list(events)
        self._write_leaves(told)
        if seal:
            self.seal()
        if score:
            self.write_score()

    def seal(self) -> None:
        """A checkpoint over everything written."""
        first, self.tree_size = self.tree_size, self.sequence
        note = sign_checkpoint(Checkpoint(self.signer.name, self.tree_size, bytes(32)), [self.signer])
        columns = ("log", "segment_index", "first_leaf", "leaves", "tree_size", "checkpoint", "sealed_at")
        row = (
            self.log,
            self.segments,
            first,
            self.tree_size - first,
            self.tree_size,
            note.decode(),
            self.now_micros,
        )
        self.database.insert("ledger_segments", columns, [row])
        self.segments += 1

    def write_score(self) -> None:
        """The score over everything written."""
        table.insert(self.database, [avro.decode_as("Score", self.counted.encode_score(self.now_micros))])

    def _write_leaves(self, told: Sequence[Told]) -> None:
        rows = []
        for one in told:
            self.sequence += 1
            self.now_micros += clock.MICROS_PER_SECOND
            rows.append(self._row(one))
            self.counted.add([_counted(one, self.sequence)], "tenant-1", self.now_micros)
        self.database.insert("room_events", _COLUMNS, rows)

    def _row(self, one: Told) -> tuple[object, ...]:
        judged = one.type == "tool_call"
        leaf = f'{{"sequence":{self.sequence}}}'
        severity = one.broken[0][2] if one.broken else ""
        return (
            self.log,
            self.sequence - 1,
            str(UUID(int=self.sequence)),
            one.type,
            str(self.agent),
            "tenant-pseudonym",
            one.session,
            self.sequence,
            self.now_micros,
            self.now_micros,
            one.tool,
            one.outcome,
            one.latency_ms,
            judged and one.bound,
            (not one.broken) if judged else None,
            severity,
            [path for path, _, _ in one.broken],
            [rule for _, rule, _ in one.broken],
            [severity for _, _, severity in one.broken],
            leaf,
            merkle.leaf_hash(leaf.encode()),
        )


_COLUMNS = (
    "log",
    "leaf_index",
    "event_id",
    "type",
    "agent_id",
    "tenant",
    "session_id",
    "sequence",
    "occurred_at",
    "received_at",
    "tool",
    "outcome",
    "latency_ms",
    "bound",
    "valid",
    "severity",
    "violations.param_path",
    "violations.rule",
    "violations.severity",
    "leaf",
    "leaf_hash",
)


def _counted(one: Told, sequence: int) -> CountedLeaf:
    verdict = None
    if one.type == "tool_call":
        severity = one.broken[0][2] if one.broken else None
        verdict = {"bound": one.bound, "valid": not one.broken, "severity": severity}
    leaf = {
        "sequence": sequence,
        "type": one.type,
        "verdict": verdict,
        "sessionId": one.session,
        "outcome": one.outcome,
    }
    (counted,) = parse_leaves({"events": [{"leaf": msgspec.json.encode(leaf)}]})
    return counted
