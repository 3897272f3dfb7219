"""Sidecar, agent and gateway are killed; what was acknowledged arrives, in order, once under its id."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from pactstream.devstack.ports import answers, free_port
from pactstream.sdk import Telemetry
from pactstream.settings import environment
from tests.dying_sidecar import STEPS
from tests.sdk_gateway import AGENT, KEY, PACT, Gateway, serving, wait_until

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-of-this-machine"
AGENT_PROGRAM = f"""
import sys, time
from pactstream import Telemetry
tel = Telemetry(api_key={TOKEN!r}, base_url=sys.argv[1], agent_id={AGENT!r}, batch_size=3)
for number in range(9):
    tel.tool_call(tool=f"t{{number}}")
assert tel.flush(20)
print(tel.stats().accepted, flush=True)
time.sleep(60)
"""

TYPESCRIPT = f"""
import {{ Telemetry }} from '{(ROOT / "sdk/typescript/dist/index.js").as_uri()}'
const tel = new Telemetry({{
  apiKey: '{TOKEN}', baseUrl: process.argv[1], agentId: '{AGENT}', pactId: '{PACT}', blockOn: 'critical',
}})
const pay = tel.instrumentTool(async () => 'paid', {{ name: 'pay' }})
console.log(await pay({{ amount: 1 }}))
await tel.close()
"""


class Machine:
    """Where a sidecar runs: its port and directory stay when it is killed."""

    def __init__(self, directory: Path, gateway_port: int, **more: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._variables = {
            "PACTSTREAM_API_KEY": KEY,
            "PACTSTREAM_GATEWAY_URL": f"http://127.0.0.1:{gateway_port}",
            "PACTSTREAM_SIDECAR_TOKEN": TOKEN,
            "PACTSTREAM_SIDECAR_PORT": str(self.port),
            "PACTSTREAM_SIDECAR_DIR": str(directory),
        } | more

    @contextmanager
    def sidecar(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        command = [sys.executable, "-m", "tests.dying_sidecar", *arguments]
        with subprocess.Popen(
            command, env=environment() | self._variables, stderr=subprocess.DEVNULL
        ) as process:
            try:
                wait_until(lambda: answers(self.port) or process.poll() is not None, 30)
                yield process
            finally:
                process.kill()

    def telemetry(self) -> Telemetry:
        return Telemetry(
            api_key=TOKEN,
            base_url=self.url,
            agent_id=AGENT,
            batch_size=2,
            flush_interval_seconds=0.05,
            retry_first_seconds=0.02,
            retry_max_seconds=0.1,
        )


def recorded(gateway: Gateway) -> list[dict[str, Any]]:
    """What the gateway accepts from here on, repeats included."""
    found: list[dict[str, Any]] = []

    def judge(event: dict[str, Any]) -> None:
        found.append(event)

    gateway.judge = judge
    return found


def once(events: list[dict[str, Any]]) -> list[str]:
    """The tools called, as the pipeline would know them: the first of each id."""
    return [event["tool"] for event in {event["eventId"]: event for event in events}.values()]


def answered(tel: Telemetry, events: int) -> bool:
    return tel.stats().accepted == events


def test_killed_between_every_two_durable_steps(tmp_path: Path) -> None:
    with serving() as gateway:
        machine = Machine(tmp_path, gateway.port)
        arrived = recorded(gateway)
        calls = 0
        with machine.telemetry() as tel:
            for step in STEPS:
                for fate in ("lost", "persisted"):
                    # The gateway is slow: what the sidecar then dies with, it has said yes to.
                    gateway.accepting.clear()
                    with machine.sidecar(step, fate) as process:
                        for _ in range(6):
                            tel.tool_call(tool=f"t{calls}")
                            calls += 1
                        if step != "kept":
                            wait_until(partial(answered, tel, calls), 30)
                        gateway.accepting.set()
                        assert process.wait(30) == -signal.SIGKILL, (step, fate)
            with machine.sidecar() as process:
                assert tel.flush(20)
                assert tel.stats().accepted == calls
                wait_until(lambda: len(set(once(arrived))) == calls, 20)
                process.send_signal(signal.SIGTERM)
                assert process.wait(20) == 0
        assert once(arrived) == [f"t{number}" for number in range(calls)]
        # Kills after the gateway had a batch are seen there as repeats.
        assert len(arrived) > calls


def test_an_agent_that_is_killed_while_the_gateway_is_away_loses_nothing_it_was_told_yes_for(
    tmp_path: Path,
) -> None:
    port = free_port()
    machine = Machine(tmp_path, port)
    with machine.sidecar() as sidecar:
        command = [sys.executable, "-c", AGENT_PROGRAM, machine.url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ), text=True) as agent:
            assert agent.stdout is not None
            assert agent.stdout.readline() == "9\n"
            agent.kill()
        sidecar.kill()
    with serving(port) as gateway:
        arrived = recorded(gateway)
        with machine.sidecar():
            wait_until(lambda: len(once(arrived)) == 9, 20)
    assert [event["tool"] for event in arrived] == [f"t{number}" for number in range(9)]


def test_the_typescript_sdk_only_changes_its_base_url(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed")
    with serving() as gateway:
        machine = Machine(tmp_path, gateway.port)
        arrived = recorded(gateway)
        with machine.sidecar():
            command = [node, "--input-type=module", "--eval", TYPESCRIPT, machine.url]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            assert (done.stdout, done.stderr, done.returncode) == ("paid\n", "", 0)
            wait_until(lambda: once(arrived) == ["pay"], 20)
        assert gateway.requests[0].path == f"/api/v1/pacts/{PACT}/validate-call"


def test_ctrl_c_leaves_on_disk_what_was_not_sent(tmp_path: Path) -> None:
    port = free_port()
    machine = Machine(tmp_path, port, PACTSTREAM_SIDECAR_CONNECTIONS="3")
    with machine.sidecar() as process, machine.telemetry() as tel:
        with ExitStack() as others:
            for _ in range(3):
                others.enter_context(socket.create_connection(("127.0.0.1", machine.port)))
            assert httpx.get(machine.url + "/healthz").status_code == 503  # too many at once
        tel.tool_call(tool="waiting")
        assert tel.flush(20)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    with serving(port) as gateway:
        arrived = recorded(gateway)
        with machine.sidecar():
            wait_until(lambda: arrived, 20)
    assert once(arrived) == ["waiting"]
