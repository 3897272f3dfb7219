"""What is told of a page, and to whom: a delivery for each route that takes it, or the alarm that none does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from pactstream import canonical, clock, metrics
from pactstream.errors import InvalidInput
from pactstream.kafka import letters, topics
from pactstream.kafka.records import Emit, Record
from pactstream.paging.keys import Link, PagingKeys
from pactstream.paging.records import Outcome, Page, PageDeliveries, Route, dumps, loads
from pactstream.webhooks.records import Delivery

GROUP: Final = "paging"
FALLBACK: Final = "fallback"
"""In the place of a route's id: the operator's route, for pages that reach nobody."""
LINKED: Final = ("acknowledge", "accept", "block", "rotate")

UNDELIVERED = metrics.counter("pactstream_pages_undelivered_total")


class Routes(Protocol):
    """Where a tenant's pages go: a `RouteBook`."""

    def of_tenant(self, tenant_id: str, severity: str | None = None) -> list[Route]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where links lead; an empty one makes no link."""

    gateway: str
    oracle: str
    console: str


@dataclass(frozen=True, slots=True)
class Teller:
    """Writes deliveries. `name_of` an agent, for people; `fallback`: whether the operator has a route."""

    routes: Routes
    keys: PagingKeys
    addresses: Addresses
    link_seconds: int
    name_of: Callable[[str, str], str]
    fallback: bool = False

    def tell(self, page: Page, what: str, event_id: str, record: Record, emit: Emit) -> None:
        """Have it delivered to each of the tenant's routes that what happened to a page."""
        body = canonical.dumps(self.notice(page, what))
        notice_id = f"{page.page_id}.{event_id}"
        routes = self.routes.of_tenant(page.tenant_id, "critical")
        for route in routes:
            send(emit, record.partition, route.route_id, notice_id, body)
        if routes or what != "opened":
            return
        UNDELIVERED.inc()
        nowhere = Outcome("", "", "failed", 0, "the tenant has no route for it")
        told = PageDeliveries(page.page_id, page.tenant_id, (nowhere,))
        emit(topics.PAGES, told.key.encode(), told.encode())
        error = InvalidInput(f"page {page.page_id}: {nowhere.error}")
        # Replayed, it goes to the operator.
        lost = Delivery(notice_id, FALLBACK, body, clock.now_micros())
        letter = replace(record, key=lost.key, value=lost.encode())
        letters.write(emit, topics.PAGE_DELIVERIES, letter, error, group=GROUP, tenant=page.tenant_id)
        if self.fallback:
            send(emit, record.partition, FALLBACK, notice_id, body)

    def notice(self, page: Page, what: str) -> dict[str, Any]:
        """What receivers get, whatever their kind: JSON, of which `rendering` makes a message of each."""
        about = page.violation()
        agent = self.name_of(page.tenant_id, page.agent_id) or page.agent_id
        place = f" at {page.param_path}" if page.param_path else ""
        return {
            "type": f"page.{what}",
            "timestamp": clock.to_iso(clock.now_micros()),
            "data": {
                "pageId": page.page_id,
                "title": f"{agent}: {page.tool} breaks {page.rule}{place}",
                "status": page.status,
                "resolution": page.resolution,
                "severity": page.severity,
                "agentId": page.agent_id,
                "agentName": agent,
                "pactId": page.pact_id,
                "pactVersion": page.pact_version,
                "rule": page.rule,
                "paramPath": page.param_path,
                "value": as_text(about.get("value")),
                "expected": as_text(about.get("expected")),
                "tool": page.tool,
                "sessionId": page.session_id,
                "eventId": page.event_id,
                "occurrences": page.occurrences,
                "openedAt": clock.to_iso(page.created_at_micros),
                "updatedAt": clock.to_iso(page.updated_at_micros),
                "recentCalls": [
                    call | {"params": as_text(call["params"])} for call in loads(page.recent_calls)
                ],
                "history": loads(page.history),
                "links": self._links(page, what),
            },
        }

    def _links(self, page: Page, what: str) -> dict[str, str]:
        links = {}
        if self.addresses.console:
            links["console"] = f"{self.addresses.console}/console/pages/{page.page_id}"
        if self.addresses.oracle:
            links["proof"] = f"{self.addresses.oracle}/api/v1/ledger/events/{page.event_id}/proof"
        if self.addresses.gateway and what == "opened":
            # From the page alone: whoever gets it, on whatever route, holds the same link, which works once.
            expires_at = page.created_at_micros // clock.MICROS_PER_SECOND + self.link_seconds
            for action in LINKED:
                token = self.keys.token(Link(page.tenant_id, page.page_id, action, expires_at))
                links[action] = f"{self.addresses.gateway}/api/v1/pages/links/{token}"
        return links


def send(emit: Emit, partition: int | None, route_id: str, notice_id: str, body: bytes) -> None:
    """Write one delivery."""
    delivery = Delivery(notice_id, route_id, body, clock.now_micros())
    # One partition for all of a page's: who delivers it sees whether anybody has it.
    emit(topics.PAGE_DELIVERIES, delivery.key, delivery.encode(), partition=partition)


def as_text(value: object) -> str | None:
    """A value for people; numbers that JSON of other languages would change stay exact in text."""
    if value is None or isinstance(value, str):
        return value
    return dumps(value).decode()
