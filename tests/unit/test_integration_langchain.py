"""LangChain and LangGraph with the real packages and a model that says what the test wrote."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, interrupt

from pactstream.integrations.langchain import PactstreamHandler
from pactstream.integrations.langchain_middleware import PactMiddleware
from pactstream.integrations.open_runs import MAX_OPEN, OpenRuns
from pactstream.sdk import PactViolation
from tests.sdk_gateway import PACT, VIOLATED, Gateway, serving


class ScriptedModel(GenericFakeChatModel):
    """Says what it was given, one message after the other."""

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, AIMessage]:
        return self


def asks(*calls: tuple[str, dict[str, Any]]) -> AIMessage:
    wanted = [
        {"name": name, "args": args, "id": f"call-{n}", "type": "tool_call"}
        for n, (name, args) in enumerate(calls)
    ]
    usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    return AIMessage("", tool_calls=wanted, usage_metadata=usage)


def scripted(*messages: AIMessage) -> ScriptedModel:
    return ScriptedModel(messages=iter(messages))


@tool
def transfer_funds(destination: str, amount: int) -> str:
    """Send money."""
    if amount < 0:
        raise ValueError("a negative amount")
    return f"sent {amount} to {destination}"


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with serving() as running:
        yield running


def user(text: str) -> Any:
    return {"messages": [HumanMessage(text)]}


def of(gateway: Gateway, kind: str) -> list[dict[str, Any]]:
    return [event for event in gateway.events if event["type"] == kind]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_agents_run_is_a_session(gateway: Gateway, asynchronous: bool) -> None:
    model = scripted(
        asks(("transfer_funds", {"destination": "0xA11A", "amount": 5})),
        AIMessage("Done.", response_metadata={"model_name": "scripted-1", "finish_reason": "length"}),
    )
    agent = create_agent(model, [transfer_funds])
    with gateway.telemetry(pact_id=PACT) as tel:
        config: RunnableConfig = {"callbacks": [PactstreamHandler(tel)], "configurable": {"thread_id": "t-1"}}
        if asynchronous:
            asyncio.run(agent.ainvoke(user("Pay."), config))
        else:
            agent.invoke(user("Pay."), config)
    kinds = [event["type"] for event in gateway.events]
    assert kinds == ["session_start", "response", "tool_call", "response", "session_end"]
    assert len({event["sessionId"] for event in gateway.events}) == 1
    start, asked, call, answered, end = gateway.events
    assert (start["metadata"], end["outcome"]) == ({"thread_id": "t-1"}, "success")
    assert (call["tool"], call["params"]) == ("transfer_funds", {"destination": "0xA11A", "amount": 5})
    assert (call["outcome"], call["pactId"]) == ("success", PACT)
    assert call["latencyMs"] >= 0
    assert (asked["input"], asked["tokenCount"]) == ("Pay.", 15)
    assert '"amount": 5' in asked["output"]
    assert (answered["input"], answered["output"]) == ("sent 5 to 0xA11A", "Done.")
    assert (answered["outcome"], answered["metadata"]) == ("partial", {"model_version": "scripted-1"})


def test_a_session_of_the_agents_own_is_kept_and_errors_are_told(gateway: Gateway) -> None:
    model = scripted(asks(("transfer_funds", {"destination": "0xA11A", "amount": -5})))
    agent = create_agent(model, [transfer_funds])
    with gateway.telemetry() as tel:
        with tel.session("mine"), pytest.raises(ValueError, match="negative"):
            agent.invoke(user("Pay."), {"callbacks": [PactstreamHandler(tel)]})
        with pytest.raises(StopIteration):
            scripted().invoke("Say something.", {"callbacks": [PactstreamHandler(tel)]})
    (call,) = of(gateway, "tool_call")
    assert (call["sessionId"], call["outcome"]) == ("mine", "error")
    assert call["errorMessage"] == "ValueError: a negative amount"
    assert [event["sessionId"] for event in of(gateway, "session_start")] == ["mine"]
    failed = of(gateway, "response")[-1]
    assert (failed["outcome"], failed["input"]) == ("error", "Say something.")


def test_a_failed_run_ends_its_session_as_failed(gateway: Gateway) -> None:
    def fail(_: object) -> None:
        raise TimeoutError("too slow")

    with gateway.telemetry() as tel:
        handler = PactstreamHandler(tel)
        with pytest.raises(TimeoutError):
            RunnableLambda(fail).invoke("", {"callbacks": [handler]})
        assert len(handler._runs) == 0
    (end,) = of(gateway, "session_end")
    assert (end["outcome"], end["reason"]) == ("timeout", "TimeoutError: too slow")


def test_a_tool_in_a_tool_names_its_caller_and_calls_at_once_keep_apart(gateway: Gateway) -> None:
    both = threading.Barrier(2, timeout=10)

    @tool
    def settle(invoice: str) -> str:
        """Settle one invoice."""
        both.wait()
        return str(transfer_funds.invoke({"destination": invoice, "amount": len(invoice)}))

    model = scripted(asks(("settle", {"invoice": "a"}), ("settle", {"invoice": "bb"})), AIMessage("Done."))
    with gateway.telemetry() as tel:
        create_agent(model, [settle]).invoke(user("Pay both."), {"callbacks": [PactstreamHandler(tel)]})
    calls = of(gateway, "tool_call")
    outer = {event["params"]["invoice"]: event["eventId"] for event in calls if event["tool"] == "settle"}
    inner = {e["params"]["destination"]: e for e in calls if e["tool"] == "transfer_funds"}
    assert {name: event["parentEventId"] for name, event in inner.items()} == outer
    assert inner["bb"]["params"]["amount"] == 2
    assert len({event["sessionId"] for event in calls}) == 1


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("with_handler", [False, True])
def test_a_forbidden_call_is_not_made_and_the_model_is_told(
    gateway: Gateway, asynchronous: bool, with_handler: bool
) -> None:
    made: list[int] = []

    @tool
    def pay(amount: int) -> str:
        """Pay."""
        made.append(amount)
        return "paid"

    def script() -> Iterator[AIMessage]:
        gateway.preflight = VIOLATED
        yield asks(("pay", {"amount": 10_000}))
        gateway.preflight = None
        yield asks(("pay", {"amount": 1}))
        yield AIMessage("I did less.")

    model = ScriptedModel(messages=script())
    with gateway.telemetry(block_on="critical", pact_id=PACT, reserve=True) as tel:
        agent = create_agent(model, [pay], middleware=[PactMiddleware(tel)])
        config: RunnableConfig = {"callbacks": [PactstreamHandler(tel)] if with_handler else []}
        said = (
            asyncio.run(agent.ainvoke(user("Pay."), config))
            if asynchronous
            else agent.invoke(user("Pay."), config)
        )
    assert made == [1]
    told = next(message for message in said["messages"] if isinstance(message, ToolMessage))
    assert (told.status, told.tool_call_id) == ("error", "call-0")
    assert "destination breaks allowList" in str(told.content)
    denied, paid = of(gateway, "tool_call")
    assert (denied["outcome"], paid["outcome"]) == ("denied", "success")
    assert denied["sessionId"] == paid["sessionId"]
    question = next(
        s.body
        for s in gateway.requests
        if s.path.endswith("/validate-call") and s.body["params"]["amount"] == 1
    )
    assert paid["reservationId"] == question["reservationId"]
    assert len(of(gateway, "session_start")) == with_handler
    if with_handler:
        assert denied["sessionId"] == of(gateway, "session_start")[0]["sessionId"]


def test_a_refusal_may_end_the_run(gateway: Gateway) -> None:
    gateway.preflight = VIOLATED
    model = scripted(asks(("transfer_funds", {"destination": "0xBAD", "amount": 5})))
    with gateway.telemetry(block_on="critical", pact_id=PACT) as tel:
        guard = PactMiddleware(tel, on_refusal="raise")
        agent = create_agent(model, [transfer_funds], middleware=[guard])
        with pytest.raises(PactViolation):
            agent.invoke(user("Pay."), {"callbacks": [PactstreamHandler(tel)]})
    assert [event["outcome"] for event in of(gateway, "tool_call")] == ["denied"]
    assert [event["outcome"] for event in of(gateway, "session_end")] == ["failure"]


def graph_of(tools: list[BaseTool], guard: PactMiddleware, asked: AIMessage) -> Any:
    """A small graph of one's own: the tools that a message asks for."""
    graph = StateGraph(MessagesState)
    graph.add_node("ask", lambda state: {"messages": [asked]})
    node = ToolNode(tools, wrap_tool_call=guard.wrap_tool_call, awrap_tool_call=guard.awrap_tool_call)
    graph.add_node("tools", node)
    graph.add_edge(START, "ask")
    graph.add_edge("ask", "tools")
    graph.add_edge("tools", END)
    return graph.compile(checkpointer=InMemorySaver())


