"""What the sealer takes from a record of `telemetry.evaluated`.

Sealer and projector read a record with this one function: what it refuses is in no segment and in no row, and
what it returns can be written to every table.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from pactstream import avro
from pactstream.clickhouse.ledger_rows import leaf_values
from pactstream.errors import InvalidInput
from pactstream.ledger.leaf import MAX_LEAF_BYTES, SALT_BYTES, Leaf, parse_leaf

_SCHEMA = "EvaluatedBatch"


class Opening(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The opening of a commitment: 16 bytes of salt in hexadecimal, and the value as JSON."""

    salt: str
    value: msgspec.Raw


class Entry(NamedTuple):
    """One event: the leaf's bytes, the leaf, its columns, and the openings of its commitments by field."""

    data: bytes
    leaf: Leaf
    columns: tuple[object, ...]
    openings: dict[str, Opening]


_decode_openings = msgspec.json.Decoder(dict[str, Opening]).decode
_NO_OPENINGS: dict[str, Opening] = {}


def read_batch(value: bytes | None) -> list[Entry]:
    """The events of one record, in order.

    Raises:
        InvalidInput: it is no batch, a leaf is not what the batch says of it, or an opening opens nothing.
    """
    batch = avro.decode_as(_SCHEMA, value)
    agent_id = batch["agent_id"]
    return [
        _entry(agent_id, event["event_id"], event["sequence"], event["leaf"], event["private"])
        for event in batch["events"]
    ]


def _entry(agent_id: str, event_id: str, sequence: int, data: bytes, private: bytes | None) -> Entry:
    if len(data) > MAX_LEAF_BYTES:
        raise InvalidInput(f"event {event_id}: a leaf of {len(data)} bytes, at most {MAX_LEAF_BYTES}")
    leaf = parse_leaf(data)
    if (leaf.agent_id, leaf.event_id, leaf.sequence) != (agent_id, event_id, sequence):
        raise InvalidInput(f"event {event_id}: the leaf is of another agent, event or sequence number")
    openings = _NO_OPENINGS if private is None else _read_openings(event_id, private)
    if not openings.keys() <= leaf.commitments.keys():
        raise InvalidInput(f"event {event_id}: an opening belongs to no commitment of the leaf")
    return Entry(data, leaf, leaf_values(leaf), openings)


def _read_openings(event_id: str, private: bytes) -> dict[str, Opening]:
    try:
        openings = _decode_openings(private)
        salts = [bytes.fromhex(one.salt) for one in openings.values()]
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError):
        # Not chained and not quoted: the values are private.
        raise InvalidInput(f"event {event_id}: the openings cannot be read") from None
    if any(len(salt) != SALT_BYTES for salt in salts):
        raise InvalidInput(f"event {event_id}: a salt must have {SALT_BYTES} bytes")
    return openings
