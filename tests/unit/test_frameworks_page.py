"""The examples in `docs/frameworks.md` run as printed (CrewAI's in tests/crewai_cases.py)."""

from __future__ import annotations

import ast
import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from agents import OpenAIChatCompletionsModel, set_trace_processors
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from mcp.server.mcpserver import MCPServer
from openai import AsyncOpenAI

from tests import model_server
from tests.sdk_gateway import PACT, Gateway, serving

PAGE = Path(__file__).parents[2] / "docs" / "frameworks.md"
WANTED = {"destination": "0xA11A", "amount": 250}


class Scripted(GenericFakeChatModel):
    def bind_tools(self, *args: Any, **kwargs: Any) -> Any:
        return self


def says() -> Iterator[AIMessage]:
    yield AIMessage("", tool_calls=[{"name": "transfer_funds", "args": WANTED, "id": "1", "type": "tool_call"}])
    yield AIMessage("Done.")


def bank() -> MCPServer:
    server = MCPServer("bank")

    @server.tool()
    async def transfer_funds(destination: str, amount: int) -> str:
        return f"sent {amount} to {destination}"

    return server


async def run(block: str, names: dict[str, Any]) -> None:
    """A block that may await, as in an asyncio console."""
    code: CodeType = compile(block, "docs/frameworks.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    awaitable = FunctionType(code, names)()
    if awaitable is not None:
        await awaitable


def test_the_pages_examples_run() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    blocks = [block for block in blocks if "crewai" not in block]
    assert len(blocks) == 5
    steps: list[model_server.Step] = [[("transfer_funds", WANTED)], "Done."]
    with serving() as gateway, model_server.serving(lambda: iter(steps)) as url:
        tel = gateway.telemetry(pact_id=PACT, block_on="critical")
        asyncio.run(play(blocks, {"tel": tel, "server": bank()}, url))
        tel.close()
        check(gateway)


async def play(blocks: list[str], names: dict[str, Any], url: str) -> None:
    plain, openai, *others = blocks
    # Nothing goes to OpenAI, whatever keys this machine has.
    set_trace_processors([])
    try:
        await run(plain, names)
        # The frameworks record the call; the function itself must not, too.
        names["transfer_funds"] = names["transfer_funds"].__wrapped__
        async with AsyncOpenAI(base_url=url, api_key="none") as client:
            names["model"] = OpenAIChatCompletionsModel(model="scripted-1", openai_client=client)
            await run(openai, names)
        assert names["result"].final_output == "Done."
        names["model"] = Scripted(messages=says())
        for block in others:
            await run(block, names)
    finally:
        set_trace_processors([])


def check(gateway: Gateway) -> None:
    calls = [event for event in gateway.events if event["type"] == "tool_call"]
    assert [event["params"] for event in calls] == [WANTED] * 4
    assert {event["outcome"] for event in calls} == {"success"}
    assert sum(seen.path.endswith("/validate-call") for seen in gateway.requests) >= 4
    starts = [event for event in gateway.events if event["type"] == "session_start"]
    assert len(starts) == 2
