"""What a trust report says of an agent, compared with the agent's leaves: score, counts, recent violations.

It is fed the leaves of a verified ledger, and believes nothing else. What counts and weighs them is the code
that the aggregator runs, so the figures must be the same, to rounding.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from math import isclose
from typing import Any, Final, TypeAlias

import msgspec

from pactstream import clock
from pactstream.errors import Detail, InvalidInput
from pactstream.ledger.leaf import Leaf, parse_leaf
from pactstream.scores import attestation
from pactstream.scores.claims import (
    CLAIM_CHARS,
    LISTED_ATTESTATIONS,
    LISTED_VIOLATIONS,
    RECENT_VIOLATIONS,
    Claims,
    Instant,
)
from pactstream.scores.leaves import CountedLeaf
from pactstream.scores.tally import DAY_MICROS, Tally
from pactstream.signing.jwks import PublicKey

MAX_LAG_SECONDS: Final = 60
"""What arrived longer than this before a report was issued must be in it."""
MAX_AGE_DAYS: Final = 2
"""A score that is older was not computed again by night, and has not faded as it should."""

MAX_NAMED: Final = 20
"""So many attestations at fault are named."""

_ROUNDING: Final = 1e-9
Issuers: TypeAlias = Mapping[str, Mapping[str, PublicKey]]
"""Keys by key id, by issuer."""


class _PublishedLeaf(CountedLeaf, kw_only=True):
    """What is counted of a leaf, whose it is and when it arrived."""

    agent_id: str
    received_at: Instant


_decode = msgspec.json.Decoder(_PublishedLeaf).decode


class Recount:
    """Counts the leaves of the agent that a report is of, up to the one that the report counts to."""

    def __init__(self, claims: Claims, issuers: Issuers | None = None) -> None:
        """`issuers`: the keys of those who attest, by key id; without them signatures are not checked."""
        score = claims.score
        self._claims = claims
        self._issuers = issuers
        self._issued_micros = clock.to_micros(claims.issued_at)
        self._as_of_micros = 0 if score.computed_at is None else clock.to_micros(score.computed_at)
        self._through = claims.counted
        self._listed_to = max((one.sequence for one in claims.recent_violations), default=0)
        self._tally = Tally()
        self._latest = 0
        self._began_micros: int | None = None
        self._violating: deque[Leaf] = deque(maxlen=RECENT_VIOLATIONS)
        self._left_out: dict[str, Detail] = {}
        self._unsigned: list[Detail] = []
        self.unchecked_attestations = 0
        """Attestations whose signature was not checked."""

    def take(self, entry: bytes) -> None:
        """Count a leaf, if it is the agent's. All leaves of its log must come, in their order."""
        if self._claims.agent_id.encode() not in entry:
            return  # most are others': not worth parsing
        try:
            leaf = _decode(entry)
        except msgspec.DecodeError as error:
            self._left_out["readable"] = Detail("ledger", f"a leaf of the agent cannot be read: {error}")
            return
        if leaf.agent_id != self._claims.agent_id:
            return
        at_micros = clock.to_micros(leaf.received_at)
        self._latest = leaf.sequence
        self._began_micros = at_micros if self._began_micros is None else min(self._began_micros, at_micros)
        if leaf.sequence > self._through:
            self._leave_out("counted", leaf.sequence, at_micros)
        elif not self._is_after_the_night(at_micros):
            self._tally.add([leaf], leaf.tenant, at_micros)
        if leaf.attestation is not None:
            self._check_attestation(leaf, leaf.attestation, at_micros)
        if leaf.verdict is not None and not leaf.verdict.valid:
            if leaf.sequence > self._listed_to:
                self._leave_out("among the violations", leaf.sequence, at_micros)
            else:
                self._violating.append(parse_leaf(entry))

    def differences(self) -> list[Detail]:
        """What in the report does not follow from the leaves; nothing if all of it does."""
        claims = self._claims
        if self._through > self._latest:
            return [Detail(f"leaf {self._through}", f"counted, but the ledger has {self._latest} of the agent")]
        found = [
            *self._left_out.values(),
            *self._unsigned,
            *_compared(_listed(claims), _violations(self._violating)),
        ]
        if claims.observation is None:
            return found
        age = (self._issued_micros - self._as_of_micros) // DAY_MICROS
        if not 0 <= age <= MAX_AGE_DAYS:
            found.append(Detail("score", f"computed {age} days before the report was issued"))
        off_micros = clock.to_micros(claims.observation.began) - (self._began_micros or 0)
        if abs(off_micros) > MAX_LAG_SECONDS * clock.MICROS_PER_SECOND:
            found.append(Detail("observation", "the agent's first leaf arrived at another time"))
        return [*found, *_compared(_claimed(claims), self._counted())]

    def _is_after_the_night(self, at_micros: int) -> bool:
        """A nightly score is as of a midnight, and counts what arrived before it."""
        return self._as_of_micros % DAY_MICROS == 0 and at_micros >= self._as_of_micros

    def _check_attestation(self, leaf: _PublishedLeaf, compact: str, at_micros: int) -> None:
        if self._issuers is None:
            self.unchecked_attestations += 1
            return
        try:
            keys = self._issuers.get(attestation.issuer_of(compact), {})
            said = attestation.verify(compact, keys, now_micros=at_micros)
        except InvalidInput as error:
            self._add_unsigned(leaf, str(error))
            return
        if said.sub != leaf.agent_id:
            self._add_unsigned(leaf, f"the attestation is of the agent {said.sub}")

    def _add_unsigned(self, leaf: _PublishedLeaf, message: str) -> None:
        if len(self._unsigned) < MAX_NAMED:
            self._unsigned.append(Detail(f"leaf {leaf.sequence}", message))

    def _leave_out(self, where: str, sequence: int, at_micros: int) -> None:
        seconds = (self._issued_micros - at_micros) // clock.MICROS_PER_SECOND
        if seconds > MAX_LAG_SECONDS and where not in self._left_out:
            message = f"not {where}, though it arrived {seconds} s before the report was issued"
            self._left_out[where] = Detail(f"leaf {sequence}", message)

    def _counted(self) -> dict[str, Any]:
        """What the leaves come to, named as in `_claimed`."""
        totals, made = self._tally.totals, self._tally.score(self._as_of_micros).fields()
        return {
            **{name: made[name] for name in _PLAIN},
            "sessions": totals.sessions,
            "tool calls": totals.tool_calls,
            "bound calls": totals.bound_calls,
            "valid calls": totals.valid_calls,
            "violations": totals.violations,
            **dict(_flat((one["name"], one) for one in made["dimension_scores"])),
            **{
                f"attestation {one['attestation_id']}": (
                    one["kind"],
                    one["issuer"],
                    one["sequence"],
                    msgspec.json.decode(one["claim"]) if len(one["claim"]) <= CLAIM_CHARS else None,
                )
                for one in made["attestations"][:LISTED_ATTESTATIONS]
            },
        }


