"""Judged batches for tests of the aggregator."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any

from pactstream import avro
from pactstream.kafka import topics
from pactstream.kafka.records import Record
from pactstream.scores.formula import Scored
from pactstream.scores.leaves import parse_leaves
from pactstream.scores.tally import DAY_MICROS, Tally

AGENT = "76cf31d6-ffe3-4a5c-8748-021114aa8066"
OTHER = "00000000-0000-4000-8000-000000000001"
HOUR = DAY_MICROS // 24
TODAY = 20_000  # days since 1970
NOON = TODAY * DAY_MICROS + 12 * HOUR
KEPT = {"valid": True, "bound": True, "violations": []}
BROKEN = {"valid": False, "bound": True, "severity": "critical", "violations": [{"paramPath": "amount"}]}
UNBOUND = {"valid": True, "bound": False, "violations": []}


def call(verdict: dict[str, Any] | None, **members: Any) -> dict[str, Any]:
    judged = {} if verdict is None else {"verdict": verdict}
    return {"type": "tool_call", "outcome": "success", "tool": "pay", "sessionId": "s"} | judged | members


def aims(**objectives: Any) -> dict[str, Any]:
    """What the evaluator says of an event against its pact's objectives."""
    return {"objectives": objectives}


def batch(
    first: int,
    leaves: list[dict[str, Any]],
    agent: str = AGENT,
    received: int = 1_000,
    offset: int = 0,
    tenant: str = "p",
) -> Record:
    events = [
        {"event_id": "e", "sequence": n, "leaf": json.dumps(leaf | {"sequence": n, "agentId": agent}).encode()}
        for n, leaf in enumerate(leaves, first)
    ]
    value = avro.encode(
        "EvaluatedBatch",
        {
            "tenant_id": "t",
            "tenant_pseudonym": tenant,
            "agent_id": agent,
            "received_at_micros": received,
            "source_topic": topics.BATCHES,
            "source_partition": 1,
            "source_offset": offset,
            "events": events,
        },
    )
    return Record(topics.EVALUATED, 1, offset, agent.encode(), value)


def atlas() -> list[dict[str, Any]]:
    """Five sessions, twenty-five calls, one of them broken."""
    day: list[dict[str, Any]] = []
    for session in range(5):
        calls = [call(BROKEN if (session, n) == (2, 1) else KEPT, tool=f"tool-{n}") for n in range(5)]
        start, response, end = {"type": "session_start"}, {"type": "response"}, {"type": "session_end"}
        day += [start, *calls, response | {"outcome": "success"}, end | {"outcome": "success"}]
    return day


ISSUER = "00000000-0000-4000-8000-0000000000aa"
SECOND = "00000000-0000-4000-8000-0000000000bb"
_NOON_SECONDS = NOON // 1_000_000


def attests(kind: str, issuer: str = ISSUER, n: int = 1, age_days: int = 0, **claim: Any) -> dict[str, Any]:
    """A leaf with an attestation, its signature left out."""
    payload = {
        "iss": issuer,
        "sub": "76cf31d6-ffe3-4a5c-8748-021114aa8066",
        "jti": f"00000000-0000-4000-8000-{n:012}",
        "iat": _NOON_SECONDS - age_days * 86_400,
        "exp": _NOON_SECONDS + 86_400,
        "claim": {"kind": kind, **claim},
    }
    part = base64.urlsafe_b64encode(json.dumps(payload).encode()).rstrip(b"=").decode()
    return {"type": "attestation", "attestation": f"e30.{part}.e30"}


class Life:
    """An agent's life, told hour by hour."""

    def __init__(self) -> None:
        self.tally = Tally()
        self._sequence = 0

    def tell(self, *leaves: dict[str, Any], at: int = NOON, tenant: str = "p") -> Life:
        """These leaves arrive at that moment."""
        numbered = []
        for leaf in leaves:
            self._sequence += 1
            numbered.append({"leaf": json.dumps(leaf | {"sequence": self._sequence}).encode()})
        self.tally.add(parse_leaves({"events": numbered}), tenant, at)
        return self

    def daily(self, leaves: Iterable[dict[str, Any]], *, days: int = 10, tenant: str = "p") -> Life:
        """The same leaves on each of the last days, one an hour from midnight."""
        told = list(leaves)
        for day in range(TODAY - days + 1, TODAY + 1):
            for n, leaf in enumerate(told):
                self.tell(leaf, at=day * DAY_MICROS + n % 24 * HOUR, tenant=tenant)
        return self

    def score(self, at: int = NOON) -> Scored:
        """The score at that moment."""
        return self.tally.score(at)

    def of(self, dimension: str, at: int = NOON) -> float | None:
        """One dimension's score at that moment."""
        found = {str(name): one for name, one in self.score(at).dimensions.items()}
        return found[dimension].estimate.score
