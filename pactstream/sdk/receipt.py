"""What every telemetry method returns: the event's id at once, its verdict when the server has answered."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from contextvars import ContextVar
from typing import Literal

from pactstream.sdk.verdict import Verdict

Status = Literal["pending", "accepted", "rejected", "dropped", "invalid"]


class Receipt:
    """The fate of one recorded event.

    `event_id` is the UUIDv7 under which the event is sent (empty if `invalid`). `status` is

    - `pending`: in the buffer or on its way,
    - `accepted`: the server has it durably,
    - `rejected`: the server refused it for good,
    - `dropped`: lost on this side (buffer full, closed, given up),
    - `invalid`: never recorded, the arguments were unusable.

    `error` says why it is any of the last three.
    """

    __slots__ = ("_callbacks", "_hurry", "_verdict", "error", "event_id", "status")

    def __init__(self, event_id: str, hurry: Callable[[], bool]) -> None:
        self.event_id = event_id
        self.status: Status = "pending"
        self.error: str | None = None
        self._verdict: Verdict | None = None
        self._hurry = hurry
        self._callbacks: list[Callable[[], None]] = []

    def verdict(self, timeout: float | None = 5.0) -> Verdict | None:
        """Wait up to `timeout` seconds (None: as long as it takes) for the server's verdict.

        Buffered events are sent at once instead of at the next flush. None means: no pact was in scope, the
        event did not arrive, or time is up; `status` tells which. Never raises, and does not wait in a
        callback. Inside a coroutine, `await` the receipt.
        """
        if self.status == "pending":
            settled = threading.Event()
            self._when_settled(settled.set)
            if self._hurry():
                settled.wait(timeout)
        return self._verdict

    def __await__(self) -> Generator[object, None, Verdict | None]:
        """Wait for the verdict without blocking the event loop; bound it with `asyncio.timeout`."""
        if self.status == "pending":
            loop = asyncio.get_running_loop()
            settled = asyncio.Event()
            self._when_settled(lambda: _wake(loop, settled))
            self._hurry()
            yield from settled.wait().__await__()
        return self._verdict

    def settle(self, status: Status, verdict: Verdict | None = None, error: str | None = None) -> None:
        """Fix the fate of the event and wake whoever waits for it (the SDK's own part, once per event)."""
        self._verdict, self.error = verdict, error
        self.status = status
        # A receipt that is kept must not keep a whole Telemetry alive.
        self._hurry = _too_late
        self._run_callbacks()

    def forget(self, error: str) -> None:
        """Settle as dropped without waking anyone: after a fork, those who wait exist in the parent only."""
        self._callbacks.clear()
        self.settle("dropped", error=error)

    def _when_settled(self, callback: Callable[[], None]) -> None:
        # No lock: a callback is appended before the status is read, and the status is set before callbacks are
        # run, so at least one side sees the other; pop() hands each callback to exactly one of them.
        self._callbacks.append(callback)
        if self.status != "pending":
            self._run_callbacks()

    def _run_callbacks(self) -> None:
        while self._callbacks:
            try:
                callback = self._callbacks.pop()
            except IndexError:
                return
            callback()

    def __repr__(self) -> str:
        return f"Receipt(event_id={self.event_id!r}, status={self.status!r})"


def _too_late() -> bool:
    return False


def _wake(loop: asyncio.AbstractEventLoop, settled: asyncio.Event) -> None:
    if loop.is_closed():
        return
    try:
        loop.call_soon_threadsafe(settled.set)
    except RuntimeError:
        # The loop was closed between the question and the call: nobody is left to wake.
        return


LAST_RECEIPT: ContextVar[Receipt | None] = ContextVar("pactstream_last_receipt", default=None)


def last_receipt() -> Receipt | None:
    """The receipt of the last event recorded in this thread or task, by any `Telemetry`; None if there is none.

    After a call of an instrumented tool it is that call's receipt. It follows `contextvars`: a task started
    with `asyncio.create_task` or `gather` has its own.
    """
    return LAST_RECEIPT.get()
