"""MCP with the real SDK: calls recorded and blocked; `pactstream mcp`, in memory and over stdio."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, ClientSession, StdioServerParameters, stdio_client
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import InputRequiredResult

from pactstream.integrations.mcp import instrument_session
from pactstream.integrations.mcp_server import build_server
from pactstream.sdk import PactViolation
from pactstream.trust import TrustClient
from tests.published_ledger import published
from tests.sdk_gateway import AGENT, KEY, PACT, VALID, VIOLATED, Gateway
from tests.sdk_gateway import serving as gateway_serving
from tests.trust_oracle import AGENT as RATED
from tests.trust_oracle import ENTRIES, ISSUER, TestOracle
from tests.trust_oracle import serving as oracle_serving

LOG = published(ENTRIES[:300], ())


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with gateway_serving() as running:
        yield running


@pytest.fixture
def oracle(tmp_path: Path) -> Iterator[TestOracle]:
    with oracle_serving(tmp_path) as running:
        running.show(LOG, recent_violations=())
        yield running


def bank(moved: list[int]) -> MCPServer:
    """A tool server, as a third party would run it."""
    server = MCPServer("bank")

    @server.tool()
    async def transfer_funds(destination: str, amount: int) -> str:
        moved.append(amount)
        if amount < 0:
            raise ToolError("a negative amount")
        return f"sent {amount} to {destination}"

    @server.tool()
    async def balance() -> int:
        return 7

    return server


def connected(server: MCPServer, work: Callable[[Client], Awaitable[Any]]) -> Any:
    """What `work` returns, given a client of `server`."""

    async def run() -> Any:
        async with Client(server) as client:
            return await work(client)

    return asyncio.run(run())


def calls(gateway: Gateway) -> list[dict[str, Any]]:
    return [event for event in gateway.events if event["type"] == "tool_call"]


def test_calls_are_recorded_with_their_arguments_and_outcomes(gateway: Gateway) -> None:
    async def work(client: Client) -> None:
        assert instrument_session(tel, client, server="bank") is client
        instrument_session(tel, client)
        with tel.session("s-1", pact_id=PACT):
            assert not (
                await client.call_tool("transfer_funds", {"destination": "0xA11A", "amount": 5})
            ).is_error
            assert (await client.call_tool("transfer_funds", {"destination": "0xA11A", "amount": -5})).is_error
            await client.call_tool("balance")

    with gateway.telemetry() as tel:
        connected(bank([]), work)
    good, bad, plain = calls(gateway)
    assert (good["params"], good["outcome"]) == ({"destination": "0xA11A", "amount": 5}, "success")
    assert (good["sessionId"], good["pactId"], good["metadata"]) == ("s-1", PACT, {"mcp_server": "bank"})
    assert (bad["outcome"], plain["params"]) == ("error", {})
    assert "a negative amount" in bad["errorMessage"]


def test_two_calls_at_once_keep_apart(gateway: Gateway) -> None:
    async def work(client: Client) -> None:
        instrument_session(tel, client.session)
        async with asyncio.TaskGroup() as group:
            for n in range(8):
                group.create_task(
                    client.session.call_tool("transfer_funds", {"destination": f"d{n}", "amount": n})
                )

    with gateway.telemetry() as tel:
        connected(bank([]), work)
    recorded = calls(gateway)
    assert sorted((e["params"]["amount"], e["params"]["destination"]) for e in recorded) == [
        (n, f"d{n}") for n in range(8)
    ]
    assert all("parentEventId" not in event for event in recorded)
    assert len({event["eventId"] for event in recorded}) == 8


def test_a_forbidden_call_is_not_sent(gateway: Gateway) -> None:
    gateway.preflight = VIOLATED
    moved: list[int] = []

    async def work(client: Client) -> None:
        instrument_session(tel, client)
        with pytest.raises(PactViolation, match="destination breaks allowList"):
            await client.call_tool("transfer_funds", {"destination": "0xBAD", "amount": 5})
        gateway.preflight = VALID
        await client.call_tool("transfer_funds", {"destination": "0xA11A", "amount": 6})

    with gateway.telemetry(block_on="critical", pact_id=PACT) as tel:
        connected(bank(moved), work)
    assert moved == [6]
    assert [event["outcome"] for event in calls(gateway)] == ["denied", "success"]


def test_a_call_that_the_server_asks_back_about_is_recorded_when_it_is_done(gateway: Gateway) -> None:
    class Asking:
        answered = False

        async def call_tool(self, name: str, arguments: dict[str, Any] | None = None, **more: Any) -> object:
            return 7 if more.get("request_state") else InputRequiredResult(request_state="one more round")

    async def work(session: Asking) -> None:
        assert isinstance(await session.call_tool("pay", {"amount": 1}), InputRequiredResult)
        assert await session.call_tool("pay", {"amount": 1}, request_state="one more round") == 7

    with gateway.telemetry() as tel:
        asyncio.run(work(instrument_session(tel, Asking())))
    (event,) = calls(gateway)
    assert event["outcome"] == "success"


def test_a_lost_connection_is_an_error_and_a_gateway_that_is_down_is_none() -> None:
    class Broken:
        async def call_tool(self, name: str, arguments: dict[str, Any] | None = None) -> object:
            raise ConnectionError("gone")

    with gateway_serving() as gateway:
        tel = gateway.telemetry(retry_for_seconds=0.1, close_timeout_seconds=0.1)
    assert not connected(bank([]), lambda client: instrument_session(tel, client).call_tool("balance")).is_error
    with pytest.raises(ConnectionError, match="gone"):
        asyncio.run(instrument_session(tel, Broken()).call_tool("pay"))
    assert tel.stats().recorded == 2
    tel.close()


def test_an_agent_asks_before_a_call(gateway: Gateway) -> None:
    async def work(client: Client) -> None:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["preflight_call"]
        asked = {"tool": "pay", "params": {"to": "0xBAD"}, "session_id": "s-9"}
        said = await client.call_tool("preflight_call", asked)
        assert not said.is_error
        assert said.structured_content is not None
        assert said.structured_content["valid"] is False
        assert said.structured_content["violations"][0]["rule"] == "allowList"
        nobody = await client.call_tool("preflight_call", {**asked, "pact_id": "treasury"})
        assert nobody.is_error
        assert "Do not make the call." in str(nobody.content)

    gateway.preflight = VIOLATED
    with gateway.telemetry(pact_id=PACT) as tel:
        connected(build_server(tel, None), work)
    question = gateway.requests[0].body
    assert (question["params"], question["sessionId"], question["agentId"]) == ({"to": "0xBAD"}, "s-9", AGENT)
    assert gateway.events == []


def test_a_report_that_does_not_verify_is_not_handed_out(oracle: TestOracle) -> None:
    async def ask(client: Client) -> Any:
        return await client.call_tool("trust_report", {"agent_id": str(RATED)})

    path = f"api/v1/trust/{RATED}"
    with TrustClient(issuer=ISSUER, jwks=oracle.jwks, url=oracle.url) as trust:
        server = build_server(None, trust)
        good = connected(server, ask)
        assert not good.is_error
        assert good.structured_content["verified"] is True
        assert good.structured_content["report"]["agentId"] == str(RATED)
        forged = json.loads(oracle.files[path])
        forged["score"]["composite"] = 99.0
        oracle.files[path] = json.dumps(forged).encode()
        bad = connected(server, ask)
        assert bad.is_error
        assert "does not verify" in str(bad.content)
        assert "ReportSignatureError" in str(bad.content)
        assert "composite" not in str(bad.content)
        del oracle.files[path]
        assert "knows nothing" in str(connected(server, ask).content)
        oracle.status = 503
        assert "Nothing is known" in str(connected(server, ask).content)


def test_the_command_serves_both_over_stdio(gateway: Gateway, oracle: TestOracle, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps(oracle.jwks))
    settings = {
        "PACTSTREAM_API_KEY": KEY,
        "PACTSTREAM_GATEWAY_URL": gateway.url,
        "PACTSTREAM_AGENT_ID": AGENT,
        "PACTSTREAM_PACT_ID": PACT,
        "PACTSTREAM_ISSUER": ISSUER,
        "PACTSTREAM_JWKS": str(keys),
        "PACTSTREAM_ORACLE_URL": oracle.url,
    }
    start = StdioServerParameters(
        command=sys.executable, args=["-m", "pactstream", "mcp"], env={**os.environ, **settings}
    )

    async def run() -> None:
        async with stdio_client(start) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            names = {tool.name for tool in (await session.list_tools()).tools}
            assert names == {"preflight_call", "trust_report"}
            report = await session.call_tool("trust_report", {"agent_id": str(RATED)})
            assert not report.is_error
            verdict = await session.call_tool("preflight_call", {"tool": "pay", "params": {"amount": 1}})
            assert verdict.structured_content is not None
            assert verdict.structured_content["valid"] is True

    asyncio.run(run())
    assert gateway.requests[0].body["params"] == {"amount": 1}
