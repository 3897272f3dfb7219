"""A night on call from the command line, with all services: accept, rotate, and the bundle for the auditor."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pactstream import PactViolation, Telemetry
from pactstream.clickhouse.client import ClickHouse
from pactstream.devstack import sink
from pactstream.devstack.onboarding import Onboarding
from pactstream.devstack.services import DEPLOYMENT, PAGING, Services
from pactstream.errors import Fatal
from pactstream.fetch import fetch
from pactstream.ledger.verification import KEYS, source
from tests.cli_tools import Ran, Run, runner
from tests.pipeline import TestAgent, new_agent, pipeline
from tests.stack import ClickHouseAddress, eventually

SCOPES = ("trust:private", "pacts:read", "pages:act", "pages:admin")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys)


def send(services: Services, agent: TestAgent, **params: object) -> None:
    call = {"destination": "treasury-main", "amount": 10, "currency": "USDC"} | params
    with agent.telemetry(services) as telemetry:
        telemetry.session_start(session_id="s-1")
        telemetry.tool_call(tool="transfer_funds", params=call, session_id="s-1")
        telemetry.flush(30)


def refuses(telemetry: Telemetry) -> bool:
    """Whether a call that the pact allows is refused before it is made."""

    @telemetry.instrument_tool
    def get_balance(account: str) -> str:
        return account

    try:
        with telemetry.session():
            get_balance("treasury-main")
    except PactViolation as violation:
        return violation.verdict.violations[0].rule == "agent_paused"
    return False


def standing(services: Services, agent: TestAgent) -> str:
    """What the oracle's report says of the agent."""
    try:
        report = json.loads(fetch(f"{services.oracle_url}/api/v1/trust/{agent.agent_id}"))
    except Fatal:
        return "no report yet"
    return str(report["agentStatus"])


def sealed(services: Services, agent: TestAgent, kind: str) -> list[str]:
    with ClickHouse(services.clickhouse) as database:
        found = database.rows(
            "SELECT outcome FROM room_events WHERE agent_id = {agent:UUID} AND type = {kind:String}",
            {"agent": agent.agent_id, "kind": kind},
        )
    return sorted(outcome for (outcome,) in found)


@dataclass
class Night:
    """Who is on call, with a command line; what the team is told arrives at `team`."""

    services: Services
    agent: TestAgent
    run: Run
    team: sink.Sink
    paged: set[str] = field(default_factory=set)

    def ok(self, *arguments: object) -> str:
        done: Ran = self.run(*arguments)
        assert done.code == 0, done.err
        return done.out

    def page(self) -> str:
        """A violation, and the page that it opens."""
        send(self.services, self.agent, destination=f"0x{uuid.uuid4().hex}")
        notices = iter(lambda: self.team.notices.get(timeout=30), None)
        found = next(one["data"]["pageId"] for one in notices if one["data"].get("pageId") not in self.paged)
        self.paged.add(found)
        return str(found)

    def accept(self) -> None:
        page = self.page()
        assert page in self.ok("pages", "list", "--status", "open")
        assert "allowList" in self.ok("pages", "show", page)
        self.ok("pages", "ack", page, "--note", "looking")
        assert "version 2 is in force" in self.ok("pages", "accept", page, "--reason", "a supplier", "--yes")
        eventually(lambda: "accepted" in self.ok("pages", "show", page), timeout=20)

    def block_and_resume(self) -> None:
        page, services, agent = self.page(), self.services, self.agent
        self.ok("pages", "block", page, "--reason", "odd")
        with agent.telemetry(services, block_on="critical") as telemetry:
            eventually(lambda: refuses(telemetry), timeout=10)
            eventually(lambda: standing(services, agent) == "paused", timeout=10)
            self.ok("agent", "resume", agent.agent_id, "--reason", "explained")
            eventually(lambda: not refuses(telemetry), timeout=10)
            eventually(lambda: standing(services, agent) == "active", timeout=10)
        eventually(lambda: self.run("pages", "rotate", page, "--reason", "x").code == 3, timeout=20)

    def rotate(self) -> None:
        page, services, agent = self.page(), self.services, self.agent
        assert "pk_live_" in self.ok("pages", "rotate", page, "--reason", "leaked")
        eventually(lambda: self.run("pages", "block", page, "--reason", "x").code == 3, timeout=20)
        eventually(lambda: sealed(services, agent, "session_end").count("aborted") == 1, timeout=30)
        eventually(lambda: "rotated" in sealed(services, agent, "page"), timeout=30)

    def bundle(self, path: Path) -> None:
        """The agent's audit bundle, as soon as all is published."""
        services = self.services

        def is_published() -> bool:
            path.unlink(missing_ok=True)
            asked = ("audit", "bundle", self.agent.agent_id, "--since", "1h", "--out", path)
            made = self.run(*asked, "--url", services.oracle_url, "--key-dir", services.key_dir)
            return made.code == 0 and verified().count("event") == 1

        def verified() -> str:
            return self.ok("audit", "verify", path, "--url", services.oracle_url, "--issuer", DEPLOYMENT)

        eventually(is_published, timeout=30, interval=0.5)


@pytest.mark.timeout(300)
def test_a_night_on_call(
    kafka_bootstrap: str,
    topic_prefix: str,
    clickhouse_database: ClickHouseAddress,
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle, log_keys, jwks = tmp_path / "x.zip", tmp_path / "log-keys", tmp_path / "jwks.json"
    with (
        pipeline(
            kafka_bootstrap, clickhouse_database, topic_prefix, tmp_path / "s", more=(PAGING,)
        ) as services,
        sink.receiving() as team,
    ):
        night = Night(services, new_agent(services), run, team)
        key = Onboarding(services.gateway_url, services.admin_key).issue("on call", SCOPES)
        for name, value in services.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PACTSTREAM_API_KEY", key)
        monkeypatch.setenv("PACTSTREAM_GATEWAY_URL", services.gateway_url)

        made = night.ok("routes", "put", "webhook", "team", "--address", team.url)
        route = re.search(r"route ([0-9a-f-]{36})", made)
        assert route is not None
        assert "whsec_" in made
        assert "webhook" in night.ok("routes", "list")
        night.ok("routes", "test", route[1])
        assert team.notices.get(timeout=30)["type"] == "test"

        night.accept()
        night.block_and_resume()
        night.rotate()
        night.ok("routes", "delete", route[1])
        night.bundle(bundle)
        # Offline, with keys that were handed over before.
        log_keys.write_bytes(source(services.oracle_url)(KEYS))
        jwks.write_text(night.ok("keys", "public", "--for", "report", "--dir", services.key_dir))
    offline = ("--jwks", jwks, "--keys", log_keys, "--issuer", DEPLOYMENT)
    assert "in order" in run("audit", "verify", bundle, *offline).out
    (tmp_path / "y.zip").write_bytes(bundle.read_bytes() + b"\0")
    assert run("audit", "verify", tmp_path / "y.zip", *offline).code == 1
