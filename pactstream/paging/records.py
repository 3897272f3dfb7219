"""Pages, routes and marks as they stand in Kafka, and as tables that processes follow."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias, get_args

import msgspec

from pactstream import avro
from pactstream.errors import InvalidInput
from pactstream.kafka import topics
from pactstream.kafka.table import Table
from pactstream.settings import KafkaSettings

Status: TypeAlias = Literal["open", "acknowledged", "closed"]
Kind: TypeAlias = Literal["alertmanager", "pagerduty", "slack", "webhook", "email"]
Severity: TypeAlias = Literal["critical", "notice"]
Action: TypeAlias = Literal[
    "opened", "acknowledged", "accept_requested", "accepted", "blocked", "rotated", "resumed"
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
SEVERITIES: Final[tuple[Severity, ...]] = get_args(Severity)
"""What a route may take: pages, and notices that page nobody."""
RESOLUTIONS: Final = frozenset({"accepted", "blocked", "rotated"})
"""Actions that close a page."""

_ENCODER = msgspec.json.Encoder(decimal_format="number")


@dataclass(frozen=True, slots=True)
class Page:
    """One rule of one pact that an agent violated, for its tenant's eyes; times in microseconds since 1970.

    `violations`, `recent_calls` and `history` are JSON arrays, as the ClickHouse table `pages` describes them.
    """

    page_id: str
    tenant_id: str
    agent_id: str
    event_id: str
    session_id: str
    tool: str
    severity: str
    violations: bytes
    recent_calls: bytes
    occurred_at_micros: int
    created_at_micros: int
    tenant_pseudonym: str
    pact_id: str
    pact_version: int
    rule: str
    param_path: str
    status: str
    resolution: str
    occurrences: int
    last_at_micros: int
    last_event_id: str
    updated_at_micros: int
    history: bytes

    def encode(self) -> bytes:
        """Its Avro record."""
        return avro.encode("Page", asdict(self))

    def violation(self) -> dict[str, Any]:
        """What it is about, with the failing value and what was expected."""
        for one in loads(self.violations):
            if one["rule"] == self.rule and one["paramPath"] == self.param_path:
                found: dict[str, Any] = one
                return found
        return {"paramPath": self.param_path, "rule": self.rule, "severity": self.severity, "value": None}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of sending a page to one route."""

    route: str
    kind: str
    state: str
    attempts: int
    error: str


@dataclass(frozen=True, slots=True)
class PageDeliveries:
    """What became of sending a page."""

    page_id: str
    tenant_id: str
    deliveries: tuple[Outcome, ...]

    @property
    def key(self) -> str:
        """Its key in the topic `pages`."""
        return f"{self.page_id}/deliveries"

    def encode(self) -> bytes:
        """Its Avro record."""
        return avro.encode("PageDeliveries", asdict(self))


def decode_page(data: bytes | None) -> Page | PageDeliveries:
    """A record of the topic `pages`. Raises `InvalidInput`."""
    name, record = avro.decode(data)
    if name == "Page":
        return Page(**record)
    if name == "PageDeliveries":
        return PageDeliveries(**record | {"deliveries": tuple(Outcome(**one) for one in record["deliveries"])})
    raise InvalidInput(f"expected a Page, found a {name}")


@dataclass(frozen=True, slots=True)
class Route:
    """Where a tenant's pages go; `secret` is sealed (`pactstream/paging/keys.py`)."""

    route_id: str
    tenant_id: str
    kind: str
    name: str
    severities: tuple[str, ...]
    url: str
    to: tuple[str, ...]
    secret: bytes
    created_at_micros: int
    updated_at_micros: int

    def encode(self) -> bytes:
        """Its Avro record."""
        return avro.encode("PagingRoute", asdict(self))


def decode_route(data: bytes) -> Route:
    """A route from its Avro record. Raises `InvalidInput`."""
    record = avro.decode_as("PagingRoute", data)
    return Route(**record | {"severities": tuple(record["severities"]), "to": tuple(record["to"])})


@dataclass(frozen=True, slots=True)
class Mark:
    """That something was done, so that it is done once."""

    state: str
    by: str
    at_micros: int
    digest: str = ""

    def encode(self) -> bytes:
        """Its Avro record."""
        return avro.encode("PagingMark", asdict(self))


def decode_mark(data: bytes) -> Mark:
    """A mark from its Avro record. Raises `InvalidInput`."""
    return Mark(**avro.decode_as("PagingMark", data))


class PageBook:
    """Every page that is kept, current from Kafka."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.table: Table[Page | PageDeliveries] = Table(settings, topics.PAGES, decode_page)

    def get(self, tenant_id: str, page_id: str) -> Page | None:
        """One of the tenant's pages."""
        found = self.table.get(page_id)
        return found if isinstance(found, Page) and found.tenant_id == tenant_id else None

    def of_tenant(self, tenant_id: str) -> list[Page]:
        """A tenant's pages, the newest first."""
        theirs = (one for one in self.table.values() if isinstance(one, Page) and one.tenant_id == tenant_id)
        return sorted(theirs, key=lambda one: (one.created_at_micros, one.page_id), reverse=True)

    def deliveries(self, page: Page) -> tuple[Outcome, ...]:
        """What became of sending it."""
        found = self.table.get(f"{page.page_id}/deliveries")
        return found.deliveries if isinstance(found, PageDeliveries) else ()

    def close(self) -> None:
        """Stop following the topic."""
        self.table.close()


class RouteBook:
    """Every route, current from Kafka."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.table: Table[Route] = Table(settings, topics.PAGING_ROUTES, decode_route)

    def get(self, route_id: str) -> Route | None:
        """One route, or None."""
        return self.table.get(route_id)

    def find(self, route_id: str) -> Route | None:
        """As `get`; None only if there is none in Kafka either. Raises `Retryable`."""
        if (found := self.table.get(route_id)) is None:
            # It may be a moment old, and what was written for it must not be thrown away.
            self.table.catch_up()
            found = self.table.get(route_id)
        return found

    def of_tenant(self, tenant_id: str, severity: str | None = None) -> list[Route]:
        """A tenant's routes, or those that take this severity; the oldest first."""
        return sorted(
            (
                one
                for one in self.table.values()
                if one.tenant_id == tenant_id and (severity is None or severity in one.severities)
            ),
            key=lambda one: (one.created_at_micros, one.route_id),
        )

    def close(self) -> None:
        """Stop following the topic."""
        self.table.close()


def mark_table(settings: KafkaSettings) -> Table[Mark]:
    """Every mark by its key."""
    return Table(settings, topics.PAGING_MARKS, decode_mark)


def dumps(value: Any) -> bytes:
    """JSON as pages hold it: numbers beyond binary floats are exact."""
    return _ENCODER.encode(value)


def loads(data: bytes | str) -> Any:
    """What `dumps` wrote, with `Decimal`s for fractions."""
    return json.loads(data, parse_float=Decimal)
