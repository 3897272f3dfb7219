"""What the gateway's routes work with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ingest_gateway.access import Access
from ingest_gateway.evaluators import Evaluators
from ingest_gateway.issuance import Issuance
from ingest_gateway.pact_store import PactStore
from ingest_gateway.page_actions import PageActions
from ingest_gateway.page_links import PageLinks
from ingest_gateway.paging_routes import PagingRoutes
from ingest_gateway.tenancy import Tenancy
from pactstream.control.pacts import PactBook
from pactstream.kafka.publisher import Publisher
from pactstream.web import RateLimiter


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything `create_app` needs; `close` is called when the server has stopped.

    `page_links` None: this gateway has no paging key, and so cannot tell a link that is ours.
    """

    access: Access
    pacts: PactBook
    publisher: Publisher
    evaluators: Evaluators
    store: PactStore
    tenancy: Tenancy
    issuance: Issuance
    pages: PageActions
    page_links: PageLinks | None
    routing: PagingRoutes
    events_limiter: RateLimiter
    preflight_limiter: RateLimiter
    write_limiter: RateLimiter
    ready: Callable[[], Awaitable[bool]]
    close: Callable[[], None]
