"""What differs in meaning between two pacts, and which way: stricter, looser, or neither for certain.

Both pacts are taken apart into demands: one check on one path of one tool, one window, one order of calls.
Demands that both have cancel out, wherever they stand and however they are spelt; of the others, those on one
subject are compared. Each difference is judged by itself: one that another demand makes up for is reported all
the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from pactstream.pacts import Pact
from pactstream.review.demands import Demand, Terms, demands, objectives
from pactstream.review.terms import Direction, opposite, severity_direction, together

Kind: TypeAlias = Literal["added", "removed", "changed"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference: what it is about, in words, and whether the second pact is stricter there.

    `direction` is None where it changes no verdict: a goal, or a tool that is only named.
    """

    tool: str
    place: str
    rule: str
    kind: Kind
    text: str
    direction: Direction | None


def differences(old: Pact, new: Pact) -> list[Difference]:
    """Every difference in meaning from `old` to `new`, by tool and path."""
    found = [
        *_agent(old, new),
        *_compared(demands(old), demands(new)),
        *_compared(objectives(old), objectives(new)),
    ]
    return sorted(found, key=lambda one: (one.tool, one.place, one.rule, one.kind))


def _agent(old: Pact, new: Pact) -> Iterator[Difference]:
    if old.agent_id != new.agent_id:
        text = f"{old.agent_id or 'any agent'} → {new.agent_id or 'any agent'}"
        yield Difference("", "", "agentId", "changed", text, "differs")


def _compared(old: Iterable[Demand], new: Iterable[Demand]) -> Iterator[Difference]:
    before, after = _grouped(old), _grouped(new)
    for key in {**before, **after}:
        gone, come = _without_common(before.get(key, []), after.get(key, []))
        for left, right in zip(gone, come, strict=False):
            yield from _changed(left, right)
        for one in gone[len(come) :]:
            yield _difference(one, "removed", one.described(), opposite(one.presence))
        for one in come[len(gone) :]:
            yield _difference(one, "added", one.described(), one.presence)


def _grouped(of: Iterable[Demand]) -> dict[tuple[str, str, str], list[Demand]]:
    groups: dict[tuple[str, str, str], list[Demand]] = {}
    for demand in of:
        groups.setdefault((demand.tool, demand.place, demand.rule), []).append(demand)
    return groups


def _without_common(old: list[Demand], new: list[Demand]) -> tuple[list[Demand], list[Demand]]:
    rest = list(new)
    gone = []
    for demand in old:
        if demand in rest:
            rest.remove(demand)
        else:
            gone.append(demand)
    return gone, rest


def _changed(old: Demand, new: Demand) -> Iterator[Difference]:
    texts: list[str] = []
    directions: list[Direction | None] = []
    if old.terms != new.terms:
        text, direction = _terms(old.terms, new.terms)
        texts.append(text)
        directions.append(direction)
    if old.severity != new.severity:
        texts.append(f"{old.severity} → {new.severity}")
        directions.append(severity_direction(old.severity, new.severity))
    yield _difference(new, "changed", "; ".join(texts), together(directions))


def _terms(old: Terms | None, new: Terms | None) -> tuple[str, Direction | None]:
    if old is None or new is None or type(old) is not type(new):
        return f"{old or 'nothing'} → {new or 'nothing'}", "differs"
    return old.change(new), old.compare(new)


def _difference(of: Demand, kind: Kind, text: str, direction: Direction | None) -> Difference:
    return Difference(of.tool, of.place, of.rule, kind, text, direction)
