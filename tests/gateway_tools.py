"""A gateway for tests: the real application on tables in memory and a publisher that keeps what it is given."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from uuid import uuid4

import httpx
import msgspec
import pytest
from fastapi import FastAPI

from ingest_gateway.access import Access
from ingest_gateway.app import create_app
from ingest_gateway.issuance import Issuance
from ingest_gateway.pact_store import PactStore
from ingest_gateway.page_actions import PageActions
from ingest_gateway.page_links import PageLinks
from ingest_gateway.paging_routes import PagingRoutes
from ingest_gateway.parts import Parts
from ingest_gateway.settings import GatewaySettings
from ingest_gateway.tenancy import Tenancy
from pactstream import avro, clock
from pactstream.control import issuers as issuers_module
from pactstream.control import pacts as pacts_module
from pactstream.control import tenants as tenants_module
from pactstream.control.pacts import PactBook
from pactstream.control.placement import Placement
from pactstream.control.tenants import SCOPES, Agent, Scope, Tenant, TenantDirectory, new_key
from pactstream.kafka import topics
from pactstream.kafka.records import Headers
from pactstream.kafka.table import Changed
from pactstream.pacts import Call, PactState
from pactstream.paging import records as paging_records
from pactstream.paging.keys import PagingKeys
from pactstream.paging.records import PageBook, RouteBook
from pactstream.preflight.wire import ReadAnswer
from pactstream.web import RateLimiter

V = TypeVar("V")

ADMIN_KEY = "the administrators' key"
PAGING_KEYS = PagingKeys(b"p" * 32)
EVENTS = "/api/v1/telemetry/events"
ACME = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"
ATLAS = "76cf31d6-ffe3-4a5c-8748-021114aa8066"
PAUSED = "aaaaaaaa-0000-4000-8000-000000000001"
SECOND = "aaaaaaaa-0000-4000-8000-000000000002"
STRANGER = "bbbbbbbb-0000-4000-8000-000000000001"  # of the other tenant
TREASURY = "3f0c8a52-8f4e-4d3b-9c41-6a1d2b7e5f10"
OTHERS_PACT = "3f0c8a52-8f4e-4d3b-9c41-6a1d2b7e5f11"


def pact_document(**changes: Any) -> dict[str, Any]:
    """Atlas's treasury pact."""
    rules = [
        {"paramPath": "destination", "allowList": ["0xA11A"], "required": True},
        {"paramPath": "amount", "maxAmount": {"amount": "1000", "currency": "USDC"}},
    ]
    condition = {
        "type": "param_binding",
        "severity": "critical",
        "parameterBinding": {"tool": "transfer_funds", "rules": rules},
    }
    return {"name": "Treasury", "agentId": ATLAS, "conditions": [condition]} | changes


def call(**changes: Any) -> dict[str, Any]:
    """A tool call of Atlas's that its pact allows; None takes a member away."""
    event = {
        "type": "tool_call",
        "sessionId": "s-1",
        "agentId": ATLAS,
        "pactId": TREASURY,
        "tool": "transfer_funds",
        "params": {"destination": "0xA11A", "amount": 250, "currency": "USDC"},
        "outcome": "success",
        "attemptedAt": "2026-05-13T10:00:00Z",
    } | changes
    return {name: value for name, value in event.items() if value is not None}


def body(*events: object) -> bytes:
    """A request body."""
    return json.dumps({"events": events}).encode()


class MemoryTable(Generic[V]):
    """`Table` without Kafka."""

    def __init__(
        self,
        _settings: object,
        topic: str,
        decode: Callable[[bytes], V],
        on_change: Callable[[str, V | None], None] | None = None,
    ) -> None:
        self.topic = topic
        self._decode = decode
        self._on_change = on_change
        self._values: dict[str, V] = {}

    def put(self, key: str, value: bytes | None) -> None:
        decoded = None if value is None else self._decode(value)
        if decoded is None:
            self._values.pop(key, None)
        else:
            self._values[key] = decoded
        if self._on_change is not None:
            self._on_change(key, decoded)

    def get(self, key: str) -> V | None:
        return self._values.get(key)

    def values(self) -> list[V]:
        return list(self._values.values())

    def wait_for(self, key: str, _timeout_seconds: float) -> V | None:
        return self._values.get(key)

    def close(self) -> None:
        return None


