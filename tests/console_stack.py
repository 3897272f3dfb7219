"""All services and the console on the tests' stack: a tenant with Atlas's day, and another one."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pactstream import Telemetry, atlas, clock
from pactstream.clickhouse.client import ClickHouse
from pactstream.control.tenants import SCOPES
from pactstream.devstack import ports
from pactstream.devstack.onboarding import TENANT_ID, Onboarding
from pactstream.devstack.services import CONSOLE, PAGING, Services
from pactstream.fetch import fetch
from tests.pipeline import TestAgent, pipeline, rows_of
from tests.stack import ClickHouseAddress, eventually

OTHER_TENANT = "7e2a9700-0000-4000-8000-000000000002"
SEED = 42
STRANGER = "0xBAD0BAD0BAD0BAD0BAD0BAD0BAD0BAD0BAD0BAD0"
_VIOLATIONS = json.dumps(
    [
        {
            "paramPath": "destination",
            "rule": "allowList",
            "severity": "critical",
            "value": STRANGER,
            "expected": ["0xA11A5e5b1cD2aC3E4f60718293a4B5c6D7e8F901"],
            "message": "destination is not on the allow list",
        }
    ]
)


@dataclass(frozen=True, slots=True)
class ConsoleStack:
    """The running services; `key` opens the console for Atlas's tenant, `other_key` for the other one."""

    services: Services
    atlas: TestAgent
    key: str
    other: TestAgent
    other_key: str
    page_port: int
    """Where a page of another origin may stand that the gateway answers."""

    @property
    def url(self) -> str:
        """The console."""
        return self.services.console_url

    @property
    def onboarding(self) -> Onboarding:
        """The administrator's side."""
        return Onboarding(self.services.gateway_url, self.services.admin_key)

    other_tenant = OTHER_TENANT

    def revoke(self, key: str) -> None:
        """Revoke one of the first tenant's keys."""
        path = f"/api/v1/tenants/{TENANT_ID}/keys/{key.split('_')[2]}/revoke"
        fetch(
            self.services.gateway_url + path,
            "POST",
            headers={"Authorization": f"Bearer {self.services.admin_key}"},
        )

    def violate(self, agent: TestAgent, **params: object) -> str:
        """A transfer to a stranger in a session of its own; the id of the page that it opened."""
        self.call(
            "transfer_funds", {"destination": STRANGER, "amount": 5, "currency": "USDC"} | params, agent=agent
        )
        sql = "SELECT toString(page_id) FROM pages FINAL WHERE agent_id = {agent:UUID} LIMIT 1"
        with ClickHouse(self.services.clickhouse) as database:
            rows = eventually(lambda: database.rows(sql, {"agent": agent.agent_id}), timeout=30)
        return str(rows[0][0])

    def lone_agent(self, *, may_act_as_agent: bool) -> tuple[TestAgent, str]:
        """An agent in a tenant of its own, and a key that opens the console there."""
        tenant, agent, pact = (str(uuid.uuid4()) for _ in range(3))
        document = json.loads(atlas.pact_document()) | {"agentId": agent}
        key = self.onboarding.register(agent, "Lone", pact_id=pact, document=document, tenant_id=tenant)
        scopes = ["trust:private", "pages:act", *(["telemetry:write"] if may_act_as_agent else [])]
        opens = self.onboarding.issue("console", scopes, tenant_id=tenant)
        return TestAgent(agent, pact, key), opens

    def drift(self, agent: TestAgent) -> None:
        """A row of `anomalies`, as the anomaly app writes it."""
        now = clock.now_micros()
        feature = {"feature": "call_rate", "direction": "up", "observed": 9.0, "usual": 2.0, "effect": 3.5}
        row = {
            "tenant_id": TENANT_ID,
            "agent_id": agent.agent_id,
            "anomaly_id": str(uuid.uuid4()),
            "kind": "drift",
            "status": "open",
            "since": now,
            "detected_at": now,
            "features": json.dumps([feature]),
            "attribution": json.dumps({"model_version": "m-2"}),
            "evidence": 200.0,
            "version": 1,
        }
        with ClickHouse(self.services.clickhouse) as database:
            database.insert("anomalies", list(row), [tuple(row.values())])

    def open_page(
        self, page_id: str, agent: TestAgent, event: Mapping[str, Any], *, tenant_id: str = TENANT_ID
    ) -> None:
        """A row of `pages`, as paging writes it, about an event that violates the allow list."""
        now = clock.now_micros()
        row = {
            "tenant_id": tenant_id,
            "page_id": page_id,
            "agent_id": agent.agent_id,
            "pact_id": agent.pact_id,
            "pact_version": 1,
            "rule": "allowList",
            "param_path": "destination",
            "severity": "critical",
            "tool": "transfer_funds",
            "session_id": event["sessionId"],
            "status": "open",
            "occurrences": 1,
            "opened_at": now,
            "last_at": now,
            "updated_at": now,
            "event_id": event["eventId"],
            "last_event_id": event["eventId"],
            "violations": _VIOLATIONS,
            "recent_calls": "[]",
            "history": "[]",
            "deliveries": "[]",
            "version": 1,
        }
        with ClickHouse(self.services.clickhouse) as database:
            database.insert("pages", list(row), [tuple(row.values())])

    def call(self, tool: str, params: Mapping[str, object], *, agent: TestAgent | None = None) -> str:
        """One tool call in a session of its own, as an agent sends it; its event id."""
        whose = agent or self.atlas
        session = f"sess-{uuid.uuid4().hex[:12]}"
        with whose.telemetry(self.services) as telemetry:
            telemetry.session_start(session_id=session)
            receipt = telemetry.tool_call(session_id=session, tool=tool, params=params, outcome="success")
            telemetry.flush(20)
        return str(receipt.event_id)


