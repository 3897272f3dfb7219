"""What the oracle's routes are made of."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from oracle_api.access import Keys
from oracle_api.feed import EventSource, Feed
from oracle_api.ledger import PublishedLedger
from oracle_api.limits import Limiter
from oracle_api.reports import Form, Reports
from oracle_api.samples import Sampler
from oracle_api.standing import Standings
from oracle_api.state import Checkpoint, Event, Night, Share
from oracle_api.subscriptions import Subscriptions


class Ledgers(EventSource, Protocol):
    """All that is read: `store.Store` in production."""

    async def history(self, agent_id: UUID, days: int) -> Sequence[Night]:
        """The agent's nightly scores of the last `days` days, oldest first."""

    async def violations(self, agent_id: UUID, below_sequence: int, limit: int) -> Sequence[Event]:
        """The agent's last `limit` violating calls before `below_sequence`, newest first."""

    async def compared(self, agent_id: UUID, pseudonym: str, days: int) -> tuple[Share, Share]:
        """The agent's calls of the last `days` days: those for one tenant, and all of them."""

    async def checkpoint(self, log: int) -> Checkpoint | None:
        """The newest checkpoint of one log; None if it has none."""

    async def checkpoints(self) -> Sequence[Checkpoint]:
        """The newest checkpoint of each log."""

    async def answers(self) -> bool:
        """Whether reading is possible."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything the app needs; tests give it a store of their own."""

    store: Ledgers
    standings: Standings
    keys: Keys
    subscriptions: Subscriptions | None
    reports: Reports
    feed: Feed
    jwks: Form
    ledger: PublishedLedger
    status: Callable[[], dict[str, Any]]
    sampler: Sampler
    limiter: Limiter
    file_limiter: Limiter
    deployment: str
    max_age_seconds: int
    trusted_proxies: int
    demo_agent: UUID
    background: tuple[Callable[[], Coroutine[None, None, None]], ...] = ()
