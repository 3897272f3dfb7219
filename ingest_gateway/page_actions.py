"""What responders do with pages: each changes something, and becomes an event on the agent's ledger.

The change comes first, then the event. A crash in between leaves an agent that is paused, or a pact that is
loosened, and a page that is open still; the same request again changes nothing more, and has its event. Events
are named after page, action and actor, so one that was written twice counts once.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple
from uuid import UUID

import anyio.to_thread

from ingest_gateway.pact_store import PactStore
from ingest_gateway.tenancy import Tenancy
from pactstream import clock
from pactstream.control.tenants import ApiKey, Tenant
from pactstream.kafka import topics
from pactstream.kafka.publisher import Publisher
from pactstream.kafka.table import Changed, Changes, Table
from pactstream.pacts import PactError, parse_pact
from pactstream.pacts.loosen import same_but_for
from pactstream.paging import events
from pactstream.paging.records import Action, Mark, Page, PageBook
from pactstream.web import Refused

APPROVAL_MICROS: Final = 24 * 3_600 * clock.MICROS_PER_SECOND
"""So long a first approval waits for the second."""
LINK: Final = "link/"


class Actor(NamedTuple):
    """Who does something: `by` is `key/…` or `link/…`, as the ledger commits to it."""

    tenant: Tenant
    by: str
    request_id: str


class Accepted(NamedTuple):
    """What came of accepting; None: it waits for a second key."""

    pact_version: int | None


class Rotated(NamedTuple):
    """The keys that open nothing any more, and those in their places."""

    revoked: list[str]
    issued: list[tuple[str, ApiKey]]


@dataclass(frozen=True, slots=True)
class PageActions:
    """What the routes of pages and the links in them do. Each raises `Refused` 404 for others' pages."""

    book: PageBook
    marks: Table[Mark]
    changes: Changes
    store: PactStore
    tenancy: Tenancy
    publisher: Publisher

    def page(self, tenant_id: str, page_id: UUID) -> Page:
        """One page of the tenant's. Raises `Refused` 404."""
        found = self.book.get(tenant_id, str(page_id))
        if found is None:
            raise Refused(404, "no such page of this tenant")
        return found

    async def acknowledge(self, actor: Actor, page_id: UUID, note: str | None) -> None:
        """Somebody looks after it. Raises `Refused` 409: it is closed."""
        page = self._open(actor, page_id, "")
        await self._record(actor, page, "acknowledged", note)

    async def accept(
        self, actor: Actor, page_id: UUID, reason: str, base_version: int, document: bytes
    ) -> Accepted:
        """Bring a pact into force that is loosened for the page's rule.

        Raises:
            Refused: 409 the page is closed, the pact has changed since `base_version`, or another document
                waits for its approval; 422 it is no pact, changes nothing, or more than the page's rule.
        """
        page = self._open(actor, page_id, "accepted")
        version = await anyio.to_thread.run_sync(
            partial(self._accept, actor, page, base_version, document), abandon_on_cancel=False
        )
        await self._record(actor, page, "accept_requested" if version is None else "accepted", reason)
        return Accepted(version)

    async def block(self, actor: Actor, page_id: UUID, reason: str) -> None:
        """Pause the agent. Raises `Refused` 409: the page was closed otherwise."""
        page = self._open(actor, page_id, "blocked")
        tenant_id, agent_id = UUID(page.tenant_id), UUID(page.agent_id)
        await anyio.to_thread.run_sync(partial(self.tenancy.set_status, tenant_id, agent_id, "paused"))
        await self._record(actor, page, "blocked", reason)

    async def rotate(
        self, actor: Actor, page_id: UUID, reason: str, key_ids: frozenset[str] | None = None
    ) -> Rotated:
        """Take away the keys that can act as the agent, or of those the named ones, and issue others.

        With its event, the evaluator drops the agent's reservations and paging aborts its sessions. Raises
        `Refused` 409: the page was closed otherwise.
        """
        page = self._open(actor, page_id, "")
        rotate = partial(self.tenancy.rotate_keys, UUID(page.tenant_id), key_ids)
        revoked, issued = await anyio.to_thread.run_sync(rotate)
        await self._record(actor, page, "rotated", reason)
        return Rotated(revoked, issued)

    async def resume(self, actor: Actor, agent_id: UUID, reason: str) -> None:
        """Let a paused agent act again. Raises `Refused` 404: not an agent of this tenant."""
        tenant = actor.tenant
        await anyio.to_thread.run_sync(
            partial(self.tenancy.set_status, UUID(tenant.tenant_id), agent_id, "active")
        )
        event = events.agent_event(
            "resumed",
            agent_id=str(agent_id),
            event_id=events.resumed_id(tenant.tenant_id, str(agent_id), actor.request_id),
            by=actor.by,
            reason=reason,
            at_micros=clock.now_micros(),
        )
        await self._publish(actor, str(agent_id), event)

    def _open(self, actor: Actor, page_id: UUID, resolution: str) -> Page:
        """The page, unless it is closed; one that this very action closed may be so again: that is a retry."""
        page = self.page(actor.tenant.tenant_id, page_id)
        if page.status == "closed" and page.resolution != resolution:
            raise Refused(409, f"the page is closed: {page.resolution}")
        return page

    def _accept(self, actor: Actor, page: Page, base_version: int, document: bytes) -> int | None:
        base = self.store.find(page.tenant_id, UUID(page.pact_id))
        try:
            pact = parse_pact(document)
        except PactError as error:
            raise Refused(422, str(error), error.details) from None
        if pact.hash == base.hash:
            if base.version <= base_version:
                raise Refused(422, "the document changes nothing")
            return base.version  # in force already: this request, sent again
        if base.version != base_version:
            raise Refused(409, f"the pact has changed: version {base.version} is in force")
        about = {"param_path": page.param_path, "rule": page.rule, "tool": page.tool}
        if not same_but_for(json.loads(base.document), json.loads(pact.canonical), **about):
            raise Refused(
                422, f"the document differs in more than {page.rule} at {page.param_path or 'the call'}"
            )
        if actor.tenant.approvals > 1 and not self._approved(actor, page, f"{base.hash} {pact.hash}"):
            return None
        written = self.store.add_version(
            page.tenant_id, page.pact_id, document, actor.by.rpartition("/")[2], base_version=base_version
        )
        return written.version.version

    def _approved(self, actor: Actor, page: Page, what: str) -> bool:
        """Whether a second one agrees; the first one's consent is kept until then.

        Of the two, one at most may be a link: who holds links cannot be told apart.
        """
        key, digest = f"approval/{page.page_id}", hashlib.sha256(what.encode()).hexdigest()
        approved = False

        def decide() -> list[Changed]:
            nonlocal approved
            now, given = clock.now_micros(), self.marks.get(key)
            fresh = given is not None and given.at_micros > now - APPROVAL_MICROS
            if given is None or not fresh or (given.by == actor.by and given.digest != digest):
                approved = False
                return [(topics.PAGING_MARKS, key, Mark("given", actor.by, now, digest).encode())]
            if given.digest != digest:
                raise Refused(409, "another document waits for approval")
            both_links = given.by.startswith(LINK) and actor.by.startswith(LINK)
            approved = given.by != actor.by and not both_links
            return []

        self.changes.apply(decide)
        return approved

    async def _record(self, actor: Actor, page: Page, action: Action, reason: str | None) -> None:
        event = events.page_event(
            page,
            action,
            event_id=events.action_id(page, action, actor.by, reason or ""),
            by=actor.by,
            reason=reason or None,
            at_micros=clock.now_micros(),
        )
        await self._publish(actor, page.agent_id, event)

    async def _publish(self, actor: Actor, agent_id: str, event: dict[str, object]) -> None:
        value = events.batch(
            [event],
            tenant_id=actor.tenant.tenant_id,
            tenant_pseudonym=actor.tenant.pseudonym,
            agent_id=agent_id,
            key_id=actor.by,
            at_micros=clock.now_micros(),
            request_id=actor.request_id,
        )
        await self.publisher.publish(topics.BATCHES, agent_id.encode(), value)
