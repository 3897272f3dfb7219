"""What the SDK costs the agent: `python -m tests.bench.bench_sdk`.

Prints the overhead of an instrumented call (the time of the wrapped call less that of the bare one, in CPU time
of the calling thread, so that other processes do not count), the same while batches go out to a gateway on this
machine, and how fast events are recorded and delivered (by the clock on the wall).
"""

from __future__ import annotations

import asyncio
import functools
import gc
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pactstream.sdk import Telemetry
from tests.sdk_gateway import AGENT, KEY, PACT

CALLS = 5_000
ROUNDS = 15
BUDGET_MICROS = 20.0

GATEWAY = """
import sys
from tests.sdk_gateway import serving
with serving() as gateway:
    gateway.requests = type("Forgetful", (list,), {"append": lambda self, seen: None})()
    print(gateway.port, flush=True)
    sys.stdin.read()
"""


def transfer_funds(destination: str, amount: float, currency: str = "USDC") -> bool:
    """A tool that does next to nothing."""
    return amount < 1_000 and currency == "USDC" and bool(destination)


async def transfer_later(destination: str, amount: float, currency: str = "USDC") -> bool:
    """The same, as a coroutine."""
    return transfer_funds(destination, amount, currency)


def best_micros(work: Callable[[], None], reset: Callable[[], object]) -> float:
    """Microseconds of one (CPU time) of each of the `CALLS` calls that `work` makes, in the best round."""
    times = []
    for _ in range(ROUNDS):
        reset()
        gc.collect()
        before = time.thread_time()
        work()
        times.append(time.thread_time() - before)
    return min(times) / CALLS * 1e6


def call_many(tool: Callable[..., object]) -> Callable[[], None]:
    """A loop of calls as an agent makes them."""

    def work() -> None:
        for n in range(CALLS):
            tool("0xA11A", amount=n)

    return work


def await_many(tool: Callable[..., object]) -> Callable[[], None]:
    """The same for a coroutine function."""

    async def loop() -> None:
        for n in range(CALLS):
            await tool("0xA11A", amount=n)  # type: ignore[misc]

    return lambda: asyncio.run(loop())


@contextmanager
def gateway_port() -> Iterator[int]:
    """A gateway in a process of its own, so that it does not share this one's interpreter lock."""
    with subprocess.Popen(
        [sys.executable, "-c", GATEWAY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        if process.stdout is None or process.stdin is None:
            raise RuntimeError("no pipes")
        yield int(process.stdout.readline())
        process.stdin.close()


def telemetry(port: int, **options: float) -> Telemetry:
    """A `Telemetry` with room for a round."""
    return Telemetry(
        api_key=KEY,
        base_url=f"http://127.0.0.1:{port}",
        agent_id=AGENT,
        max_buffered_events=10 * CALLS,
        **options,  # type: ignore[arg-type]
    )


def flushed(tel: Telemetry) -> None:
    """Begin a round with an empty buffer."""
    if not tel.flush(60):
        raise RuntimeError("the gateway does not keep up")


def main() -> None:
    """Measure and print."""
    bare = best_micros(call_many(transfer_funds), lambda: None)
    bare_async = best_micros(await_many(transfer_later), lambda: None)
    print(f"bare call {bare:.2f} µs, bare coroutine {bare_async:.2f} µs")
    with gateway_port() as port:
        # A batch that never fills: the cost of recording alone.
        quiet = telemetry(port, flush_interval_seconds=3_600, batch_size=500)
        quiet._recorder.sender.start = lambda: None  # type: ignore[method-assign]
        clear = quiet._recorder.buffer.reset
        with quiet.session(pact_id=PACT):
            sync = best_micros(call_many(quiet.instrument_tool(transfer_funds)), clear) - bare
            later = best_micros(await_many(quiet.instrument_tool(transfer_later)), clear) - bare_async
        clear()
        quiet.close()
        live = telemetry(port)
        with live.session(pact_id=PACT):
            tool = call_many(live.instrument_tool(transfer_funds))
            busy = best_micros(tool, functools.partial(flushed, live)) - bare
            flushed(live)
            before = time.perf_counter()
            for _ in range(4):
                tool()
            recorded = time.perf_counter()
            flushed(live)
            delivered = time.perf_counter()
        live.close()
    print(f"overhead of an instrumented call      {sync:6.2f} µs (budget {BUDGET_MICROS:.0f})")
    print(f"overhead of an instrumented coroutine {later:6.2f} µs")
    print(f"overhead while batches are delivered  {busy:6.2f} µs (the sending thread shares the interpreter)")
    print(f"recorded  {4 * CALLS / (recorded - before):9,.0f} events/s")
    print(f"delivered {4 * CALLS / (delivered - before):9,.0f} events/s, batches of 25, one connection")
    print("dropped ", live.stats().dropped)


if __name__ == "__main__":
    main()
