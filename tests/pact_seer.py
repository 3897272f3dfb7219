"""An agent that asks before it calls, and may have the answer held."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from pactstream.pacts import Claim, Foreseen
from pactstream.pacts.figures import Share
from tests.pact_calls import Agent, call


class Holding:
    """Claims that are held."""

    def __init__(self, *claims: Claim) -> None:
        self.claims = list(claims)

    def shares(self, measure: str, key: str) -> Iterable[Share]:
        return [one.share for one in self.claims if (one.measure, one.key) == (measure, key)]

    def keys(self, measure: str) -> Collection[str]:
        return {one.key for one in self.claims if one.measure == measure}


class Seer(Agent):
    """An agent that asks before it calls, and may have the answer held."""

    def __init__(self, *conditions: dict[str, Any]) -> None:
        super().__init__(*conditions)
        self.held = Holding()

    def asks(self, at: int = 0, tool: str = "pay", **settings: Any) -> Foreseen:
        return self.pact.foresee(call(at, tool, outcome=None, **settings), self.state, self.held)

    def finds(self, at: int = 0, tool: str = "pay", **settings: Any) -> list[str]:
        return [one.rule for one in self.asks(at, tool, **settings).verdict.violations]

    def holds(self, at: int = 0, tool: str = "pay", **settings: Any) -> bool:
        foreseen = self.asks(at, tool, **settings)
        if foreseen.verdict.valid:
            self.held.claims += foreseen.claims
        return foreseen.verdict.valid
