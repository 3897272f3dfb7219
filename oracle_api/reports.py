"""Signed reports, kept until the agent's state changes or half of their life is over.

An unchanged agent so keeps its report byte for byte, which is what makes `ETag` worth having. Who asks for a
report that is at hand waits for nothing: ClickHouse is looked at in the background, once in `_CHECK_SECONDS`
for each agent however many ask, and signing happens there too. A look older than `_SERVE_SECONDS` is waited
for.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Protocol
from uuid import UUID

from oracle_api import report
from oracle_api.ledger import Inclusion
from oracle_api.standing import Standing, Standings
from oracle_api.state import AgentState, Head
from pactstream import canonical, clock, ids
from pactstream.errors import Retryable
from pactstream.ledger.merkle import ProofError
from pactstream.ledger.note import Checkpoint, parse_note
from pactstream.ledger.tiles import Missing
from pactstream.signing.keys import SigningKey
from pactstream.signing.report import sign_jwt, sign_report

_log = logging.getLogger(__name__)
_CHECK_SECONDS = 0.5
_SERVE_SECONDS = 1.0
_UNKNOWN_SECONDS = 1.0
# A report has at most 90 kB in each of its two forms, a usual one 4 kB.
_MAX_KEPT = 2_000
_MAX_UNKNOWN = 10_000


class Proofs(Protocol):
    """Where proofs come from: `ledger.Proofs`. Blocking."""

    def size(self, log: int) -> int:
        """How many leaves of the log are published. Raises `Missing`, `Retryable`."""

    def inclusion(self, log: int, index: int) -> Inclusion:
        """The proof that the published tree has the leaf. Raises `Missing`, `Retryable`."""


class AgentSource(Protocol):
    """Where states come from."""

    async def agent_state(self, agent_id: UUID) -> AgentState | None:
        """The agent's state now; None if nothing is known of it."""

    async def head_below(self, agent_id: UUID, below: int) -> Head | None:
        """The agent's last leaf with a smaller index in its log; None if there is none."""


@dataclass(frozen=True, slots=True)
class Form:
    """One representation of a report, with the strong entity tag of exactly these bytes (RFC 9110, 8.8.3)."""

    body: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class Issued:
    """A signed report as JSON and as JWT, and what it says."""

    state: AgentState
    standing: Standing
    json: Form
    jwt: Form


@dataclass(slots=True)
class _Entry:
    issued: Issued
    issued_at: float
    checked_at: float


@dataclass(frozen=True, slots=True)
class Signer:
    """Makes reports in one issuer's name. The JWT carries one signature: the first key's."""

    keys: Sequence[SigningKey]
    issuer: str
    deployment: str
    lifetime_seconds: int
    now_micros: Callable[[], int] = clock.now_micros

    def sign(self, state: AgentState, standing: Standing) -> Issued:
        """The report of this state, issued now."""
        claims = report.build(
            state,
            standing,
            report_id=str(ids.uuid7()),
            issuer=self.issuer,
            deployment=self.deployment,
            issued_at_micros=self.now_micros(),
            lifetime_seconds=self.lifetime_seconds,
        )
        return Issued(
            state,
            standing,
            form(canonical.dumps(sign_report(claims, self.keys))),
            form(sign_jwt(claims, self.keys[0]).encode()),
        )


