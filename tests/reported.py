"""The trust report that an honest operator makes of an agent's leaves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from oracle_api import report
from oracle_api.state import (
    AgentState,
    AttestationInForce,
    Head,
    Score,
    ViolatingCall,
    Violation,
)
from pactstream import clock
from pactstream.ledger import merkle
from pactstream.ledger.leaf import Leaf, parse_leaf
from pactstream.scores.claims import DimensionScore
from pactstream.scores.leaves import CountedLeaf
from pactstream.scores.tally import Tally, record

DEPLOYMENT = "dev"
_decode = msgspec.json.Decoder(CountedLeaf).decode


def micros(moment: str) -> int:
    return clock.to_micros(datetime.fromisoformat(moment))


def honest_claims(
    entries: Sequence[bytes], agent_id: str, *, at_micros: int, score_at_micros: int | None = None
) -> dict[str, Any]:
    """The claims as of a moment; the whole log is number 0. Dates are as in JSON."""
    own = [(index, entry) for index, entry in enumerate(entries) if parse_leaf(entry).agent_id == agent_id]
    tally = Tally()
    for _, entry in own:
        leaf = parse_leaf(entry)
        tally.add([_decode(entry)], leaf.tenant, micros(leaf.received_at))
    index, last = own[-1]
    head = Head(0, index, len(own), merkle.leaf_hash(last).hex(), micros(parse_leaf(last).received_at))
    violating = [
        leaf for _, entry in reversed(own) if (leaf := parse_leaf(entry)).verdict and not leaf.verdict.valid
    ]
    score = record(agent_id, tally.totals, tally.score(score_at_micros or at_micros))
    state = AgentState(agent_id, _score(score), head, None, tuple(map(_violating, violating[:20])))
    return report.build(
        state,
        "active",
        report_id="0196c9a4-0000-7000-8000-0000000000aa",
        issuer=DEPLOYMENT,
        deployment=DEPLOYMENT,
        issued_at_micros=at_micros,
        lifetime_seconds=300,
    )


def _score(made: dict[str, Any]) -> Score:
    plain = {name: value for name, value in made.items() if name in Score.__slots__}
    dimensions = tuple(DimensionScore(**one) for one in made["dimension_scores"])
    attestations = tuple(
        AttestationInForce(
            one["attestation_id"],
            one["kind"],
            one["issuer"],
            clock.to_iso(one["issued_at_micros"]),
            clock.to_iso(one["expires_at_micros"]),
            one["sequence"],
            msgspec.json.decode(one["claim"]),
        )
        for one in made["attestations"]
    )
    return Score(**{**plain, "dimensions": dimensions, "attestations": attestations})


def _violating(leaf: Leaf) -> ViolatingCall:
    if leaf.verdict is None:
        raise ValueError("not a judged leaf")
    return ViolatingCall(
        sequence=leaf.sequence,
        event_id=leaf.event_id,
        occurred_at=leaf.occurred_at,
        received_at=leaf.received_at,
        tool=leaf.tool or "",
        severity=leaf.severity or leaf.verdict.severity or "",
        violations=tuple(
            Violation(one.param_path, one.rule, one.severity) for one in leaf.verdict.violations[:5]
        ),
        omitted=max(0, len(leaf.verdict.violations) - 5),
    )
