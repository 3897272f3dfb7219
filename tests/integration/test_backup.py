"""docs/backup.md, rehearsed: everything is backed up, destroyed and restored, and goes on where it was."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3

from pactstream import clock
from pactstream.clickhouse.client import ClickHouse
from pactstream.demo import published_leaves, reflected, report_url
from pactstream.devstack import ports
from pactstream.devstack.clickhouse.engine import BACKUPS
from pactstream.devstack.services import DEPLOYMENT, Services
from pactstream.devstack.stack import Stack
from pactstream.fetch import fetch
from pactstream.ledger import files
from pactstream.ledger.pins import PinBook
from pactstream.ledger.verification import Verification, source
from pactstream.signing.report import verify_report
from tests.pipeline import TestAgent, assert_ledger_sound, new_agent, rows_of
from tests.stack import eventually

TIMEOUT_SECONDS = 60


@contextmanager
def deployment(directory: Path, admin_key: str, restore: str | None = None) -> Iterator[Services]:
    """Kafka, ClickHouse and the five services on what is in `directory`; `restore` is run before they start."""
    with Stack(directory / "stack") as stack:
        services = Services(
            supervisor=stack.supervisor,
            data_dir=directory,
            kafka_bootstrap=stack.kafka_bootstrap,
            clickhouse_host=stack.clickhouse_host,
            clickhouse_port=stack.clickhouse_port,
            gateway_port=ports.free_port(),
            oracle_port=ports.free_port(),
            admin_key=admin_key,
            extra_environment={"PACTSTREAM_PUBLISH_INTERVAL_SECONDS": "0.1"},
        )
        if restore is not None:
            statement(services, restore)
        services.prepare(partitions=2)
        services.start()
        yield services


def send(services: Services, agent: TestAgent, body: dict[str, Any]) -> None:
    """One request, without event ids: the same body is the same events."""
    answer = urllib3.request(
        "POST",
        f"{services.gateway_url}/api/v1/telemetry/events",
        json=body,
        headers={"X-Pact-Key": agent.api_key},
    )
    assert answer.status == 200, answer.data


def body_of(agent: TestAgent, number: int) -> dict[str, Any]:
    at = "2026-05-13T12:00:00Z"
    common: dict[str, Any] = {"agentId": agent.agent_id, "sessionId": f"s-{number}"}
    calls: list[dict[str, Any]] = [
        {"type": "tool_call", "tool": "lookup", "params": {"id": n}, "attemptedAt": at, "outcome": "success"}
        for n in range(3)
    ]
    return {"events": [common | one for one in ({"type": "session_start", "startedAt": at}, *calls)]}


def settle(services: Services, agent: TestAgent, count: int) -> None:
    """Wait until `count` events are in ClickHouse, in the score and under the published checkpoint."""
    eventually(lambda: len(rows_of(services, agent.agent_id)) >= count, TIMEOUT_SECONDS, 0.1)
    eventually(lambda: reflected(services, agent.agent_id) >= count, TIMEOUT_SECONDS, 0.1)
    eventually(lambda: published_leaves(services) >= count, TIMEOUT_SECONDS, 0.1)


def verified(services: Services, remembered: Path, count: int) -> None:
    """A stranger's look at the published files, with what he remembers of his last one."""
    with files.held(remembered):
        where = str(services.tiles_dir)
        logs = Verification(where, source(where), PinBook(remembered)).run()
    assert [str(finding) for one in logs for finding in one.findings] == []
    assert sum(one.leaves for one in logs) == count


def signed_by(services: Services, agent: TestAgent, jwks: dict[str, Any]) -> None:
    raw = fetch(report_url(services, agent.agent_id))
    verify_report(raw, jwks, issuer=DEPLOYMENT, now_micros=clock.now_micros())


def statement(services: Services, sql: str) -> None:
    with ClickHouse(services.clickhouse, use_database=False) as server:
        server.command(sql)


def modes(directory: Path) -> dict[str, int]:
    """Of each file in it, and of itself: a key that others can read would be refused."""
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in (directory, *directory.iterdir())}


def tar(*arguments: str | Path) -> None:
    subprocess.run(["tar", *map(str, arguments)], check=True)


def test_everything_comes_back_and_goes_on(tmp_path: Path) -> None:
    place, backup, stranger = (tmp_path / name for name in ("place", "backup", "stranger"))
    place.mkdir()
    backup.mkdir()
    key = "adm_a-key-of-the-rehearsal"
    with deployment(place, key) as services:
        agent = new_agent(services)
        first, second = body_of(agent, 1), body_of(agent, 2)
        send(services, agent, first)
        eventually(lambda: len(rows_of(services, agent.agent_id)) == 4, TIMEOUT_SECONDS, 0.1)
        # ClickHouse first, while all runs: what comes after is in Kafka, and the projectors bring it.
        statement(services, f"BACKUP DATABASE {services.database} TO File('now')")
        send(services, agent, second)
        settle(services, agent, 8)
        verified(services, stranger, 8)
        jwks = json.loads(fetch(f"{services.oracle_url}/.well-known/jwks.json"))
        before = rows_of(services, agent.agent_id)
    # Everything has stopped, Kafka last.
    tar("-C", place / "stack", "-cf", backup / "kafka.tar", "kafka")
    tar("-C", place, "-cpf", backup / "keys.tar", "keys")
    tar("-C", place, "-cf", backup / "published.tar", "published")
    tar("-C", place / "stack" / "clickhouse" / BACKUPS, "-cf", backup / "clickhouse.tar", "now")

    kept = modes(place / "keys")

    shutil.rmtree(place)

    (place / "stack" / "clickhouse" / BACKUPS).mkdir(parents=True)
    tar("-C", place / "stack", "-xf", backup / "kafka.tar")
    tar("-C", place, "-xpf", backup / "keys.tar")
    tar("-C", place, "-xf", backup / "published.tar")
    tar("-C", place / "stack" / "clickhouse" / BACKUPS, "-xf", backup / "clickhouse.tar")
    assert modes(place / "keys") == kept
    with deployment(place, key, restore="RESTORE DATABASE pactstream FROM File('now')") as services:
        # The second batch was judged after ClickHouse's backup: Kafka had it, and it is judged once.
        send(services, agent, first)
        send(services, agent, second)
        send(services, agent, body_of(agent, 3))
        settle(services, agent, 12)
        after = rows_of(services, agent.agent_id)
        assert after[:8] == before
        assert [sequence for sequence, *_ in after] == list(range(1, 13))
        # From genesis, chains and signatures included; and as somebody sees it who remembers the time before.
        assert_ledger_sound(services)
        verified(services, stranger, 12)
        signed_by(services, agent, jwks)
        assert json.loads(fetch(f"{services.oracle_url}/.well-known/jwks.json")) == jwks
