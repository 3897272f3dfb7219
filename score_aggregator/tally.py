"""The counts an agent's score rests on, and their Avro form: output and changelog in one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import msgspec

from pactstream import avro
from pactstream.errors import InvalidInput
from score_aggregator import formula


class _Verdict(msgspec.Struct):
    valid: bool
    bound: bool
    severity: str | None = None


class CountedLeaf(msgspec.Struct, rename="camel"):
    """What of a leaf is counted; the rest is skipped over unread, which is most of the parsing."""

    sequence: int
    type: str
    verdict: _Verdict | None = None


_decode_leaf = msgspec.json.Decoder(CountedLeaf).decode


def parse_leaves(batch: Mapping[str, Any]) -> list[CountedLeaf]:
    """The leaves of an `EvaluatedBatch`, in order.

    Raises:
        InvalidInput: one is not a leaf.
    """
    try:
        return [_decode_leaf(event["leaf"]) for event in batch["events"]]
    except msgspec.DecodeError as error:
        raise InvalidInput(f"not a leaf: {error}") from error


@dataclass(slots=True)
class Tally:
    """One agent's counts, in the words of the Avro schema `Score`."""

    agent_id: str
    through_sequence: int = 0
    first_received_at_micros: int = 0
    last_received_at_micros: int = 0
    sessions: int = 0
    tool_calls: int = 0
    bound_calls: int = 0
    valid_calls: int = 0
    violations: dict[str, int] = field(default_factory=dict)

    def add(self, leaves: Iterable[CountedLeaf], received_at_micros: int) -> bool:
        """Count the leaves beyond `through_sequence`; returns whether there were any."""
        before = self.through_sequence
        for leaf in leaves:
            if leaf.sequence > self.through_sequence:
                self._count(leaf)
                self.through_sequence = leaf.sequence
        if self.through_sequence == before:
            return False
        if not before:
            self.first_received_at_micros = received_at_micros
        # Arrival is stamped by several gateways, whose clocks differ a little: never let it go back.
        self.last_received_at_micros = max(self.last_received_at_micros, received_at_micros)
        return True

    def encode(self, computed_at_micros: int) -> bytes:
        """The score as Avro, in wire format."""
        computed = formula.dimensions(self.valid_calls, self.bound_calls)
        score = asdict(self) | {
            "computed_at_micros": computed_at_micros,
            "dimensions": computed,
            "composite": formula.composite(computed),
            "confidence": formula.confidence(self.valid_calls, self.bound_calls),
        }
        return avro.encode("Score", score)

    @classmethod
    def decode(cls, value: bytes) -> Tally:
        """The counts in an encoded score; figures derived from them are derived again.

        Raises:
            InvalidInput: it is no score.
        """
        score = avro.decode_as("Score", value)
        return cls(**{one.name: score[one.name] for one in fields(cls)})

    def _count(self, leaf: CountedLeaf) -> None:
        if leaf.type == "session_start":
            self.sessions += 1
        if leaf.type != "tool_call":
            return
        self.tool_calls += 1
        verdict = leaf.verdict
        if verdict is None or not verdict.bound:
            return
        self.bound_calls += 1
        if verdict.valid:
            self.valid_calls += 1
        elif verdict.severity is not None:
            self.violations[verdict.severity] = self.violations.get(verdict.severity, 0) + 1
