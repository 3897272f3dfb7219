"""The OpenAI Agents SDK with its own clients, and a model's server that says what the test wrote."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from agents import (
    Agent,
    MaxTurnsExceeded,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
    ToolInputGuardrailTripwireTriggered,
    function_tool,
    set_trace_processors,
)
from openai import AsyncOpenAI

from pactstream.integrations.openai_agents import PactstreamProcessor, arguments
from tests import model_server
from tests.model_server import Script, Step
from tests.sdk_gateway import PACT, VIOLATED, Gateway, serving


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with serving() as running:
        yield running
    set_trace_processors([])


@function_tool
def transfer_funds(destination: str, amount: float) -> str:
    """Send money."""
    if amount < 0:
        raise ValueError("a negative amount")
    return f"sent {amount} to {destination}"


def played(*steps: Step) -> Script:
    return lambda: iter(steps)


def run(script: Script, tools: list[Any], *, kind: Any = OpenAIChatCompletionsModel, **options: Any) -> Any:
    """An agent's answer to `Pay.`; the model follows the script."""

    async def running() -> Any:
        async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            agent = Agent(name="Payer", model=kind(model="scripted-1", openai_client=client), tools=tools)
            return await Runner.run(agent, "Pay.", **options)

    with model_server.serving(script) as url:
        return asyncio.run(running())


def of(gateway: Gateway, kind: str) -> list[dict[str, Any]]:
    return [event for event in gateway.events if event["type"] == kind]


@pytest.mark.parametrize("kind", [OpenAIChatCompletionsModel, OpenAIResponsesModel])
def test_a_trace_is_a_session(gateway: Gateway, kind: Any) -> None:
    with gateway.telemetry(pact_id=PACT) as tel:
        set_trace_processors([PactstreamProcessor(tel)])
        script = played([("transfer_funds", {"destination": "0xA11A", "amount": 0.1})], "Done.")
        said = run(script, [transfer_funds], kind=kind, run_config=RunConfig(workflow_name="w", group_id="g"))
        assert said.final_output == "Done."
    kinds = [event["type"] for event in gateway.events]
    assert kinds == ["session_start", "response", "tool_call", "response", "session_end"]
    start, asked, call, answered, end = gateway.events
    assert len({event["sessionId"] for event in gateway.events}) == 1
    assert start["sessionId"].startswith("trace_")
    assert (start["metadata"], end["outcome"]) == ({"workflow": "w", "group_id": "g"}, "success")
    assert (call["tool"], call["params"]) == ("transfer_funds", {"destination": "0xA11A", "amount": 0.1})
    assert (call["outcome"], call["pactId"]) == ("success", PACT)
    assert call["latencyMs"] >= 0
    assert (asked["input"], asked["tokenCount"]) == ("Pay.", 15)
    assert "transfer_funds" in asked["output"]
    assert (answered["input"], answered["output"]) == ("sent 0.1 to 0xA11A", "Done.")
    assert answered["metadata"] == {"model_version": "scripted-1"}


def test_errors_are_told_and_a_session_of_the_agents_own_is_kept(gateway: Gateway) -> None:
    again: Step = [("transfer_funds", {"destination": "0xA11A", "amount": -1})]
    with gateway.telemetry() as tel:
        set_trace_processors([PactstreamProcessor(tel)])
        with tel.session("mine"):
            run(played(again, "Sorry."), [transfer_funds])
        with pytest.raises(MaxTurnsExceeded):
            run(played(again, again), [transfer_funds], max_turns=1)
    failed, *_ = of(gateway, "tool_call")
    assert (failed["sessionId"], failed["outcome"]) == ("mine", "error")
    assert failed["errorMessage"].startswith("Error running tool")
    assert [event["sessionId"] for event in of(gateway, "session_start")].count("mine") == 1
    assert [event["outcome"] for event in of(gateway, "session_end")] == ["success", "failure"]


def test_calls_at_once_keep_apart(gateway: Gateway) -> None:
    both = threading.Barrier(2, timeout=10)

    @function_tool
    def settle(invoice: str) -> str:
        """Settle one invoice."""
        both.wait()
        tel.tool_call(tool="audit", params={"invoice": invoice})
        return invoice

    with gateway.telemetry() as tel:
        set_trace_processors([PactstreamProcessor(tel)])
        with tel.session("mine"):
            run(played([("settle", {"invoice": "a"}), ("settle", {"invoice": "b"})], "Done."), [settle])
    calls = of(gateway, "tool_call")
    assert sorted(e["params"]["invoice"] for e in calls if e["tool"] == "settle") == ["a", "b"]
    assert {event["sessionId"] for event in calls} == {"mine"}
    assert len({event["eventId"] for event in calls}) == 4


