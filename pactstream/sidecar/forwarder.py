"""Sends what the buffer holds to the gateway, one batch at a time, in order, until each has its answer.

What an answer means:

| answer | what happens |
|---|---|
| a result for each event | the batch is done; events that were rejected become dead letters, one by one |
| 413 | both halves are sent; a single event is a dead letter |
| 400, 422 without results | the batch as a whole is a dead letter |
| 429, 502, 503, 504, or none | the batch waits, and all behind it |
| other 5xx, or an answer that is not the gateway's | the same for `retry_seconds`, then it is a dead letter |
| anything else (401, 403, 404, a redirect) | the key or the address is wrong, not the batch: it waits |
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from threading import Event
from typing import Final

import msgspec
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    wait_random_exponential,
)
from tenacity.nap import sleep_using_event

from pactstream import clock
from pactstream.errors import Backpressure, PactstreamError
from pactstream.journal.journal import Journal
from pactstream.sdk.sender import EVENTS_PATH
from pactstream.sdk.transport import NotNow, Refused, Transport, json_body
from pactstream.sidecar import metrics
from pactstream.sidecar.batch import events_of, joined
from pactstream.sidecar.store import Batch, Refusal, Store

REQUEST_SECONDS: Final = 15.0
_COMPRESS_OVER_BYTES: Final = 8_192
_TOO_LARGE: Final = 413
_OF_THE_BATCH: Final = frozenset({400, _TOO_LARGE, 422})
_IDLE_SECONDS: Final = 1.0
_MAX_REASON: Final = 500
_log = logging.getLogger(__name__)


class _Result(msgspec.Struct, rename="camel"):
    status: str
    event_id: str = ""
    error: msgspec.Raw = msgspec.Raw(b"null")


class _Answer(msgspec.Struct):
    results: list[_Result]


_decode = msgspec.json.Decoder(_Answer).decode


class Forwarder:
    """The one that sends; `run` is a thread's work. `retry_seconds` as in the table above."""

    def __init__(
        self,
        store: Store,
        transport: Transport,
        retry_seconds: float,
        *,
        journal: Journal | None = None,
        most_seconds: float = 30,
    ) -> None:
        self._store = store
        self._journal = journal
        self._transport = transport
        self._retry_seconds = retry_seconds
        self._waits = wait_random_exponential(multiplier=0.2, max=most_seconds)
        self._fails_since: float | None = None

    def run(self, stop: Event) -> None:
        """Send until `stop` is set; then finish the request under way."""
        while not stop.is_set():
            batch = self._store.first(_IDLE_SECONDS)
            if batch is None:
                continue
            try:
                self._send(batch, stop)
            except NotNow:
                return  # told to stop; the batch is on disk
            except Exception:  # noqa: BLE001 - a bug: say where, go on
                # A fault of ours must not end delivery for good; the batch is on disk and comes again.
                _log.exception("sending failed unexpectedly")
                stop.wait(_IDLE_SECONDS)

    def _send(self, batch: Batch, stop: Event) -> None:
        refusals = self._delivered(batch, stop)
        # A crash here, or a disk that fails: the gateway has the batch and it is sent again. Its events keep
        # their ids, so the pipeline knows them.
        while True:
            try:
                lost = self._store.settle(batch, refusals)
                break
            except Backpressure as error:
                _log.error("%s", error)
                if stop.wait(_IDLE_SECONDS):
                    return
        refused = sum(one.events for one in refusals)
        metrics.EVENTS.labels("delivered").inc(batch.events - refused)
        metrics.EVENTS.labels("refused").inc(refused)
        if lost:
            metrics.EVENTS.labels("lost").inc(lost)
            _log.error("%d refused events made room for later ones and are lost", lost)

    def _delivered(self, batch: Batch, stop: Event) -> list[Refusal]:
        self._fails_since = None
        attempts = Retrying(
            retry=retry_if_exception_type(NotNow),
            wait=self._wait,
            stop=lambda state: stop.is_set() or self._gives_up(state),
            before_sleep=_say_why,
            sleep=sleep_using_event(stop),
            reraise=True,
        )
        try:
            return attempts(self._attempt, batch)
        except _TooLarge:
            # The same halves each time, so their events keep their ids, also those made of the bytes.
            return [one for half in _halves(batch) for one in self._delivered(half, stop)]
        except NotNow as failure:
            if stop.is_set():
                raise
            return [_whole(batch, f"given up: {failure}")]

    def _attempt(self, batch: Batch) -> list[Refusal]:
        """Raises NotNow, _TooLarge."""
        try:
            content = self._transport.post(
                EVENTS_PATH, json_body(batch.body, _COMPRESS_OVER_BYTES), REQUEST_SECONDS
            )
        except Refused as refused:
            results = _results(batch, refused.content)
            if results is not None:
                return _refusals(batch, results)
            if refused.status == _TOO_LARGE and batch.events > 1:
                raise _TooLarge from None
            if refused.status in _OF_THE_BATCH:
                return [_whole(batch, str(refused))]
            raise NotNow(f"the gateway refuses this sidecar: {refused}") from None
        results = _results(batch, content)
        if results is None:
            raise NotNow("the answer is not the gateway's", suspicious=True)
        self._note(batch, results)
        return _refusals(batch, results)

    def _note(self, batch: Batch, results: Sequence[_Result]) -> None:
        """Enter what was acknowledged in the journal; what is sent again is noted again, and counts once."""
        if self._journal is None:
            return
        pairs = zip(events_of(batch.body), results, strict=True)
        accepted = [(event, one.event_id) for event, one in pairs if one.status != "rejected"]
        try:
            self._journal.note(accepted, clock.now_micros())
        except PactstreamError as error:
            _log.error("%d events are not in the journal: %s", len(accepted), error)

    def _wait(self, state: RetryCallState) -> float:
        wish = _failure(state).retry_after_seconds
        return self._waits(state) + (wish or 0.0)

    def _gives_up(self, state: RetryCallState) -> bool:
        """Whether the gateway fails on this very batch: an outage is waited for as long as it takes."""
        if not _failure(state).suspicious:
            self._fails_since = None
            return False
        now = clock.monotonic_seconds()
        self._fails_since = self._fails_since or now
        return now - self._fails_since >= self._retry_seconds