_PLAIN: Final = ("composite", "points", "confidence", "covered_weight", "tier", "sample_size")


def _claimed(claims: Claims) -> dict[str, Any]:
    """Each figure of the report, by name."""
    score, compliance, seen = claims.score, claims.pact_compliance, claims.observation
    if seen is None:
        return {}
    return {
        **{name: getattr(score, name) for name in _PLAIN},
        "sessions": seen.sessions,
        "tool calls": seen.tool_calls,
        "bound calls": compliance.bound,
        "valid calls": compliance.valid,
        "violations": compliance.violations_by_severity,
        **dict(_flat((one.name, msgspec.structs.asdict(one)) for one in score.dimensions)),
        **{
            f"attestation {one.id}": (one.kind, one.issuer, one.sequence, one.claim)
            for one in score.attestations
        },
    }


def _flat(dimensions: Iterator[tuple[str, Mapping[str, Any]]]) -> Iterator[tuple[str, Any]]:
    for dimension, figures in dimensions:
        for name in ("weight", "score", "confidence", "sample_size"):
            yield f"{dimension} {name}", figures[name]
        for name, value in figures["inputs"].items():
            yield f"{dimension} input {name}", value


def _listed(claims: Claims) -> dict[str, Any]:
    return {
        f"violation in leaf {one.sequence}": (
            one.event_id,
            one.tool,
            one.severity,
            [(rule.rule, rule.severity) for rule in one.violations],
        )
        for one in claims.recent_violations
    }


def _violations(leaves: deque[Leaf]) -> dict[str, Any]:
    """The newest violating leaves, named as in `_listed`."""
    found: dict[str, Any] = {}
    for leaf in leaves:
        rules = () if leaf.verdict is None else leaf.verdict.violations[:LISTED_VIOLATIONS]
        severity = leaf.severity or (leaf.verdict.severity if leaf.verdict else None)
        listed = [(rule.rule, rule.severity) for rule in rules]
        found[f"violation in leaf {leaf.sequence}"] = (leaf.event_id, leaf.tool, severity, listed)
    return found


def _compared(claimed: Mapping[str, Any], counted: Mapping[str, Any]) -> Iterator[Detail]:
    for name in dict.fromkeys((*claimed, *counted)):
        said, is_so = claimed.get(name), counted.get(name)
        if not _same(said, is_so):
            message = f"the report says {_shown(said)}, the leaves come to {_shown(is_so)}"
            yield Detail(name.replace("_", " "), message)


def _same(said: object, is_so: object) -> bool:
    if isinstance(said, float) and isinstance(is_so, int | float):
        return isclose(said, is_so, rel_tol=_ROUNDING, abs_tol=_ROUNDING)
    return said == is_so


def _shown(value: object) -> str:
    return "nothing" if value is None else str(value)
