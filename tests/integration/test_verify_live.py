"""Strangers verify a running deployment: what an agent sent, through five services, two witnesses and HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import urllib3
from typer.testing import CliRunner

from pactstream import atlas
from pactstream.cli import verify
from pactstream.devstack.ports import free_port
from pactstream.devstack.services import DEPLOYMENT, Services
from pactstream.errors import InvalidInput
from pactstream.ledger.cosignature import CosignatureVerifier, Policy
from pactstream.ledger.leaf import parse_leaf
from pactstream.ledger.log_keys import LogKey
from pactstream.ledger.note import Checkpoint, parse_note
from pactstream.ledger.tlog_proof import TlogProof
from pactstream.signing.keys import create_keys, note_verifier
from tests.pipeline import TestAgent, new_agent, pipeline, rows_of
from tests.stack import StackAddresses, eventually, fresh_database, fresh_prefix
from tests.witness_process import witness_key, witness_process

NAMES = ("one.example/w", "two.example/w")
LOGS = 2
TIMEOUT_SECONDS = 60


@dataclass
class World:
    """A deployment with two witnesses, both of which must cosign, and an agent."""

    services: Services
    agent: TestAgent
    keys: dict[str, LogKey]
    vkeys: list[str]
    directories: list[Path]
    ports: list[int]
    witnesses: list[ExitStack]
    journal: Path

    def start_witness(self, number: int) -> None:
        process = witness_process(self.directories[number], NAMES[number], self.ports[number])
        self.witnesses[number].enter_context(process)

    def get(self, path: str) -> urllib3.BaseHTTPResponse:
        return urllib3.request("GET", f"{self.services.oracle_url}/{path}")

    def say(self, count: int) -> None:
        """The agent's next events."""
        with self.agent.telemetry(self.services, journal=self.journal) as telemetry, telemetry.session():
            for number in range(count - 2):
                telemetry.response(input="what is due?", output=f"{number} invoices")

    def published(self) -> int:
        """Leaves under the published checkpoint of the agent's log."""
        answer = self.get(f"ledger/{self.log}/checkpoint")
        return Checkpoint.parse(parse_note(answer.data).text).size if answer.status == 200 else 0

    @property
    def log(self) -> int:
        ((log,),) = {row[:1] for row in self.places()}
        return int(log)

    def places(self) -> list[tuple[int, int, str]]:
        """Log, leaf index and event id of the agent's leaves."""
        from pactstream.clickhouse.client import ClickHouse

        sql = """
        SELECT log, leaf_index, toString(event_id) FROM room_events
        WHERE agent_id = {agent:UUID} ORDER BY sequence
        """
        with ClickHouse(self.services.clickhouse) as database:
            return [(row[0], row[1], row[2]) for row in database.rows(sql, {"agent": self.agent.agent_id})]

    def verify(self, state: Path, *arguments: str) -> str:
        """The command's standard output; it raises what the command raises."""
        asked = [part for vkey in self.vkeys for part in ("--witness", vkey)]
        fixed = ["--url", self.services.oracle_url, "--state", str(state), *asked]
        return CliRunner().invoke(verify.app, [*arguments, *fixed], catch_exceptions=False).stdout


