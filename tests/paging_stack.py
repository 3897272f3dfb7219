"""The services that paging needs, as processes, with Atlas registered and a key that may do everything."""

from __future__ import annotations

import json
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from pactstream import atlas
from pactstream.clickhouse.client import ClickHouse
from pactstream.devstack import ports
from pactstream.devstack.onboarding import TENANT_ID, Onboarding
from pactstream.devstack.services import PAGING, Services
from pactstream.devstack.supervisor import Supervisor
from tests.stack import ClickHouseAddress

ROUTE = "/api/v1/paging/routes/0190d0a0-0000-7000-8000-00000000000a"


@dataclass
class Stack:
    """The services that paging needs, and a key that may do everything."""

    services: Services
    key: str

    def ask(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        headers = {"X-Pact-Key": self.key}
        url = path if path.startswith("http") else self.services.gateway_url + path
        return httpx.request(method, url, json=body, headers=headers, trust_env=False, timeout=20, **options)

    def send(self, **params: Any) -> dict[str, Any]:
        event = {
            "type": "tool_call",
            "eventId": str(uuid.uuid4()),
            "sessionId": "s-1",
            "agentId": atlas.AGENT_ID,
            "pactId": atlas.PACT_ID,
            "tool": "transfer_funds",
            "params": {"destination": "0xBAD", "amount": 10, "currency": "USDC"} | params,
            "outcome": "success",
            "attemptedAt": "2026-05-13T10:00:00Z",
        }
        answer = self.ask("POST", "/api/v1/telemetry/events", {"events": [event]})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()["results"][0]
        return found

    def pages(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("GET", "/api/v1/pages").json()["pages"]
        return found

    def rows(self) -> list[dict[str, Any]]:
        with ClickHouse(self.services.clickhouse) as database:
            found = database.rows("SELECT toString(page_id), status, resolution, deliveries FROM pages FINAL")
        names = ("page", "status", "resolution", "deliveries")
        return [dict(zip(names, row, strict=True)) for row in found]

    def kill_paging(self) -> None:
        child = self.services.supervisor.child(PAGING)
        child.process.send_signal(signal.SIGKILL)
        child.process.wait(10)
        self.services.supervisor.stop(PAGING, kill=True)


@contextmanager
def running(
    bootstrap: str, prefix: str, database: ClickHouseAddress, directory: Path, *names: str, **environment: str
) -> Iterator[Stack]:
    with Supervisor() as supervisor:
        services = Services(
            supervisor=supervisor,
            data_dir=directory,
            kafka_bootstrap=bootstrap,
            clickhouse_host=database.host,
            clickhouse_port=database.port,
            clickhouse_user=database.user,
            clickhouse_password=database.password,
            gateway_port=ports.free_port(),
            oracle_port=ports.free_port(),
            database=database.database,
            topic_prefix=prefix,
            extra_environment={f"PACTSTREAM_{name}": value for name, value in environment.items()},
        )
        services.prepare(partitions=2)
        services.start(("ingest_gateway", "evaluator_worker", *names))
        onboarding = Onboarding(services.gateway_url, services.admin_key)
        document = json.loads(atlas.pact_document())
        onboarding.register(atlas.AGENT_ID, "Atlas", pact_id=atlas.PACT_ID, document=document)
        yield Stack(services, _key(services))


def _key(services: Services) -> str:
    scopes = ["telemetry:write", "preflight", "pacts:read", "pacts:write", "pages:act", "pages:admin"]
    answer = httpx.post(
        f"{services.gateway_url}/api/v1/tenants/{TENANT_ID}/keys",
        json={"label": "responder", "scopes": scopes},
        headers={"Authorization": f"Bearer {services.admin_key}"},
        trust_env=False,
    )
    return str(answer.json()["key"])
