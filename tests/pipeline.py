"""The five services as real processes on the tests' stack, and an agent to send through them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pactstream import Telemetry, atlas
from pactstream.clickhouse.client import ClickHouse
from pactstream.clickhouse.verify import verify_ledger
from pactstream.devstack import ports
from pactstream.devstack.onboarding import Onboarding
from pactstream.devstack.services import DEPLOYMENT, SERVICES, Services
from pactstream.devstack.supervisor import Supervisor
from pactstream.signing import keys
from tests.stack import ClickHouseAddress


@dataclass(frozen=True, slots=True)
class TestAgent:
    """A registered agent under Atlas's pact."""

    __test__ = False

    agent_id: str
    pact_id: str
    api_key: str

    def telemetry(self, services: Services, **changes: Any) -> Telemetry:
        """An SDK client of this agent."""
        options: dict[str, Any] = {"flush_interval_seconds": 0.1, "retry_first_seconds": 0.05} | changes
        return Telemetry(
            api_key=self.api_key,
            base_url=services.gateway_url,
            agent_id=self.agent_id,
            pact_id=self.pact_id,
            **options,
        )


@contextmanager
def pipeline(
    bootstrap: str,
    clickhouse: ClickHouseAddress,
    prefix: str,
    directory: Path,
    *,
    more: Sequence[str] = (),
    **environment: str,
) -> Iterator[Services]:
    """All five services and `more`, ready, with `environment` for all; stopped on leaving."""
    with Supervisor() as supervisor:
        services = Services(
            supervisor=supervisor,
            data_dir=directory,
            kafka_bootstrap=bootstrap,
            clickhouse_host=clickhouse.host,
            clickhouse_port=clickhouse.port,
            clickhouse_user=clickhouse.user,
            clickhouse_password=clickhouse.password,
            database=clickhouse.database,
            topic_prefix=prefix,
            gateway_port=ports.free_port(),
            oracle_port=ports.free_port(),
            extra_environment=environment,
        )
        services.prepare(partitions=2)
        services.start((*SERVICES, *more))
        yield services


def new_agent(services: Services, **changes: Any) -> TestAgent:
    """A fresh agent with a pact of its own, in the demo's tenant; `changes` to the document of Atlas's pact."""
    agent_id, pact_id = str(uuid.uuid4()), str(uuid.uuid4())
    document = json.loads(atlas.pact_document()) | {"agentId": agent_id} | changes
    onboarding = Onboarding(services.gateway_url, services.admin_key)
    api_key = onboarding.register(agent_id, "test agent", pact_id=pact_id, document=document)
    return TestAgent(agent_id, pact_id, api_key)


def rows_of(services: Services, agent_id: str) -> list[tuple[Any, ...]]:
    """The agent's ledger rows in its own order: (sequence, event id, type, valid)."""
    sql = """
    SELECT sequence, toString(event_id), type, valid FROM room_events
    WHERE agent_id = {agent:UUID} ORDER BY sequence, event_id
    """
    with ClickHouse(services.clickhouse) as database:
        return list(database.rows(sql, {"agent": agent_id}))


def assert_ledger_sound(services: Services) -> None:
    """Every log verifies from its rows with the public key alone."""
    public = [key.public for key in keys.load_keys(services.key_dir, "ledger")]
    with ClickHouse(services.clickhouse) as database:
        reports = verify_ledger(database, deployment=DEPLOYMENT, keys=public)
    assert [str(finding) for report in reports for finding in report.findings] == []
    assert reports
