"""The background thread: takes batches, delivers each until its fate is known, tells the fates."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    wait_random,
    wait_random_exponential,
)

from pactstream import clock
from pactstream.errors import PactstreamError
from pactstream.sdk.answer import Fate, Unreadable, read_fates
from pactstream.sdk.buffer import Buffer, Entry
from pactstream.sdk.config import Config
from pactstream.sdk.reports import Reports
from pactstream.sdk.transport import Body, DeliveryFailed, NotNow, Refused, Transport, json_body
from pactstream.sdk.verdict import Verdict

if TYPE_CHECKING:
    from pactstream.journal.journal import Journal

OnVerdict = Callable[[str, Verdict], object]

EVENTS_PATH = "/api/v1/telemetry/events"
_TOO_LARGE = 413

_logger = logging.getLogger("pactstream.sdk")


class Sender:
    """Delivers what is in the buffer, one batch at a time and in order."""

    def __init__(
        self,
        config: Config,
        buffer: Buffer,
        transport: Transport,
        reports: Reports,
        on_verdict: OnVerdict | None,
        journal: Journal | None = None,
    ) -> None:
        self._config = config
        self._buffer = buffer
        self._transport = transport
        self._reports = reports
        self._on_verdict = on_verdict
        self._journal = journal
        self._waits_exponentially = wait_random_exponential(
            multiplier=config.retry_first_seconds,
            max=config.retry_max_seconds,
            min=min(config.retry_first_seconds / 2, config.retry_max_seconds),
        )
        self._jitter = wait_random(0, config.retry_first_seconds)
        self.reset()

    def reset(self) -> None:
        """Begin anew without a thread, in a process just forked."""
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._server_asked_to_wait = False
        self.retries = 0

    @property
    def started(self) -> bool:
        """Whether there is a thread."""
        return self._thread is not None

    @property
    def is_this_thread(self) -> bool:
        """Whether the caller runs on the sending thread, as callbacks do."""
        return threading.current_thread() is self._thread

    def start(self) -> None:
        """Start the thread unless there is one."""
        if not self._starting.acquire(blocking=False):
            # Another thread is at it, or this one is, further down its stack (a signal handler).
            return
        try:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="pactstream-telemetry", daemon=True)
                self._thread.start()
        except RuntimeError as error:
            # No more threads, or the interpreter is going down; the next event tries again.
            self._thread = None
            self._reports.report("delayed", f"cannot start the sending thread: {error}")
        except BaseException:
            # An interrupt that came in between.
            self._thread = None
            raise
        finally:
            self._starting.release()

    def join(self, timeout: float) -> None:
        """Wait for the thread to end."""
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        # start() may fail (next to the recursion limit, say) when the thread is already running: then it is not
        # the one that sends, and leaves, since there must never be two.
        with self._starting:
            if not self.is_this_thread:
                return
        while batch := self._buffer.take():
            try:
                fates = self._deliver(batch)
            except Exception as error:
                # A fault of ours must not end delivery for good; this batch is counted as lost.
                _logger.exception("delivery failed unexpectedly")
                fates = self._all_dropped(batch, f"unexpected {type(error).__name__}")
            self._tell(batch, fates)
            self._reports.catch_up()
        self._reports.catch_up(force=True)

    def _deliver(self, batch: Sequence[Entry]) -> list[Fate]:
        content = b'{"events":[' + b",".join(entry.event for entry in batch) + b"]}"
        body = json_body(content, self._config.compress_over_bytes)
        event_ids = [entry.receipt.event_id for entry in batch]
        attempts = Retrying(
            retry=retry_if_exception_type(NotNow),
            wait=self._wait,
            stop=self._gives_up,
            before_sleep=self._report_retry,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return attempts(self._attempt, body, event_ids)
        except Refused as refusal:
            if refusal.status == _TOO_LARGE and len(batch) > 1:
                # This gateway, or a proxy before it, takes less at once.
                middle = len(batch) // 2
                return self._deliver(batch[:middle]) + self._deliver(batch[middle:])
            return self._refused(refusal, event_ids)
        except DeliveryFailed as failure:
            return self._all_dropped(batch, f"given up: {failure}")

    def _attempt(self, body: Body, event_ids: Sequence[str]) -> list[Fate]:
        content = self._transport.post(EVENTS_PATH, body, self._config.request_timeout_seconds)
        try:
            fates = read_fates(content, event_ids)
        except Unreadable as error:
            # 2xx from something that is not the gateway proves nothing. Sending again is safe: the events keep
            # their ids.
            raise NotNow(str(error), suspicious=True) from None
        return self._reported(fates, event_ids)

    def _refused(self, refusal: Refused, event_ids: Sequence[str]) -> list[Fate]:
        try:
            fates = read_fates(refusal.content, event_ids)
        except Unreadable:
            # Refused as a whole (the key, the rate, the form), not event by event.
            self._reports.report("rejected", str(refusal), count=len(event_ids))
            return [Fate("rejected", error=str(refusal))] * len(event_ids)
        return self._reported(fates, event_ids)

    def _reported(self, fates: list[Fate], event_ids: Sequence[str]) -> list[Fate]:
        for fate, event_id in zip(fates, event_ids, strict=True):
            if fate.status == "rejected":
                self._reports.report_event("rejected", fate.error or "", event_id)
            elif fate.error is not None:
                self._reports.report_event("answer", fate.error, event_id)
        return fates

    def _all_dropped(self, batch: Sequence[Entry], why: str) -> list[Fate]:
        self._reports.report("dropped", why, count=len(batch))
        return [Fate("dropped", error=why)] * len(batch)

    def _wait(self, state: RetryCallState) -> float:
        wish = _failure(state).retry_after_seconds
        self._server_asked_to_wait = wish is not None
        if wish is not None:
            return wish + self._jitter(state)
        return self._waits_exponentially(state)

    def _gives_up(self, state: RetryCallState) -> bool:
        if self._buffer.abandoned:
            return True
        spent = state.seconds_since_start or 0.0
        # An unreachable or overloaded server is waited for as long as it takes, since the buffer is bounded
        # anyway. But one that fails on this very batch would hold up all that follow.
        return _failure(state).suspicious and spent > self._config.retry_for_seconds

    def _report_retry(self, state: RetryCallState) -> None:
        self.retries += 1
        self._reports.report("delayed", f"delivery is retried: {_failure(state)}")

    def _sleep(self, seconds: float) -> None:
        self._buffer.pause(seconds, hurriable=not self._server_asked_to_wait)

    def _tell(self, batch: Sequence[Entry], fates: Sequence[Fate]) -> None:
        self._note(batch, fates)
        for entry, fate in zip(batch, fates, strict=True):
            entry.receipt.settle(fate.status, fate.verdict, fate.error)
            if fate.verdict is not None:
                self._call_back(entry.receipt.event_id, fate.verdict)
        # Last, so that when flush() returns, every verdict has been told.
        statuses = [fate.status for fate in fates]
        self._buffer.settle(
            accepted=statuses.count("accepted"),
            rejected=statuses.count("rejected"),
            dropped=statuses.count("dropped"),
        )

    def _note(self, batch: Sequence[Entry], fates: Sequence[Fate]) -> None:
        """Enter what was acknowledged in the journal, before anybody is told of it."""
        if self._journal is None:
            return
        told = zip(batch, fates, strict=True)
        accepted = [(one.event, one.receipt.event_id) for one, fate in told if fate.status == "accepted"]
        try:
            self._journal.note(accepted, clock.now_micros())
        except PactstreamError as error:
            self._reports.report("journal", str(error), count=len(accepted))

    def _call_back(self, event_id: str, verdict: Verdict) -> None:
        if self._on_verdict is None:
            return
        try:
            self._on_verdict(event_id, verdict)
        except Exception as error:
            # Someone else's code: whatever it raises must not end delivery.
            _logger.exception("on_verdict raised")
            self._reports.report("callback", f"on_verdict raised {type(error).__name__}")


def _failure(state: RetryCallState) -> NotNow:
    failure = state.outcome.exception() if state.outcome is not None else None
    return failure if isinstance(failure, NotNow) else NotNow("unknown")