@pytest.fixture(scope="module")
def world(stack: StackAddresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    data_dir = tmp_path_factory.mktemp("verify_live")
    (key,) = create_keys(data_dir / "keys", "ledger")
    origins = [f"{DEPLOYMENT}/ledger/{log}" for log in range(LOGS)]
    keys = {origin: note_verifier(key.public, origin) for origin in origins}
    directories = [tmp_path_factory.mktemp(f"witness{number}") for number in range(len(NAMES))]
    for directory in directories:
        (directory / "logs").write_text("".join(f"{one.line()}\n" for one in keys.values()))
    vkeys = [witness_key(directory, name) for directory, name in zip(directories, NAMES, strict=True)]
    ports = [free_port() for _ in NAMES]
    addresses = [f"http://127.0.0.1:{port} {vkey}" for port, vkey in zip(ports, vkeys, strict=True)]
    with ExitStack() as stack_of_all:
        witnesses = [stack_of_all.enter_context(ExitStack()) for _ in NAMES]
        database = stack_of_all.enter_context(fresh_database(stack))
        services = stack_of_all.enter_context(
            pipeline(
                stack.kafka_bootstrap,
                database,
                fresh_prefix(),
                data_dir,
                PACTSTREAM_WITNESSES=",".join(addresses),
                PACTSTREAM_PUBLISH_INTERVAL_SECONDS="0.1",
            )
        )
        world = World(
            services, new_agent(services), keys, vkeys, directories, ports, witnesses, data_dir / "sent"
        )
        for number in range(len(NAMES)):
            world.start_witness(number)
        world.say(5)
        eventually(lambda: len(rows_of(services, world.agent.agent_id)) == 5, TIMEOUT_SECONDS, 0.1)
        eventually(lambda: world.published() == 5, TIMEOUT_SECONDS, 0.1)
        yield world


def test_the_ledger_and_an_agents_history(world: World, tmp_path: Path) -> None:
    lines = world.verify(tmp_path, "ledger").splitlines()
    (ours,) = [line.split() for line in lines if f"/ledger/{world.log} " in line]
    assert (ours[2], ours[5], ours[6]) == (ours[1], "2", "0"), "all verified, cosigned by two, no fault"
    said = world.verify(tmp_path, "agent", world.agent.agent_id, "--issuer", DEPLOYMENT)
    assert "leaves in pactstream.local/ledger/" in said
    assert "none missing, none changed" in said
    assert "the signed report agrees" in said
    with pytest.raises(InvalidInput, match="is in: none"):
        world.verify(tmp_path, "agent", atlas.AGENT_ID)


def test_all_that_the_agent_was_told_had_arrived_is_there(world: World, tmp_path: Path) -> None:
    said = world.verify(tmp_path, "sent", str(world.journal), "--within", "1s", "--others")
    assert "leaves of the same agents in no journal: 0" in said
    assert "5 events acknowledged: 5 in the ledger as sent, 0 otherwise, 0 missing, 0 too young" in said


def test_an_event_is_proved_offline(world: World) -> None:
    policy = Policy(tuple(CosignatureVerifier.from_vkey(one) for one in world.vkeys), 2)
    for log, index, event_id in world.places()[:3]:
        proof = TlogProof.parse(world.get(f"api/v1/ledger/events/{event_id}/proof").data)
        origin = f"{DEPLOYMENT}/ledger/{log}"
        cosigned = proof.verify(proof.extra, origin, [world.keys[origin]], policy)
        assert proof.index == index
        assert len(cosigned.cosigned_at) == 2
        assert parse_leaf(proof.extra).event_id == event_id
    assert world.get("api/v1/ledger/events/00000000-0000-4000-8000-000000000001/proof").status == 404


def test_without_a_witness_nothing_is_published_and_afterwards_all(world: World, tmp_path: Path) -> None:
    """Fail closed. The sealing goes on; what waited is published when the witness is back."""
    before = world.published()
    world.witnesses[1].close()
    world.say(4)
    sealed = before + 4
    eventually(lambda: len(world.places()) == sealed, TIMEOUT_SECONDS, 0.1)
    log = world.services.data_dir / "ledger_sealer.log"
    eventually(lambda: "1 of 2 witnesses cosigned" in log.read_text(), TIMEOUT_SECONDS, 0.1)
    world.say(3)
    eventually(lambda: len(world.places()) == sealed + 3, TIMEOUT_SECONDS, 0.1)
    assert world.published() == before
    world.start_witness(1)
    eventually(lambda: world.published() == sealed + 3, TIMEOUT_SECONDS, 0.1)
    world.verify(tmp_path, "ledger")
    world.verify(tmp_path, "ledger", "--since", "last")


def test_the_list_of_keys_and_the_size_of_the_log(world: World) -> None:
    lines = world.get("ledger/keys").data.decode().splitlines()
    assert sorted(lines) == sorted(key.line() for key in world.keys.values())
    size = world.published()
    answer = json.loads(world.get(f"api/v1/ledger/{world.log}/consistency?from=3").data)
    assert answer["to"]["size"] == size
