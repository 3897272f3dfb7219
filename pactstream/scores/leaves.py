"""What of a leaf is counted; the rest is skipped over unread, which is most of the parsing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pactstream.errors import InvalidInput


class Verdict(msgspec.Struct):
    """Of a verdict."""

    valid: bool
    bound: bool
    severity: str | None = None


class Objectives(msgspec.Struct, rename="camel"):
    """What the pact aims at there."""

    latency_p95_ms: int | None = None
    model: str | None = None
    tokens_per_session: int | None = None


class CountedLeaf(msgspec.Struct, rename="camel"):
    """Of a leaf."""

    sequence: int
    type: str
    session_id: str = ""
    tenant: str = ""
    outcome: str = ""
    tool: str = ""
    latency_ms: float | None = None
    token_count: int | None = None
    confidence: int | None = None
    attestation: str | None = None
    objectives: Objectives | None = None
    verdict: Verdict | None = None

    @property
    def bound(self) -> bool:
        """Whether a pact in force has a condition for this call."""
        return self.verdict is not None and self.verdict.bound

    @property
    def violated(self) -> str | None:
        """The severity of what this call violated; None if it violated nothing."""
        return None if self.verdict is None or self.verdict.valid else self.verdict.severity


_decode = msgspec.json.Decoder(CountedLeaf).decode


def parse_leaves(batch: Mapping[str, Any]) -> list[CountedLeaf]:
    """The leaves of an `EvaluatedBatch`, in order.

    Raises:
        InvalidInput: one is not a leaf.
    """
    try:
        return [_decode(event["leaf"]) for event in batch["events"]]
    except msgspec.DecodeError as error:
        raise InvalidInput(f"not a leaf: {error}") from error