class Reports:
    """The current report of each agent that is asked for; of more than `_MAX_KEPT` the longest unused go."""

    def __init__(
        self, source: AgentSource, signer: Signer, standings: Standings, proofs: Proofs | None = None
    ) -> None:
        self._source = source
        self._signer = signer
        self._standings = standings
        self._proofs = proofs
        self._entries: OrderedDict[UUID, _Entry] = OrderedDict()
        self._unknown: OrderedDict[UUID, float] = OrderedDict()
        self._checks: dict[UUID, asyncio.Task[Issued | None]] = {}

    def at_hand(self, agent_id: UUID) -> Issued | None:
        """The agent's report if it can be had without waiting; has it looked after in the background."""
        entry = self._entries.get(agent_id)
        if entry is None:
            return None
        age = clock.monotonic_seconds() - entry.checked_at
        # A pause shows at once, whatever the age: standings are followed, not asked for.
        if age > _SERVE_SECONDS or self._standings.of(agent_id) != entry.issued.standing:
            return None
        if age > _CHECK_SECONDS:
            self._look(agent_id)
        return entry.issued

    def newest(self) -> tuple[bytes, str] | None:
        """The report looked at last, as JSON and as JWT; None if there is none at hand."""
        if not self._entries:
            return None
        issued = next(reversed(self._entries.values())).issued
        return issued.json.body, issued.jwt.body.decode()

    async def get(self, agent_id: UUID) -> Issued | None:
        """The agent's report; None if nothing is known of the agent.

        Raises:
            Retryable, Backpressure: ClickHouse does not answer.
        """
        issued = self.at_hand(agent_id)
        if issued is not None or self._known_unknown(agent_id):
            return issued
        # One look for all who wait; one of them going away does not stop it for the others.
        return await asyncio.shield(self._look(agent_id))

    def _look(self, agent_id: UUID) -> asyncio.Task[Issued | None]:
        check = self._checks.get(agent_id)
        if check is None:
            check = asyncio.create_task(self._check(agent_id))
            self._checks[agent_id] = check
            check.add_done_callback(lambda done: self._done(agent_id, done))
        return check

    def _done(self, agent_id: UUID, check: asyncio.Task[Issued | None]) -> None:
        del self._checks[agent_id]
        if not check.cancelled():
            check.exception()  # seen: whoever waits has it too, and everybody may have gone

    async def _check(self, agent_id: UUID) -> Issued | None:
        state = await self._source.agent_state(agent_id)
        if state is not None and self._proofs is not None:
            state = await self._with_proof(agent_id, state, self._proofs)
        now = clock.monotonic_seconds()
        if state is None:
            self._remember_unknown(agent_id, now)
            return None
        standing = self._standings.of(agent_id)
        entry = self._entries.get(agent_id)
        if entry is None or not self._holds(entry, state, standing, now):
            # In a thread: others' reports are answered meanwhile.
            issued = await asyncio.to_thread(self._signer.sign, state, standing)
            entry = _Entry(issued, issued_at=now, checked_at=now)
            self._entries[agent_id] = entry
        entry.checked_at = now
        self._entries.move_to_end(agent_id)
        while len(self._entries) > _MAX_KEPT:
            self._entries.popitem(last=False)
        return entry.issued

    async def _with_proof(self, agent_id: UUID, sealed: AgentState, proofs: Proofs) -> AgentState:
        """The state with a proof of the agent's last leaf that is published.

        Publication follows sealing by a moment, so of a busy agent the last sealed leaf is often not published:
        named in a report it could be checked by nobody. Where nothing of the agent is published yet, the sealed
        head stands there without a proof, until the next look.
        """
        entry = self._entries.get(agent_id)
        state = await asyncio.to_thread(_proven, sealed, entry, proofs)
        if state.inclusion is not None or state.head is None:
            return state
        try:
            size = await asyncio.to_thread(proofs.size, state.head.log)
        except (Missing, Retryable):
            return state
        published = await self._source.head_below(agent_id, size)
        if published is None:
            return state
        return await asyncio.to_thread(_proven, replace(state, head=published), entry, proofs)

    def _holds(self, entry: _Entry, state: AgentState, standing: Standing, now: float) -> bool:
        """Whether the report still says what is so, and will for a while."""
        young = now - entry.issued_at < self._signer.lifetime_seconds / 2
        known = entry.issued
        proven = known.state.inclusion is not None or state.inclusion is None
        return young and proven and known.standing == standing and known.state.same_agent_state(state)

    # Ids that nothing is known of are kept apart: made-up ones must not push out the reports of real agents.

    def _known_unknown(self, agent_id: UUID) -> bool:
        looked_at = self._unknown.get(agent_id)
        return looked_at is not None and clock.monotonic_seconds() - looked_at <= _UNKNOWN_SECONDS

    def _remember_unknown(self, agent_id: UUID, now: float) -> None:
        self._unknown[agent_id] = now
        self._unknown.move_to_end(agent_id)
        while len(self._unknown) > _MAX_UNKNOWN:
            self._unknown.popitem(last=False)


def form(body: bytes) -> Form:
    """The bytes with their entity tag."""
    return Form(body, f'"{sha256(body).hexdigest()[:32]}"')


def _proven(state: AgentState, entry: _Entry | None, proofs: Proofs) -> AgentState:
    """The state with the proof of its head, under the published checkpoint that the proof leads to; as it was
    where there is none: what is sealed is not published yet.
    """
    known = entry.issued.state if entry else None
    if known is not None and known.inclusion is not None and known.head == state.head:
        return replace(state, checkpoint=known.checkpoint, inclusion=known.inclusion)
    if state.head is None or state.checkpoint is None:
        return state
    try:
        found = proofs.inclusion(state.head.log, state.head.leaf_index)
    except (Missing, ProofError, Retryable) as error:
        _log.debug("no proof for %s yet: %s", state.agent_id, error)
        return state
    note = found.checkpoint.decode()
    size = Checkpoint.parse(parse_note(found.checkpoint).text).size
    published = replace(state.checkpoint, tree_size=size, note=note)
    return replace(state, checkpoint=published, inclusion=tuple(one.hex() for one in found.path))