@contextmanager
def console_stack(
    bootstrap: str, clickhouse: ClickHouseAddress, prefix: str, directory: Path
) -> Iterator[ConsoleStack]:
    """Everything up, and Atlas's day in the ledger."""
    page_port = ports.free_port()
    environment = {
        "PACTSTREAM_CONSOLE_POLL_SECONDS": "0.1",
        "PACTSTREAM_CONSOLE_LOGINS_PER_MINUTE": "600",
        "PACTSTREAM_GATEWAY_CORS_ORIGINS": f"http://{ports.LOOPBACK}:{page_port}",
    }
    with pipeline(bootstrap, clickhouse, prefix, directory, more=[CONSOLE, PAGING], **environment) as services:
        onboarding = Onboarding(services.gateway_url, services.admin_key)
        document = json.loads(atlas.pact_document())
        key = onboarding.register(atlas.AGENT_ID, "Atlas", pact_id=atlas.PACT_ID, document=document)
        ours = TestAgent(atlas.AGENT_ID, atlas.PACT_ID, key)
        agent, pact = str(uuid.uuid4()), str(uuid.uuid4())
        key = onboarding.register(
            agent, "Borealis", pact_id=pact, document=document | {"agentId": agent}, tenant_id=OTHER_TENANT
        )
        other = TestAgent(agent, pact, key)
        stack = ConsoleStack(
            services,
            ours,
            onboarding.issue("console", SCOPES, tenant_id=TENANT_ID),
            other,
            onboarding.issue("console", SCOPES, tenant_id=OTHER_TENANT),
            page_port,
        )
        _live_a_day(stack)
        yield stack


def _live_a_day(stack: ConsoleStack) -> None:
    for agent in (stack.atlas, stack.other):
        with Telemetry(
            api_key=agent.api_key, base_url=stack.services.gateway_url, agent_id=agent.agent_id
        ) as telemetry:
            atlas.run(telemetry, SEED, pact_id=agent.pact_id)
            telemetry.flush(20)
    for agent in (stack.atlas, stack.other):
        eventually(lambda whose=agent.agent_id: len(rows_of(stack.services, whose)) >= 40, timeout=30)  # type: ignore[misc]
    with ClickHouse(stack.services.clickhouse) as database:
        eventually(lambda: database.rows("SELECT count() FROM scores")[0][0] >= 2, timeout=30)
