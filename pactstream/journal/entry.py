"""One acknowledged event in a journal, and what of its leaf follows from the event as it was sent.

Most of a leaf is the sender's: who did what, when, with which outcome, under which pact, and how the private
values are named. The digest is the SHA-256 of that part. The values themselves are not in it: a leaf holds them
as commitments with salts that the sender never learns, so who has the leaf alone cannot compare them.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from functools import partial
from hashlib import sha256
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from pactstream import canonical, clock
from pactstream.errors import InvalidInput
from pactstream.events.avro_form import event_type, to_avro
from pactstream.events.model import Event, occurred_at
from pactstream.events.parse import Accepted
from pactstream.ledger import stated
from pactstream.ledger.leaf import GENESIS, Hex32, LeafError, Source, build_leaf
from pactstream.ledger.openings import Salts

MAX_LINE_BYTES: Final = 2_000
_NOWHERE: Final = Source(0, 0, 0, "")
_ADDED_BY_VERDICT: Final = "violations."


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """An event that was acknowledged. `digest` is None where the event is one that no leaf can hold."""

    acknowledged_at: Annotated[datetime, Meta(tz=True)]
    agent_id: UUID
    digest: Hex32 | None
    event_id: UUID
    session_id: str
    type: str

    def line(self) -> bytes:
        """The entry as it stands in a journal: JSON, without the line's end."""
        return _encode(self)


class SentPart(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What of a leaf follows from the event; everything else in the leaf is passed over."""

    agent_id: str
    commitments: dict[str, str] = {}
    confidence: int | None = None
    event_id: str
    latency_ms: int | float | None = None
    occurred_at: str
    outcome: str | None = None
    pact: _Pact | None = None
    parent_event_id: str | None = None
    received_at: str
    room_id: str | None = None
    session_id: str
    token_count: int | None = None
    tool: str | None = None
    type: str

    def digest(self) -> str:
        """SHA-256 in hexadecimal. `receivedAt` is the gateway's, and verdicts have values of their own."""
        shown = msgspec.to_builtins(self)
        del shown["receivedAt"]
        shown["commitments"] = sorted(one for one in self.commitments if not one.startswith(_ADDED_BY_VERDICT))
        return sha256(canonical.dumps(shown)).hexdigest()


class _Pact(msgspec.Struct, frozen=True):
    id: str


def entry_of(event: bytes, event_id: str, acknowledged_micros: int) -> Entry:
    """The entry of an event, given as it went over the wire; the id is the gateway's where it had none.

    Raises:
        InvalidInput: these bytes are no event.
    """
    try:
        sent, name = _decode_event(event), UUID(event_id)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"not an event: {error}") from None
    return Entry(
        acknowledged_at=clock.from_micros(acknowledged_micros),
        agent_id=sent.agent_id,
        digest=_digest(sent, name),
        event_id=name,
        session_id=sent.session_id,
        type=event_type(sent),
    )


def read_line(line: bytes) -> Entry:
    """The entry in a line. Raises `InvalidInput` where it is none, as one is that a crash cut off."""
    try:
        return _decode_entry(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"not an entry: {error}") from None


def sent_part(leaf: bytes) -> SentPart:
    """What of a leaf its sender determined. Raises `InvalidInput` when the bytes are no leaf."""
    try:
        return _decode_sent(leaf)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"not a leaf: {error}") from None


def _digest(sent: Event, event_id: UUID) -> str | None:
    """The digest of the leaf that the event will have, whatever its number, salts and verdict."""
    accepted = Accepted(sent, clock.to_micros(occurred_at(sent)))
    event: dict[str, Any] = defaultdict(_none, to_avro(accepted, event_id=event_id, pact_version=None))
    try:
        built = build_leaf(
            event,
            None,
            agent_id=str(sent.agent_id),
            tenant="",
            received_at=clock.to_iso(0),
            source=_NOWHERE,
            head=GENESIS,
            confidence=stated.confidence(event),
            salts=_no_salts(),
        )
    except LeafError:
        return None  # the pipeline makes a dead letter of it: it will be missed in the ledger
    return sent_part(built.leaf).digest()


def _none() -> None:
    return None


_no_salts = partial(Salts, draw=bytes, at_once=0)
_encode = msgspec.json.Encoder().encode
_decode_event: Any = msgspec.json.Decoder(Event).decode
_decode_entry = msgspec.json.Decoder(Entry).decode
_decode_sent = msgspec.json.Decoder(SentPart).decode
