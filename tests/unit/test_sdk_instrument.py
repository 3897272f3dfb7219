"""`instrument_tool` in every shape a tool can have."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import operator
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest

from pactstream.sdk import PactViolation, Telemetry, Verdict, last_receipt
from tests.sdk_gateway import PACT, VIOLATED, Gateway, serving


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with serving() as running:
        yield running


@pytest.fixture
def tel(gateway: Gateway) -> Iterator[Telemetry]:
    with gateway.telemetry() as telemetry:
        yield telemetry


def only_event(gateway: Gateway, tel: Telemetry) -> dict[str, Any]:
    assert tel.flush(5)
    (event,) = gateway.events
    return event


def test_as_a_bare_decorator(gateway: Gateway, tel: Telemetry) -> None:
    @tel.instrument_tool
    def transfer_funds(destination: str, amount: int, currency: str = "USDC") -> str:
        """Move money."""
        return f"{amount} to {destination}"

    assert transfer_funds("0xA11A", amount=250) == "250 to 0xA11A"
    assert transfer_funds.__doc__ == "Move money."
    event = only_event(gateway, tel)
    assert event["tool"] == "transfer_funds"
    assert event["params"] == {"destination": "0xA11A", "amount": 250, "currency": "USDC"}
    assert event["outcome"] == "success"
    assert 0 <= event["latencyMs"] < 1_000
    assert "errorMessage" not in event
    assert "metadata" not in event
    assert "parentEventId" not in event


def test_with_options_and_as_a_wrapper(gateway: Gateway, tel: Telemetry) -> None:
    @tel.instrument_tool(name="ask", exclude=("api_key",), pact_id=PACT, metadata={"tier": 1})
    def query(text: str, api_key: str) -> str:
        return text

    wrapped = tel.instrument_tool(query.__wrapped__, name="wrapped")  # type: ignore[attr-defined]
    assert query("q", "secret") == "q"
    assert wrapped("w", "secret") == "w"
    assert tel.flush(5)
    first, second = gateway.events
    assert (first["tool"], first["params"], first["pactId"], first["metadata"]) == (
        "ask",
        {"text": "q"},
        PACT,
        {"tier": 1},
    )
    assert (second["tool"], second["params"]) == ("wrapped", {"text": "w", "api_key": "secret"})


def test_the_tools_exception_passes_unchanged(gateway: Gateway, tel: Telemetry) -> None:
    failure = ValueError("no such account " + "x" * 5_000)

    @tel.instrument_tool
    def fail() -> None:
        raise failure

    with pytest.raises(ValueError, match="no such account") as caught:
        fail()
    assert caught.value is failure
    assert failure.__cause__ is None
    assert failure.__context__ is None
    event = only_event(gateway, tel)
    assert event["outcome"] == "error"
    assert event["errorMessage"].startswith("ValueError: no such account")
    assert len(event["errorMessage"]) == 1_000


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError])
def test_exceptions_that_are_no_errors_pass_too(
    gateway: Gateway, tel: Telemetry, error: type[BaseException]
) -> None:
    @tel.instrument_tool
    def fail() -> None:
        raise error

    with pytest.raises(error):
        fail()
    assert only_event(gateway, tel)["outcome"] == "error"


def test_an_exception_without_readable_text_passes(gateway: Gateway, tel: Telemetry) -> None:
    class UnreadableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("not even this")

    @tel.instrument_tool
    def fail() -> None:
        raise UnreadableError

    with pytest.raises(UnreadableError):
        fail()
    event = only_event(gateway, tel)
    assert (event["outcome"], event["errorMessage"]) == ("error", "UnreadableError")


def test_a_pact_violation_raised_by_the_tool_is_a_denial(gateway: Gateway, tel: Telemetry) -> None:
    @tel.instrument_tool
    def refuse() -> None:
        raise PactViolation(Verdict(valid=False, severity="major"))

    with pytest.raises(PactViolation):
        refuse()
    assert only_event(gateway, tel)["outcome"] == "denied"


def test_async_functions(gateway: Gateway, tel: Telemetry) -> None:
    @tel.instrument_tool
    async def fetch(url: str) -> str:
        await asyncio.sleep(0)
        if url == "bad":
            raise LookupError(url)
        return url.upper()

    assert inspect.iscoroutinefunction(fetch)

    async def scenario() -> None:
        assert await fetch("a") == "A"
        with pytest.raises(LookupError):
            await fetch("bad")

    asyncio.run(scenario())
    assert tel.flush(5)
    assert [(e["params"], e["outcome"]) for e in gateway.events] == [
        ({"url": "a"}, "success"),
        ({"url": "bad"}, "error"),
    ]


def test_a_cancelled_async_call_is_recorded(gateway: Gateway, tel: Telemetry) -> None:
    @tel.instrument_tool
    async def forever() -> None:
        await asyncio.Event().wait()

    async def scenario() -> None:
        task = asyncio.create_task(forever())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    event = only_event(gateway, tel)
    assert (event["outcome"], event["errorMessage"]) == ("error", "CancelledError")


def test_a_coroutine_function_in_disguise_is_recorded_when_it_ends(gateway: Gateway, tel: Telemetry) -> None:
    async def work(n: int) -> int:
        await asyncio.sleep(0)
        tel.tool_call(tool="inner")
        return n + 1

    def start(n: int) -> Coroutine[Any, Any, int]:
        return work(n)

    disguised = tel.instrument_tool(start, name="disguised")

    async def scenario() -> None:
        pending = disguised(1)
        tel.tool_call(tool="between")
        assert await pending == 2

    asyncio.run(scenario())
    assert tel.flush(5)
    between, inner, outer = gateway.events
    assert [between["tool"], inner["tool"], outer["tool"]] == ["between", "inner", "disguised"]
    assert inner["parentEventId"] == outer["eventId"]
    assert "parentEventId" not in between


def test_partials_builtins_classes_and_callable_objects(gateway: Gateway, tel: Telemetry) -> None:
    def add(a: int, b: int) -> int:
        return a + b

    class Doubler:
        def __call__(self, n: int) -> int:
            return 2 * n

    class AsyncDoubler:
        async def __call__(self, n: int) -> int:
            return 2 * n

    async def later(a: int, b: int) -> int:
        return a + b

    assert tel.instrument_tool(functools.partial(add, 1))(2) == 3
    assert tel.instrument_tool(operator.add)(1, 2) == 3
    assert tel.instrument_tool(max)(1, 2) == 2
    assert tel.instrument_tool(Doubler())(4) == 8
    assert asyncio.run(tel.instrument_tool(AsyncDoubler())(4)) == 8
    assert asyncio.run(tel.instrument_tool(functools.partial(later, 1))(2)) == 3
    assert tel.instrument_tool(complex)(1, 2) == complex(1, 2)
    assert tel.flush(5)
    assert [(e["tool"], e["params"]) for e in gateway.events] == [
        ("add", {"b": 2}),
        ("add", {"a": 1, "b": 2}),
        ("max", {"args": [1, 2]}),
        ("Doubler", {"n": 4}),
        ("AsyncDoubler", {"n": 4}),
        ("later", {"b": 2}),
        ("complex", {"real": 1, "imag": 2}),
    ]


def test_methods_do_not_send_self(gateway: Gateway, tel: Telemetry) -> None:
    class Bank:
        @tel.instrument_tool
        def pay(self, amount: int) -> int:
            return amount

        @classmethod
        @tel.instrument_tool
        def open(cls, name: str) -> str:
            return cls.__name__ + name

        @staticmethod
        @tel.instrument_tool
        def rate(currency: str) -> str:
            return currency

    assert Bank().pay(3) == 3
    assert Bank.open("x") == "Bankx"
    assert Bank().rate("USDC") == "USDC"
    assert tel.flush(5)
    assert [e["params"] for e in gateway.events] == [{"amount": 3}, {"name": "x"}, {"currency": "USDC"}]


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "params"),
    [
        (lambda *values: None, (1, 2), {}, {"values": [1, 2]}),
        (lambda a, *values, k=3, **more: None, (1, 2), {"z": 4}, {"a": 1, "values": [2], "k": 3, "z": 4}),
        (lambda **call: None, (), {"destination": "x"}, {"destination": "x"}),
        (lambda a, b=2, /: None, (1,), {}, {"a": 1, "b": 2}),
    ],
)
def test_arguments_by_name(
    gateway: Gateway,
    tel: Telemetry,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    params: dict[str, Any],
) -> None:
    tel.instrument_tool(function, name="t")(*args, **kwargs)
    assert only_event(gateway, tel)["params"] == params


def test_a_keyword_cannot_hide_a_positional_argument(gateway: Gateway, tel: Telemetry) -> None:
    def send(destination: str, /, **more: str) -> str:
        return destination

    assert tel.instrument_tool(send)("0xBAD", destination="0xA11A") == "0xBAD"
    params = only_event(gateway, tel)["params"]
    assert params == {"destination": "0xBAD", "kwargs": {"destination": "0xA11A"}}


def test_a_call_that_does_not_fit_raises_as_ever_and_is_recorded(gateway: Gateway, tel: Telemetry) -> None:
    @tel.instrument_tool
    def one(a: int) -> int:
        return a

    wrong: Any = one
    with pytest.raises(TypeError, match="takes 1 positional argument but 2 were given"):
        wrong(1, 2)
    event = only_event(gateway, tel)
    assert event["outcome"] == "error"
    assert event["params"] == {"a": 1, "args": [2]}


def test_arguments_are_those_before_the_call(gateway: Gateway, tel: Telemetry) -> None:
    @tel.instrument_tool
    def drain(items: list[int]) -> None:
        items.clear()

    drain([1, 2, 3])
    assert only_event(gateway, tel)["params"] == {"items": [1, 2, 3]}


def test_arguments_that_cannot_be_sent_exactly_say_so(gateway: Gateway, tel: Telemetry) -> None:
    @tel.instrument_tool(metadata={"k": "v"})
    def run(connection: object, sql: str) -> None:
        return

    run(object(), "select 1")
    event = only_event(gateway, tel)
    assert event["params"] == {"connection": "<builtins.object>", "sql": "select 1"}
    assert event["metadata"] == {"k": "v", "pactstream_inexact_params": True}


def test_generators_and_misplaced_decorators_are_refused(tel: Telemetry) -> None:
    def numbers() -> Iterator[int]:
        yield 1

    async def later() -> AsyncIterator[int]:
        yield 1

    for function in (numbers, later):
        with pytest.raises(TypeError, match="is a generator function"):
            tel.instrument_tool(function)
    misplaced: Any = tel.instrument_tool
    function_of_a_class: Any = numbers
    wrapped: list[Any] = [staticmethod(function_of_a_class), classmethod(function_of_a_class)]
    for wrong in wrapped:
        with pytest.raises(TypeError, match="next to the function"):
            misplaced(wrong)
    with pytest.raises(TypeError, match="must be callable"):
        misplaced(5)


def test_a_mistyped_exclusion_is_refused(gateway: Gateway, tel: Telemetry) -> None:
    def query(text: str, api_key: str) -> str:
        return text

    def anything(**options: str) -> None:
        return

    with pytest.raises(ValueError, match="exclude names no parameter: apikey"):
        tel.instrument_tool(query, exclude=("apikey",))
    with pytest.raises(TypeError, match="several names"):
        tel.instrument_tool(query, exclude="api_key")
    tel.instrument_tool(anything, exclude=("api_key",))(api_key="secret", text="x")
    assert only_event(gateway, tel)["params"] == {"text": "x"}


@pytest.mark.parametrize("name", ["", "x" * 129, "line\nbreak", "\ud800"])
def test_a_name_that_the_gateway_would_refuse_is_refused_at_once(tel: Telemetry, name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        tel.instrument_tool(lambda: None, name=name)


def test_calls_inside_a_call_name_it_as_their_parent(gateway: Gateway, tel: Telemetry) -> None:
    @tel.instrument_tool
    def inner() -> None:
        return

    @tel.instrument_tool
    def outer() -> None:
        inner()
        tel.response(input="", output="")

    outer()
    inner()
    assert tel.flush(5)
    nested, response, enclosing, alone = gateway.events
    assert nested["parentEventId"] == response["parentEventId"] == enclosing["eventId"]
    assert "parentEventId" not in enclosing
    assert "parentEventId" not in alone


def test_the_verdict_of_an_instrumented_call(gateway: Gateway, tel: Telemetry) -> None:
    gateway.judge = lambda event: VIOLATED

    @tel.instrument_tool(pact_id=PACT)
    def transfer_funds(destination: str) -> None:
        return

    transfer_funds("0xBAD")
    receipt = last_receipt()
    assert receipt is not None
    verdict = receipt.verdict(timeout=5)
    assert verdict is not None
    assert not verdict.valid
    assert only_event(gateway, tel)["eventId"] == receipt.event_id


def test_concurrent_tasks_have_receipts_of_their_own(gateway: Gateway, tel: Telemetry) -> None:
    @tel.instrument_tool
    async def work(n: int) -> int:
        await asyncio.sleep(0)
        return n

    async def one(n: int) -> tuple[int, str]:
        await work(n)
        receipt = last_receipt()
        assert receipt is not None
        await asyncio.sleep(0)
        assert last_receipt() is receipt
        return n, receipt.event_id

    async def scenario() -> list[tuple[int, str]]:
        return await asyncio.gather(*(one(n) for n in range(20)))

    receipts = dict(asyncio.run(scenario()))
    assert tel.flush(5)
    assert {e["params"]["n"]: e["eventId"] for e in gateway.events} == receipts


def test_next_to_the_recursion_limit_the_agent_goes_on(gateway: Gateway) -> None:
    reached: list[int] = []

    with gateway.telemetry(max_buffered_events=50_000) as tel:

        @tel.instrument_tool
        def deeper(depth: int) -> None:
            reached.append(depth)
            deeper(depth + 1)

        # Collecting garbage on the last bit of stack would make other tests' finalizers fail, not ours.
        gc.collect()
        gc.disable()
        try:
            with pytest.raises(RecursionError):
                deeper(0)
        finally:
            gc.enable()
        assert tel.flush(20)
        stats = tel.stats()
        assert stats.accepted + stats.invalid >= len(reached) > 100
