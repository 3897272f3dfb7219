"""The core of one `Telemetry`: turns events into queued bytes, and survives a fork."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol
from uuid import UUID

import msgspec

from pactstream import clock, ids
from pactstream.errors import InvalidInput
from pactstream.events.model import MAX_METADATA_KEYS, Event, control_faults
from pactstream.sdk.buffer import Buffer, Capacity, Entry
from pactstream.sdk.config import Config
from pactstream.sdk.plain import primitive
from pactstream.sdk.preflight import Preflight
from pactstream.sdk.receipt import LAST_RECEIPT, Receipt
from pactstream.sdk.reports import OnError, Reports
from pactstream.sdk.sender import OnVerdict, Sender
from pactstream.sdk.transport import Transport

if TYPE_CHECKING:
    from pactstream.journal.journal import Journal

DROPS_KEY: Final = "pactstream_dropped_events"
"""Metadata by which an event tells the ledger how many events before it this process lost."""
INEXACT_KEY: Final = "pactstream_inexact_params"
"""Metadata of a tool call whose arguments had to be shortened or replaced."""

_BATCH_BYTES = 900_000
"""Uncompressed; the gateway takes a mebibyte."""
_MAX_EVENT_BYTES = _BATCH_BYTES
_MAX_VALUE = 2_048
_MAX_KEY = 128
_OWN_KEYS = 2

_CLOSED_EARLY = "telemetry was closed before they could be delivered"
_LAST_MOMENT_SECONDS = 0.5

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


class Scope(NamedTuple):
    """What an event takes from its surroundings. `pact_fault` says why a pact that was meant cannot be used."""

    session_id: str
    agent_id: UUID
    pact_id: UUID | None = None
    room_id: str | None = None
    pact_fault: str | None = None


class OpenSession(Protocol):
    """A session as the recorder sees it, linked to the one around it."""

    recorder: Recorder
    scope: Scope
    outer: OpenSession | None


CURRENT_SESSION: ContextVar[OpenSession | None] = ContextVar("pactstream_session", default=None)
CURRENT_CALL: ContextVar[UUID | None] = ContextVar("pactstream_call", default=None)
"""The event id of the instrumented call that this code runs in: the parent of events recorded inside it."""


class Recorder:
    """Everything behind one `Telemetry`."""

    def __init__(self, config: Config, on_verdict: OnVerdict | None, on_error: OnError | None) -> None:
        self.config = config
        self.reports = Reports(on_error)
        self.buffer = Buffer(
            Capacity(
                batch_events=config.batch_size,
                batch_bytes=_BATCH_BYTES,
                max_events=config.max_buffered_events,
                max_bytes=config.max_buffered_bytes,
                flush_interval_seconds=config.flush_interval_seconds,
            )
        )
        self._transport = Transport(config.base_url, config.api_key, config.ca_certs)
        journal = _opened_journal(config)
        self.sender = Sender(config, self.buffer, self._transport, self.reports, on_verdict, journal)
        self.preflight = Preflight(config, self._transport, self.reports, self)
        self._begin_process()
        _recorders.add(self)

    def _begin_process(self) -> None:
        name = f"unsessioned-{ids.uuid7()}"
        self._unsessioned = Scope(name, self.config.agent_id, self.config.pact_id)

    def session(self) -> OpenSession | None:
        """The innermost session of this recorder in this thread or task."""
        session = CURRENT_SESSION.get()
        while session is not None and session.recorder is not self:
            session = session.outer
        return session

    def scope(self) -> Scope:
        """What an event recorded here and now belongs to."""
        session = self.session()
        return self._unsessioned if session is None else session.scope

    def commit(self, event: Event, *, check: bool = True) -> Receipt:
        """Queue an event that has its id.

        Raises:
            InvalidInput: with `check`, it is not one that the gateway takes.
        """
        encoded = _encoder.encode(event)
        if check:
            _check(encoded)
        declares = self.buffer.claim_undeclared() if self.buffer.counts.undeclared else 0
        if declares:
            event.metadata = {**(event.metadata or {}), DROPS_KEY: declares}
            encoded = _encoder.encode(event)
        receipt = Receipt(str(event.event_id), self.hurry)
        LAST_RECEIPT.set(receipt)
        if not self.sender.started:
            self.sender.start()
        entry = Entry(encoded, clock.monotonic_seconds(), receipt)
        reason = self.buffer.put(entry, declares=declares)
        if reason is not None:
            receipt.settle("dropped", error=reason)
            self.reports.report("dropped", reason)
        return receipt

    def hurry(self, *, end_pause: bool = False) -> bool:
        """Send what is buffered at once; whether the caller may wait for it (the sending thread may not)."""
        self.buffer.hurry(end_pause=end_pause)
        return not self.sender.is_this_thread

    def has_unsettled(self) -> bool:
        """Whether anything recorded has not arrived yet, as far as this thread may wait for it."""
        return self.buffer.snapshot().pending > 0 and not self.sender.is_this_thread

    def settle(self, timeout_seconds: float) -> bool:
        """Send what is buffered and wait for its fate; whether all of it is settled."""
        self.hurry(end_pause=True)
        return self.buffer.wait_settled(timeout_seconds)

    def invalid(self, what: str, error: Exception) -> Receipt:
        """Report an event that cannot be recorded; a receipt that says so."""
        message = f"{what}: {str(error)[:300]}"
        self.reports.report("invalid", message)
        receipt = Receipt("", self.hurry)
        receipt.settle("invalid", error=message)
        return receipt

    def metadata(self, values: Mapping[str, object] | None, *, exact: bool = True) -> dict[str, Any] | None:
        """`values` as the gateway takes them: primitives, bounded in number and length."""
        own = {} if exact else {INEXACT_KEY: True}
        if not values:
            return own or None
        room = MAX_METADATA_KEYS - _OWN_KEYS
        if len(values) > room:
            self.reports.report("invalid", f"{len(values)} metadata keys; the first {room} are sent")
        pairs = list(values.items())[:room]
        return {str(key)[:_MAX_KEY]: primitive(value, _MAX_VALUE) for key, value in pairs} | own

    def close(self, timeout_seconds: float) -> bool:
        """Deliver what can be delivered in time, give up and count the rest; whether nothing was lost."""
        dropped_before = self.buffer.snapshot().dropped
        self.buffer.close()
        if self.sender.is_this_thread:
            return False
        if self.sender.started:
            self.buffer.wait_settled(timeout_seconds)
        given_up = self.buffer.abandon()
        for entry in given_up:
            entry.receipt.settle("dropped", error=_CLOSED_EARLY)
        if given_up:
            self.reports.report("dropped", _CLOSED_EARLY, count=len(given_up))
        # The thread ends at once, unless it is in the middle of a request.
        self.sender.join(_LAST_MOMENT_SECONDS)
        counts = self.buffer.snapshot()
        if counts.pending:
            message = "on their way when the time to close was up"
            self.reports.report("delayed", message, count=counts.pending)
        else:
            self._transport.close()
        self.reports.catch_up(force=True)
        return not counts.pending and counts.dropped == dropped_before

    def forked(self) -> None:
        """In a child process just forked: nothing recorded by the parent is ours to send."""
        inherited = self.buffer.reset()
        self.reports.reset()
        self._transport.reset()
        self.sender.reset()
        self._begin_process()
        for entry in inherited:
            entry.receipt.forget("recorded by the parent process, which sends it")


def _opened_journal(config: Config) -> Journal | None:
    if config.journal is None:
        return None
    # Here, because who keeps none need not load what makes leaves.
    from pactstream.journal.journal import Journal
    from pactstream.ledger.files import StorageFailed

    try:
        return Journal(config.journal, config.journal_max_bytes)
    except StorageFailed as error:
        raise ValueError(f"journal: {error}") from None


def _check(encoded: bytes) -> None:
    if len(encoded) > _MAX_EVENT_BYTES:
        raise InvalidInput(f"{len(encoded)} bytes; an event may have {_MAX_EVENT_BYTES}")
    try:
        event = _decoder.decode(encoded)
    except msgspec.DecodeError as error:
        raise InvalidInput(str(error)) from None
    for member in control_faults(event):
        raise InvalidInput(f"{member} has control characters")


def _after_fork_in_child() -> None:
    for recorder in list(_recorders):
        recorder.forked()


_recorders: weakref.WeakSet[Recorder] = weakref.WeakSet()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
