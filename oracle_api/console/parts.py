"""What the console's routes are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request

from oracle_api.console.access import Access, Visitor, not_confirmed
from oracle_api.console.agents import Agents
from oracle_api.console.events import Events
from oracle_api.console.gateway import Gateway
from oracle_api.console.live import Live
from oracle_api.console.rows import Rows
from oracle_api.ledger import PublishedLedger


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything the app needs; `ready` says whether keys, and what ended, are known as of now."""

    access: Access
    ready: Callable[[], bool]
    rows: Rows
    events: Events
    agents: Agents
    live: Live
    gateway: Gateway
    ledger: PublishedLedger

    def visitor(self, request: Request) -> Visitor:
        """Whose request this is: a FastAPI dependency of what is read."""
        if not self.ready():
            raise not_confirmed()
        return self.access.visitor(request)

    def changer(self, request: Request) -> Visitor:
        """Whose request this is: a FastAPI dependency of what is changed."""
        if not self.ready():
            raise not_confirmed()
        return self.access.changer(request)

    def still(self, visitor: Visitor) -> bool:
        """Whether the session may go on; for what goes on for long."""
        return self.ready() and self.access.still(visitor)