class _TooLarge(Exception):
    """The gateway, or a proxy before it, takes less at once."""


def _halves(batch: Batch) -> tuple[Batch, Batch]:
    events = events_of(batch.body)
    middle = len(events) // 2
    first, second = events[:middle], events[middle:]
    return Batch(batch.id, len(first), joined(first)), Batch(batch.id, len(second), joined(second))


def _results(batch: Batch, content: bytes) -> list[_Result] | None:
    """The result of each event; None: these are no results of this batch."""
    try:
        results = _decode(content).results
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return results if len(results) == batch.events else None


def _refusals(batch: Batch, results: Sequence[_Result]) -> list[Refusal]:
    """The events that were rejected, each with its reason."""
    rejected = [(index, one) for index, one in enumerate(results) if one.status == "rejected"]
    events: Sequence[bytes] = events_of(batch.body) if rejected else ()
    return [
        Refusal(1, bytes(one.error)[:_MAX_REASON].decode("utf-8", "replace"), joined([events[index]]))
        for index, one in rejected
    ]


def _whole(batch: Batch, reason: str) -> Refusal:
    _log.error("a batch of %d events is set aside: %s", batch.events, reason)
    return Refusal(batch.events, reason, batch.body)


def _failure(state: RetryCallState) -> NotNow:
    failure = state.outcome.exception() if state.outcome is not None else None
    return failure if isinstance(failure, NotNow) else NotNow("unknown")


def _say_why(state: RetryCallState) -> None:
    metrics.FAILED_ATTEMPTS.inc()
    # At the first attempt, then ever more seldom: an outage is no flood of lines.
    if state.attempt_number & (state.attempt_number - 1) == 0:
        _log.warning("attempt %d: %s", state.attempt_number, _failure(state))