def test_a_call_that_waits_for_a_person_is_recorded_when_it_is_made(gateway: Gateway) -> None:
    @tool
    def pay(amount: int) -> str:
        """Pay, if a person agrees."""
        return f"paid {amount}: {interrupt('May I?')}"

    with gateway.telemetry() as tel:
        graph = graph_of([pay], PactMiddleware(tel), asks(("pay", {"amount": 3})))
        config: RunnableConfig = {"callbacks": [PactstreamHandler(tel)], "configurable": {"thread_id": "t"}}
        assert graph.invoke(user("Pay."), config)["__interrupt__"]
        assert graph.invoke(Command(resume="yes"), config)["messages"][-1].content == "paid 3: yes"
    (call,) = of(gateway, "tool_call")
    assert (call["params"], call["outcome"]) == ({"amount": 3}, "success")
    assert [event["outcome"] for event in of(gateway, "session_end")] == ["success", "success"]


def test_a_tool_without_named_arguments_and_one_that_reports_an_error(gateway: Gateway) -> None:
    @tool
    def echo(text: str) -> str:
        """Say it again."""
        return text

    failing = tool(transfer_funds.func)  # type: ignore[attr-defined]
    failing.handle_tool_error = True
    with gateway.telemetry() as tel:
        handler = PactstreamHandler(tel)
        assert echo.invoke("hello", {"callbacks": [handler]}) == "hello"
        node = ToolNode([failing], handle_tool_errors=True)
        graph = StateGraph(MessagesState)
        graph.add_node("tools", node)
        graph.add_edge(START, "tools")
        asked = asks(("transfer_funds", {"destination": "x", "amount": -1}))
        graph.compile().invoke({"messages": [asked]}, {"callbacks": [handler]})
    said, failed = of(gateway, "tool_call")
    assert (said["params"], said["outcome"]) == ({"input": "hello"}, "success")
    assert failed["outcome"] == "error"


