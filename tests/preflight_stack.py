"""Gateways and evaluators as processes, for pre-flights and reservations under load and under faults."""

from __future__ import annotations

import hashlib
import signal
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import urllib3

from pactstream.devstack import ports
from pactstream.devstack.onboarding import Onboarding
from pactstream.devstack.supervisor import Supervisor, python_program
from pactstream.kafka import topics
from pactstream.kafka.owners import partition_of
from pactstream.settings import KafkaSettings
from tests.stack import eventually

ADMIN_KEY = "the administrators' key"
PARTITIONS = 2
PACT: dict[str, Any] = {
    "name": "Budget",
    "conditions": [
        {
            "type": "window",
            "severity": "critical",
            "window": {
                "aggregate": "sum",
                "tools": ["pay"],
                "paramPath": "amount",
                "over": {"sliding": "PT1H"},
                "limit": "2000",
            },
        }
    ],
}


@dataclass(frozen=True, slots=True)
class Spender:
    """A registered agent with a pact of its own."""

    agent_id: str
    pact_id: str
    key: str

    def asks(self, amount: object = 10, **members: Any) -> dict[str, Any]:
        """The body of a pre-flight."""
        return {"agentId": self.agent_id, "tool": "pay", "params": {"amount": amount}} | members

    def pays(self, amount: object = 10, **members: Any) -> dict[str, Any]:
        """The event of the call itself."""
        return {
            "type": "tool_call",
            "sessionId": "s-1",
            "agentId": self.agent_id,
            "pactId": self.pact_id,
            "tool": "pay",
            "params": {"amount": amount},
            "outcome": "success",
            "attemptedAt": "2026-05-13T10:00:00Z",
        } | members

    @property
    def path(self) -> str:
        """Where to ask."""
        return f"/api/v1/pacts/{self.pact_id}/validate-call"

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        return {"X-Pact-Key": self.key}


@dataclass
class Cluster:
    """Processes on one topic prefix; `gateways` are their URLs."""

    settings: KafkaSettings
    supervisor: Supervisor
    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    gateways: list[str] = field(default_factory=list)
    workers: list[str] = field(default_factory=list)

    def start_gateway(self) -> None:
        port, name = ports.free_port(), f"gateway-{len(self.gateways)}"
        admin = hashlib.sha256(ADMIN_KEY.encode()).hexdigest()
        own = {"GATEWAY_PORT": str(port), "GATEWAY_METRICS_PORT": "0", "GATEWAY_ADMIN_KEY_SHA256": admin}
        generous = {"GATEWAY_PREFLIGHTS_PER_SECOND": "10000", "GATEWAY_EVENTS_PER_SECOND": "100000"}
        self._start(name, "ingest_gateway", own | generous)
        self.gateways.append(f"http://127.0.0.1:{port}")

    def start_worker(self, name: str) -> None:
        self._start(name, "evaluator_worker", {"EVALUATOR_PORT": str(ports.free_port())})
        self.workers.append(name)

    def kill(self, name: str) -> None:
        self.supervisor.stop(name, kill=True)

    def signal(self, name: str, number: signal.Signals) -> None:
        self.supervisor.child(name).process.send_signal(number)

    def register(self, count: int, document: Mapping[str, Any] = PACT) -> list[Spender]:
        """Agents, evenly over the partitions; the pact of each is known to all gateways."""
        onboarding = Onboarding(self.gateways[0], ADMIN_KEY)
        made: list[Spender] = []
        while len(made) < count:
            agent_id, pact_id = str(uuid.uuid4()), str(uuid.uuid4())
            if partition_of(agent_id.encode(), PARTITIONS) != len(made) % PARTITIONS:
                continue
            pact = dict(document) | {"agentId": agent_id}
            key = onboarding.register(agent_id, "spender", pact_id=pact_id, document=pact)
            made.append(Spender(agent_id, pact_id, key))
        for spender in made:
            for gateway in self.gateways:
                eventually(lambda s=spender, g=gateway: ask(g, s) == 200, timeout=60)  # type: ignore[misc]
        return made

    def _start(self, name: str, module: str, own: Mapping[str, str]) -> None:
        shared = {
            "KAFKA_BOOTSTRAP": self.settings.kafka_bootstrap,
            "KAFKA_TOPIC_PREFIX": self.settings.kafka_topic_prefix,
            "KAFKA_SESSION_SECONDS": str(self.settings.kafka_session_seconds),
            "INSTANCE": name,
        }
        environment = {f"PACTSTREAM_{key}": value for key, value in (shared | dict(own)).items()}
        log = self.directory / f"{name}.log"
        program = python_program(name, module, log_file=log, env=environment | dict(self.environment))
        self.supervisor.start(program)


def ask(gateway: str, spender: Spender) -> int:
    """The status of a pre-flight that holds nothing; 0: nobody answers."""
    try:
        http = urllib3.PoolManager(retries=False, timeout=5)
        return http.request("POST", gateway + spender.path, json=spender.asks(), headers=spender.headers).status
    except urllib3.exceptions.HTTPError:
        return 0


@contextmanager
def cluster(
    settings: KafkaSettings, directory: Path, *, gateways: int = 2, workers: int = 2, **environment: str
) -> Iterator[Cluster]:
    """So many gateways and evaluators."""
    topics.apply(settings, partitions=PARTITIONS, replication=1)
    with Supervisor() as supervisor:
        running = Cluster(settings, supervisor, directory, environment)
        for number in range(workers):
            running.start_worker(f"worker-{number}")
        for _ in range(gateways):
            running.start_gateway()
        for url in running.gateways:
            eventually(lambda u=url: _ready(u), timeout=60)  # type: ignore[misc]
        yield running


def _ready(url: str) -> bool:
    try:
        return urllib3.PoolManager(retries=False, timeout=2).request("GET", url + "/readyz").status == 200
    except urllib3.exceptions.HTTPError:
        return False


async def post(
    session: aiohttp.ClientSession, url: str, spender: Spender, content: Mapping[str, Any]
) -> tuple[int, dict[str, Any]]:
    """Status and JSON of one request; 0 where there is no answer."""
    try:
        async with session.post(url, json=content, headers=spender.headers) as answer:
            return answer.status, await answer.json()
    except (TimeoutError, aiohttp.ClientError):
        return 0, {}