def test_an_agent_as_a_tool_is_the_parent_of_what_it_does(gateway: Gateway) -> None:
    async def running() -> Any:
        async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            model = OpenAIChatCompletionsModel(model="scripted-1", openai_client=client)
            clerk = Agent(name="Clerk", model=model, tools=[transfer_funds])
            helper = clerk.as_tool(tool_name="clerk", tool_description="Pays.")
            return await Runner.run(Agent(name="Chief", model=model, tools=[helper]), "Pay.")

    script = played(
        [("clerk", {"input": "Pay 1."})],
        [("transfer_funds", {"destination": "0xA11A", "amount": 1})],
        "Paid.",
        "Done.",
    )
    with gateway.telemetry() as tel, model_server.serving(script) as url:
        set_trace_processors([PactstreamProcessor(tel)])
        asyncio.run(running())
    inner, outer = of(gateway, "tool_call")
    assert (inner["tool"], outer["tool"]) == ("transfer_funds", "clerk")
    assert inner["parentEventId"] == outer["eventId"]
    assert len(of(gateway, "session_start")) == 1


def test_a_forbidden_call_is_not_made_and_the_model_is_told(gateway: Gateway) -> None:
    made: list[int] = []

    def script() -> Iterator[Step]:
        gateway.preflight = VIOLATED
        yield [("pay", {"amount": 10_000})]
        gateway.preflight = None
        yield [("pay", {"amount": 1})]
        yield "I did less."

    with gateway.telemetry(block_on="critical", pact_id=PACT, reserve=True) as tel:
        processor = PactstreamProcessor(tel)
        set_trace_processors([processor])

        @function_tool
        def pay(amount: int) -> None:
            """Pay."""
            made.append(amount)

        said = run(script, [processor.guard(pay)])
    assert made == [1]
    assert "destination breaks allowList" in str(said.to_input_list())
    denied, paid = of(gateway, "tool_call")
    assert (denied["outcome"], paid["outcome"]) == ("denied", "success")
    assert denied["sessionId"] == paid["sessionId"] == of(gateway, "session_start")[0]["sessionId"]
    assert paid["params"] == {"amount": 1}
    held = [
        s.body
        for s in gateway.requests
        if s.path.endswith("/validate-call") and s.body["params"] == {"amount": 1}
    ]
    assert paid["reservationId"] == held[-1]["reservationId"]


def test_a_refusal_may_end_the_run_and_a_silent_gateway_refuses(gateway: Gateway) -> None:
    with gateway.telemetry(block_on="critical", pact_id=PACT) as tel:
        processor = PactstreamProcessor(tel)
        set_trace_processors([processor])
        guarded = processor.guard(function_tool(lambda amount: amount, name_override="pay"), on_refusal="raise")
        gateway.preflight = {"valid": "perhaps"}
        with pytest.raises(ToolInputGuardrailTripwireTriggered):
            run(played([("pay", {"amount": 5})]), [guarded])
    (call,) = of(gateway, "tool_call")
    assert call["outcome"] == "denied"
    assert call["errorMessage"].startswith("PreflightUnavailable: no verdict")
    assert [event["outcome"] for event in of(gateway, "session_end")] == ["failure"]


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ('{"amount": 1234567890.12345678901234567890}', {"amount": Decimal("1234567890.12345678901234567890")}),
        ("", {}),
        ("[1]", {"arguments": [1]}),
        ('{"amount": ', {"arguments": '{"amount": '}),
        ("[" * 100_000, {"arguments": "[" * 100_000}),
        (None, None),
    ],
)
def test_arguments_are_kept_digit_by_digit(given: str | None, taken: dict[str, Any] | None) -> None:
    assert arguments(given) == taken


@pytest.mark.parametrize("agreed", [True, False])
def test_a_call_that_waits_for_a_person_is_recorded_if_it_is_made(gateway: Gateway, agreed: bool) -> None:
    @function_tool(needs_approval=True)
    def pay(amount: int) -> str:
        """Pay, if a person agrees."""
        return f"paid {amount}"

    async def running() -> Any:
        async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            model = OpenAIChatCompletionsModel(model="scripted-1", openai_client=client)
            agent = Agent(name="Payer", model=model, tools=[processor.guard(pay)])
            waiting = await Runner.run(agent, "Pay.")
            (question,) = waiting.interruptions
            state = waiting.to_state()
            state.approve(question) if agreed else state.reject(question)
            return await Runner.run(agent, state)

    with gateway.telemetry() as tel, model_server.serving(played([("pay", {"amount": 3})], "Done.")) as url:
        processor = PactstreamProcessor(tel)
        set_trace_processors([processor])
        assert asyncio.run(running()).final_output == "Done."
    calls = [(event["params"], event["outcome"]) for event in of(gateway, "tool_call")]
    assert calls == [({"amount": 3}, "success")] * agreed


def test_withheld_data_and_a_fault_of_ours_break_nothing(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = played([("transfer_funds", {"destination": "0xA11A", "amount": 1})], "Done.")
    with gateway.telemetry() as tel:
        set_trace_processors([PactstreamProcessor(tel)])
        run(script, [transfer_funds], run_config=RunConfig(trace_include_sensitive_data=False))
        (call,) = [event for event in _flushed(gateway, tel) if event["type"] == "tool_call"]
        assert (call["params"], call["metadata"]) == ({}, {"arguments": "withheld"})
        monkeypatch.setattr(tel, "tool_call", _broken)
        assert run(script, [transfer_funds]).final_output == "Done."
    assert "could not be recorded" in caplog.text


def _flushed(gateway: Gateway, tel: Any) -> list[dict[str, Any]]:
    assert tel.flush(5)
    return gateway.events


def _broken(**fields: object) -> None:
    raise RuntimeError("ours")
