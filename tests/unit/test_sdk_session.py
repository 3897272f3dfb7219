"""`session()`: its two events, what it lends to those between them, and who sees which session."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pactstream.sdk import Telemetry
from tests.sdk_gateway import AGENT, PACT, Gateway, serving

OTHER = "0b0b0b0b-0000-4000-8000-000000000002"


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with serving() as running:
        yield running


@pytest.fixture
def tel(gateway: Gateway) -> Iterator[Telemetry]:
    with gateway.telemetry() as telemetry:
        yield telemetry


def sent(gateway: Gateway, tel: Telemetry) -> list[dict[str, Any]]:
    assert tel.flush(5)
    return gateway.events


def test_a_session_brackets_its_events_and_binds_its_calls(gateway: Gateway, tel: Telemetry) -> None:
    @tel.instrument_tool
    def look() -> None:
        return

    with tel.session("sess-1", pact_id=PACT, room_id="room", metadata={"initiator": "cron"}) as session:
        assert (session.id, session.pact_id) == ("sess-1", PACT)
        look()
        tel.tool_call(tool="explicit", pact_id=OTHER)
        tel.response(input="q", output="a")
    events = sent(gateway, tel)
    kinds = ["session_start", "tool_call", "tool_call", "response", "session_end"]
    assert [event["type"] for event in events] == kinds
    assert {event["sessionId"] for event in events} == {"sess-1"}
    assert {event["roomId"] for event in events} == {"room"}
    assert [event.get("pactId") for event in events] == [PACT, PACT, OTHER, None, None]
    assert events[0]["metadata"] == {"initiator": "cron"}
    assert events[-1]["outcome"] == "success"
    assert "reason" not in events[-1]


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (ValueError("no"), "failure", "ValueError: no"),
        (TimeoutError(), "timeout", "TimeoutError"),
        (asyncio.CancelledError(), "aborted", "CancelledError"),
        (KeyboardInterrupt(), "aborted", "KeyboardInterrupt"),
    ],
)
def test_the_outcome_is_read_from_the_exception_which_passes(
    gateway: Gateway, tel: Telemetry, error: BaseException, outcome: str, reason: str
) -> None:
    with pytest.raises(type(error)) as caught, tel.session():
        raise error
    assert caught.value is error
    assert (sent(gateway, tel)[-1]["outcome"], gateway.events[-1]["reason"]) == (outcome, reason)


def test_the_outcome_can_be_set(gateway: Gateway, tel: Telemetry) -> None:
    with tel.session() as session:
        session.outcome, session.reason = "aborted", "the user left"
    end = sent(gateway, tel)[-1]
    assert (end["outcome"], end["reason"]) == ("aborted", "the user left")


def test_nested_sessions_inherit_and_end_with_their_block(gateway: Gateway, tel: Telemetry) -> None:
    with tel.session("outer", pact_id=PACT, room_id="r"):
        with tel.session("inner"):
            tel.tool_call(tool="in")
        tel.tool_call(tool="out")
        tel.tool_call(tool="elsewhere", session_id="third")
    tel.tool_call(tool="after")
    calls = {e["tool"]: e for e in sent(gateway, tel) if e["type"] == "tool_call"}
    assert [calls[tool]["sessionId"] for tool in ("in", "out", "elsewhere")] == ["inner", "outer", "third"]
    assert [calls[tool].get("pactId") for tool in ("in", "out", "elsewhere", "after")] == [
        PACT,
        PACT,
        None,
        None,
    ]
    assert calls["after"]["sessionId"].startswith("unsessioned-")


def test_two_agents_in_one_process_see_their_own(gateway: Gateway, tel: Telemetry) -> None:
    with (
        gateway.telemetry(agent_id=OTHER) as second,
        tel.session("first-session"),
        second.session("second-session"),
    ):
        tel.tool_call(tool="a")
        second.tool_call(tool="b")
        with tel.session("inner", agent_id=PACT):
            tel.tool_call(tool="c")
            second.tool_call(tool="d")
    assert tel.flush(5)
    calls = {e["tool"]: (e["agentId"], e["sessionId"]) for e in gateway.events if "tool" in e}
    assert calls == {
        "a": (AGENT, "first-session"),
        "b": (OTHER, "second-session"),
        "c": (PACT, "inner"),
        "d": (OTHER, "second-session"),
    }


def test_concurrent_tasks_see_their_own(gateway: Gateway, tel: Telemetry) -> None:
    @tel.instrument_tool
    async def work(n: int) -> None:
        await asyncio.sleep(0)

    async def one(n: int) -> None:
        with tel.session(f"s{n}"):
            await asyncio.sleep(0)
            await work(n)
            await asyncio.gather(work(n), asyncio.to_thread(tel.tool_call, tool="t", params={"n": n}))

    async def scenario() -> None:
        await asyncio.gather(*(one(n) for n in range(20)))

    asyncio.run(scenario())
    calls = [event for event in sent(gateway, tel) if event["type"] == "tool_call"]
    assert len(calls) == 60
    assert all(event["sessionId"] == f"s{event['params']['n']}" for event in calls)


def test_threads_see_their_own(gateway: Gateway, tel: Telemetry) -> None:
    barrier = threading.Barrier(8)

    def work(n: int) -> None:
        with tel.session(f"s{n}"):
            barrier.wait(10)
            tel.tool_call(tool="t", params={"n": n})
            barrier.wait(10)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    calls = [event for event in sent(gateway, tel) if event["type"] == "tool_call"]
    assert sorted(event["sessionId"] for event in calls) == [f"s{n}" for n in range(8)]
    assert all(event["sessionId"] == f"s{event['params']['n']}" for event in calls)


def test_a_thread_may_be_lent_the_session(gateway: Gateway, tel: Telemetry) -> None:
    with tel.session("lent"):
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(lambda: tel.tool_call(tool="t"),))
        thread.start()
        thread.join()
    assert {event["sessionId"] for event in sent(gateway, tel)} == {"lent"}


def test_a_session_left_in_another_context_ends_all_the_same(gateway: Gateway, tel: Telemetry) -> None:
    session = tel.session("moved")
    contextvars.copy_context().run(session.__enter__)
    session.__exit__(None, None, None)
    assert [event["type"] for event in sent(gateway, tel)] == ["session_start", "session_end"]


def test_a_session_is_entered_once(gateway: Gateway, tel: Telemetry) -> None:
    session = tel.session("once")
    with session, session:
        tel.tool_call(tool="t")
    with session:
        tel.tool_call(tool="late")
    events = sent(gateway, tel)
    assert [event["type"] for event in events] == ["session_start", "tool_call", "session_end", "tool_call"]
    assert tel.stats().invalid == 2


def test_unusable_arguments_are_reported_not_raised(gateway: Gateway, tel: Telemetry) -> None:
    anything: Any = tel
    with anything.session(7, agent_id="no", pact_id=3, room_id="x" * 200, metadata=[1]) as session:
        tel.tool_call(tool="t")
        session.outcome = "splendid"
    (call,) = sent(gateway, tel)
    assert call["agentId"] == AGENT
    assert call["sessionId"] == session.id
    assert "pactId" not in call
    assert tel.stats().invalid == 6


def test_a_session_costs_a_decorated_function_nothing_either(gateway: Gateway, tel: Telemetry) -> None:
    # A plain function as unit of work: `with` inside is all there is to it, also in a coroutine.
    async def job() -> str:
        with tel.session("job"):
            await asyncio.sleep(0)
            return "done"

    assert asyncio.run(job()) == "done"
    assert [event["type"] for event in sent(gateway, tel)] == ["session_start", "session_end"]
