"""CrewAI with the real package and a model's server that says what the test wrote.

Run by tests/contract/test_crewai.py in an environment of its own: CrewAI pins older versions than others need.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from crewai import LLM, Agent, BaseLLM, Crew, Task
from crewai.tools import tool

from pactstream.integrations.crewai import PactstreamListener
from pactstream.sdk import Telemetry
from tests import model_server
from tests.model_server import Script, Step
from tests.sdk_gateway import AGENT, PACT, VIOLATED, Gateway, serving

PAGE = Path(__file__).parents[1] / "docs" / "frameworks.md"


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with serving() as running:
        yield running


def kickoff(script: Script, tools: list[Any], goal: str = "Pay.") -> str:
    with model_server.serving(script) as url:
        llm = LLM(model="openai/gpt-4o", base_url=url, api_key="none")
        payer = Agent(role="Payer", goal=goal, backstory="A clerk.", llm=llm, tools=tools)
        task = Task(description=goal, expected_output="What was done.", agent=payer)
        return str(Crew(name="treasury", agents=[payer], tasks=[task]).kickoff())


def of(gateway: Gateway, kind: str) -> list[dict[str, Any]]:
    return [event for event in gateway.events if event["type"] == kind]


@tool("transfer_funds")  # type: ignore[untyped-decorator]
def transfer_funds(destination: str, amount: int) -> str:
    """Send money."""
    if amount < 0:
        raise ValueError("a negative amount")
    return f"sent {amount} to {destination}"


def listened(tel: Telemetry, script: Script, tools: list[Any]) -> str:
    listener = PactstreamListener(tel)
    try:
        return kickoff(script, tools)
    finally:
        listener.close()


def test_a_kickoff_is_a_session(gateway: Gateway) -> None:
    def script() -> Iterator[Step]:
        yield [("transfer_funds", {"destination": "0xA11A", "amount": 5})]
        yield [("transfer_funds", {"destination": "0xA11A", "amount": -5})]
        yield "Done."

    with gateway.telemetry(pact_id=PACT) as tel:
        assert listened(tel, script, [transfer_funds]) == "Done."
    (start,), (end,) = of(gateway, "session_start"), of(gateway, "session_end")
    assert (start["metadata"], end["outcome"]) == ({"crew": "treasury"}, "success")
    assert {event["sessionId"] for event in gateway.events} == {start["sessionId"]}
    good, bad = of(gateway, "tool_call")
    assert (good["params"], good["outcome"], good["pactId"]) == (
        {"destination": "0xA11A", "amount": 5},
        "success",
        PACT,
    )
    assert good["latencyMs"] >= 0
    assert (bad["outcome"], bad["errorMessage"]) == ("error", "ValueError: a negative amount")
    answered = of(gateway, "response")[-1]
    assert (answered["output"], answered["tokenCount"]) == ("Done.", 15)
    assert "gpt-4o" in answered["metadata"]["model_version"]
    assert answered["latencyMs"] >= 0


def test_calls_at_once_keep_apart_in_a_session_of_the_agents_own(gateway: Gateway) -> None:
    def script() -> Iterator[Step]:
        yield [("transfer_funds", {"destination": name, "amount": len(name)}) for name in ("a", "bb", "ccc")]
        yield "Done."

    with gateway.telemetry() as tel, tel.session("mine"):
        listened(tel, script, [transfer_funds])
    calls = of(gateway, "tool_call")
    assert sorted((e["params"]["destination"], e["params"]["amount"]) for e in calls) == [
        ("a", 1),
        ("bb", 2),
        ("ccc", 3),
    ]
    assert {event["sessionId"] for event in calls} == {"mine"}
    assert len(of(gateway, "session_start")) == 1


class PlainModel(BaseLLM):  # type: ignore[misc]
    """A model that asks for tools in prose, as CrewAI has it do where it has no other way."""

    said: list[str]

    def call(self, messages: Any, *args: Any, **kwargs: Any) -> str:
        return self.said.pop(0)

    def supports_function_calling(self) -> bool:
        return False


def test_a_model_that_asks_in_prose(gateway: Gateway) -> None:
    prose = 'Thought: pay.\nAction: transfer_funds\nAction Input: {"destination": "0xA11A", "amount": %d}'
    model = PlainModel(model="plain", said=[prose % 5, prose % 6, "Thought: I know.\nFinal Answer: Done."])
    payer = Agent(role="Payer", goal="Pay.", backstory="A clerk.", llm=model, tools=[transfer_funds])
    task = Task(description="Pay.", expected_output="What was done.", agent=payer)
    with gateway.telemetry(pact_id=PACT) as tel:
        listener = PactstreamListener(tel)
        try:
            Crew(agents=[payer], tasks=[task]).kickoff()
        finally:
            listener.close()
    calls = of(gateway, "tool_call")
    assert [(e["params"]["amount"], e["outcome"]) for e in calls] == [(5, "success"), (6, "success")]
    assert {e["sessionId"] for e in calls} == {of(gateway, "session_start")[0]["sessionId"]}


def test_a_forbidden_call_is_not_made(gateway: Gateway) -> None:
    made: list[int] = []

    @tool("pay")  # type: ignore[untyped-decorator]
    def pay(amount: int) -> str:
        """Pay."""
        made.append(amount)
        return "paid"

    def script() -> Iterator[Step]:
        gateway.preflight = VIOLATED
        yield [("pay", {"amount": 10_000})]
        gateway.preflight = None
        yield [("pay", {"amount": 1})]
        yield "I did less."

    with gateway.telemetry(block_on="critical", pact_id=PACT, reserve=True) as tel:
        assert listened(tel, script, [pay]) == "I did less."
    assert made == [1]
    denied, paid = of(gateway, "tool_call")
    assert (denied["outcome"], paid["outcome"]) == ("denied", "success")
    assert paid["reservationId"]
    assert denied["sessionId"] == paid["sessionId"]


def test_the_pages_example_runs(gateway: Gateway) -> None:
    (block,) = [b for b in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if "crewai" in b]
    with model_server.serving(lambda: iter(["Done."])) as url:
        llm = LLM(model="openai/gpt-4o", base_url=url, api_key="none")
        payer = Agent(role="Payer", goal="Pay.", backstory="A clerk.", llm=llm)
        task = Task(description="Pay.", expected_output="What was done.", agent=payer)
        with gateway.telemetry() as tel:
            names: dict[str, Any] = {"tel": tel, "crew": Crew(agents=[payer], tasks=[task])}
            exec(block, names)
            names["listener"].close()
    assert [event["type"] for event in gateway.events] == ["session_start", "response", "session_end"]
    assert gateway.events[0]["agentId"] == AGENT