class MemoryChanges:
    """`Changes` without Kafka."""

    def __init__(self, *tables: Any) -> None:
        self._tables = {table.topic: table for table in tables}

    def apply(self, decide: Callable[[], list[Changed]]) -> None:
        for topic, key, value in decide():
            self._tables[topic].put(key, value)


@dataclass
class MemoryPublisher:
    """`Publisher` that keeps the records, or fails as told."""

    records: list[tuple[str, bytes, bytes]] = field(default_factory=list)
    failure: Exception | None = None

    async def publish(self, topic: str, key: bytes, value: bytes, *, headers: Headers = ()) -> None:
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        self.records.append((topic, key, value))

    @property
    def batches(self) -> list[dict[str, Any]]:
        """The decoded batches; each stands under its agent's id."""
        decoded = [avro.decode_as("TelemetryBatch", value) for _, _, value in self.records]
        assert [key.decode() for _, key, _ in self.records] == [one["agent_id"] for one in decoded]
        assert {topic for topic, _, _ in self.records} <= {topics.BATCHES}
        return decoded

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of all batches, end to end."""
        return [event for batch in self.batches for event in batch["events"]]


@dataclass
class MemoryEvaluators:
    """`Evaluators` whose agents have done nothing yet, or that say what they are told; keep what is asked."""

    pacts: PactBook
    answer: ReadAnswer | None = None
    found: bool = True
    failure: Exception | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)

    async def ask(self, **question: Any) -> ReadAnswer:
        self.asked.append(question)
        if self.failure is not None:
            raise self.failure
        return self.answer or self._foreseen(question)

    async def cancel(self, **reservation: Any) -> bool:
        self.asked.append(reservation)
        return self.found

    async def close(self) -> None:
        return None

    def _foreseen(self, question: dict[str, Any]) -> ReadAnswer:
        pact = self.pacts.compiled(question["pact_id"], question["pact_version"])
        assert pact is not None
        tool, params, session = question["tool"], question["params"], question["session_id"]
        call = Call(
            uuid4(), tool, params, outcome=None, session_id=session, occurred_at_micros=clock.now_micros()
        )
        found = pact.foresee(call, PactState()).verdict
        raw = msgspec.Raw(msgspec.json.encode(found))
        return ReadAnswer(found.valid, found.bound, found.severity, raw, "2026-05-13T10:00:00.000000Z")


@dataclass
class TestGateway:
    """The application, what it published, and a key with every scope."""

    __test__ = False

    app: FastAPI
    publisher: MemoryPublisher
    evaluators: MemoryEvaluators
    directory: TenantDirectory
    pacts: PactBook
    key: str
    others_key: str
    pages: PageBook
    marks: Any
    routes: RouteBook
    ready: bool = True

    def ask(self, method: str, path: str, *, key: str | None = "", **options: Any) -> httpx.Response:
        """One request, with the key of every scope unless another, or None, is given."""
        headers = dict(options.pop("headers", {}))
        if key is not None:
            headers["X-Pact-Key"] = key or self.key
        return self.send(method, path, headers=headers, **options)

    def send(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> httpx.Response:
        """One request as it is."""

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, client=("192.0.2.1", 50_000))
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
                return await client.request(method, path, headers=headers, **options)

        return asyncio.run(ask())

    def post_events(self, content: Any, **options: Any) -> httpx.Response:
        """Send a body of events."""
        return self.ask("POST", EVENTS, content=content, **options)

    def administer(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request with the administrators' key."""
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"} | dict(options.pop("headers", {}))
        return self.send(method, path, headers=headers, **options)

    def new_key(self, *scopes: Scope, tenant_id: str = ACME, **fields: Any) -> str:
        """Another key of a tenant's."""
        tenant = self.directory.get(tenant_id)
        assert tenant is not None
        key, record = new_key(label="another", scopes=scopes or SCOPES, now_micros=0, **fields)
        self.put(tenant.with_key(record))
        return key

    def put(self, tenant: Tenant) -> None:
        """Put a tenant in the place of its former self."""
        table: Any = self.directory.table
        table.put(tenant.tenant_id, tenant.encode())


