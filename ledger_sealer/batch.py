"""What a record of `telemetry.evaluated` must be before its leaves are sealed."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from pactstream import avro
from pactstream.clickhouse.ledger_rows import check_times
from pactstream.errors import InvalidInput
from pactstream.ledger.leaf import MAX_LEAF_BYTES, parse_leaf
from pactstream.ledger.openings import SALT_BYTES

Event = dict[str, Any]
"""A decoded Avro `EvaluatedEvent`."""


class Opening(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The opening of a commitment: 16 bytes of salt in hexadecimal, and the value as JSON."""

    salt: Annotated[str, Meta(min_length=2 * SALT_BYTES, max_length=2 * SALT_BYTES)]
    value: msgspec.Raw


def events_of(value: bytes | None) -> list[Event]:
    """The events of one record, in order, unchecked.

    Raises:
        InvalidInput: it is no batch.
    """
    events: list[Event] = avro.decode_as("EvaluatedBatch", value)["events"]
    return events


class Sealable(NamedTuple):
    """The events of one record, and when they arrived at the gateway."""

    received_at_micros: int
    events: list[Event]


def sealable(value: bytes | None) -> Sealable:
    """What is in one record, each event fit to be sealed and to be written to every table.

    Raises:
        InvalidInput: it is no batch, a leaf is not what the batch says of it, or an opening opens nothing.
    """
    batch = avro.decode_as("EvaluatedBatch", value)
    events: list[Event] = batch["events"]
    for event in events:
        _check(batch["agent_id"], event)
    return Sealable(batch["received_at_micros"], events)


def openings_of(event: Event) -> dict[str, Opening]:
    """The openings of the event's commitments by field.

    Raises:
        InvalidInput: they cannot be read.
    """
    private = event["private"]
    if private is None:
        return {}
    try:
        return _decode_openings(private)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        # Neither chained nor quoted: the values are private.
        raise InvalidInput(f"event {event['event_id']}: the openings cannot be read") from None


_decode_openings = msgspec.json.Decoder(dict[str, Opening]).decode


def _check(agent_id: str, event: Event) -> None:
    event_id, data = event["event_id"], event["leaf"]
    if len(data) > MAX_LEAF_BYTES:
        raise InvalidInput(f"event {event_id}: a leaf of {len(data)} bytes, at most {MAX_LEAF_BYTES}")
    leaf = parse_leaf(data)
    if (leaf.agent_id, leaf.event_id, leaf.sequence) != (agent_id, event_id, event["sequence"]):
        raise InvalidInput(f"event {event_id}: the leaf is of another agent, event or sequence number")
    check_times(leaf)
    openings = openings_of(event)
    if not openings.keys() <= leaf.commitments.keys():
        raise InvalidInput(f"event {event_id}: an opening belongs to no commitment of the leaf")
    if "".join([one.salt for one in openings.values()]).encode().translate(None, _HEX):
        raise InvalidInput(f"event {event_id}: a salt is not in lower-case hexadecimal")


_HEX = b"0123456789abcdef"