def test_a_stream_that_nobody_reads_to_its_end_is_aborted(gateway: Gateway) -> None:
    asked = asks(("transfer_funds", {"destination": "0xA11A", "amount": 5}))
    with gateway.telemetry() as tel:
        handler = PactstreamHandler(tel)
        agent = create_agent(scripted(asked, AIMessage("Done."), asked), [transfer_funds])
        assert len(list(agent.stream(user("Pay."), {"callbacks": [handler]}))) == 3
        left = agent.stream(user("Pay."), {"callbacks": [handler]})
        next(left)
        left.close()  # type: ignore[attr-defined]
        assert (len(handler._runs), tel.current_session()) == (0, None)
    assert [event["outcome"] for event in of(gateway, "session_end")] == ["success", "aborted"]


def test_a_closed_telemetry_breaks_nothing(gateway: Gateway) -> None:
    tel = gateway.telemetry()
    tel.close()
    model = scripted(asks(("transfer_funds", {"destination": "0xA11A", "amount": 5})), AIMessage("Done."))
    said = create_agent(model, [transfer_funds]).invoke(user("Pay."), {"callbacks": [PactstreamHandler(tel)]})
    assert said["messages"][-1].content == "Done."
    assert tel.stats().dropped == 5


def test_what_never_ends_is_forgotten() -> None:
    runs: OpenRuns[int] = OpenRuns()
    for n in range(MAX_OPEN + 5):
        runs.put(n, n)
    assert (len(runs), runs.get(4), runs.pop(5), runs.pop(5)) == (MAX_OPEN, None, 5, None)