def make_gateway(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> TestGateway:
    """Acme with Atlas, a second and a paused agent, and a pact; another tenant with a stranger and its pact."""
    monkeypatch.setattr(tenants_module, "Table", MemoryTable)
    monkeypatch.setattr(pacts_module, "Table", MemoryTable)
    monkeypatch.setattr(paging_records, "Table", MemoryTable)
    admin = hashlib.sha256(ADMIN_KEY.encode()).hexdigest()
    settings = GatewaySettings(gateway_admin_key_sha256=admin, **changes)
    directory, pacts = TenantDirectory(settings), PactBook(settings)
    issuers: Any = MemoryTable(settings, topics.ISSUERS, issuers_module.decode)
    changes_made: Any = MemoryChanges(directory.table, pacts.table, issuers)
    publisher: Any = MemoryPublisher()
    evaluators: Any = MemoryEvaluators(pacts)
    rate, burst = settings.gateway_events_per_second, settings.gateway_events_burst
    failures, preflights = settings.gateway_failures_per_minute, settings.gateway_preflights_per_second
    store = PactStore(
        pacts, directory, changes_made, versions_per_tenant=settings.gateway_pact_versions_per_tenant
    )

    tenancy = Tenancy(directory, changes_made, Placement(directory, 1, lambda: 1))
    pages, routes = PageBook(settings), RouteBook(settings)
    marks: Any = paging_records.mark_table(settings)
    paging_changes: Any = MemoryChanges(marks, routes.table)
    actions = PageActions(pages, marks, paging_changes, store, tenancy, publisher)

    async def ready() -> bool:
        return gateway.ready

    parts = Parts(
        access=Access(directory, bytes.fromhex(admin), RateLimiter(failures, failures), trusted_proxies=0),
        pacts=pacts,
        publisher=publisher,
        evaluators=evaluators,
        store=store,
        tenancy=tenancy,
        issuance=Issuance(issuers, directory, changes_made, publisher),
        pages=actions,
        page_links=PageLinks(actions, directory, PAGING_KEYS),
        routing=PagingRoutes(routes, paging_changes, publisher, PAGING_KEYS, allow_private=False),
        events_limiter=RateLimiter(60 * rate, burst),
        preflight_limiter=RateLimiter(60 * preflights, preflights),
        write_limiter=RateLimiter(
            settings.gateway_pact_writes_per_minute, settings.gateway_pact_writes_per_minute
        ),
        ready=ready,
        close=lambda: None,
    )
    app = create_app(parts, settings)
    keys = _populate(directory, store)
    gateway = TestGateway(app, publisher, evaluators, directory, pacts, *keys, pages, marks, routes)
    return gateway


def _populate(directory: TenantDirectory, store: PactStore) -> tuple[str, str]:
    """Both tenants with their agents and pacts; a key of each."""
    table: Any = directory.table
    key, record = new_key(label="test", scopes=SCOPES, now_micros=0)
    others_key, others_record = new_key(label="test", scopes=SCOPES, now_micros=0)
    acme = Tenant(ACME, "Acme", "tenant-acme", clock.now_micros()).with_key(record)
    for agent_id, status in ((ATLAS, "active"), (SECOND, "active"), (PAUSED, "paused")):
        acme = acme.with_agent(Agent(agent_id, "an agent", "active" if status == "active" else "paused", 0))
    table.put(ACME, acme.encode())
    other = Tenant(OTHER, "Other", "tenant-other", clock.now_micros()).with_key(others_record)
    table.put(OTHER, other.with_agent(Agent(STRANGER, "a stranger", "active", 0)).encode())
    store.put(ACME, TREASURY, json.dumps(pact_document()).encode(), "test")
    others_document = pact_document(agentId=STRANGER, name="Theirs")
    store.put(OTHER, OTHERS_PACT, json.dumps(others_document).encode(), "test")
    return key, others_key
