"""The rows of a segment, a function of what was sealed: projecting it again gives the same rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec

from ledger_sealer.batch import Event, events_of, openings_of, sealable
from ledger_sealer.published import PublishedSegment
from ledger_sealer.segment_source import PastRetention
from pactstream.clickhouse import erasure as erasing
from pactstream.clickhouse.client import ClickHouse, encode_row
from pactstream.clickhouse.ledger_rows import (
    LEAF_COLUMNS,
    SEGMENT_COLUMNS,
    RowLeaf,
    decode_row_leaf,
    leaf_values,
    segment_values,
)
from pactstream.errors import InvalidInput
from pactstream.ledger import merkle
from pactstream.ledger.erasure import Erasure, erasure_of
from pactstream.ledger.openings import SALT_BYTES
from pactstream.ledger.segment import SegmentHeader

EVENTS = "room_events"
PAYLOADS = "room_event_payloads"
SEGMENTS = "ledger_segments"

_EVENT_COLUMNS = ("log", "leaf_index", *LEAF_COLUMNS, "leaf", "leaf_hash")
_PAYLOAD_COLUMNS = (
    "log",
    "leaf_index",
    "event_id",
    "agent_id",
    "tenant",
    "session_id",
    "field",
    "salt",
    "value",
)
_SEGMENT_COLUMNS = (*SEGMENT_COLUMNS, "header", "checkpoint")


_encode_value = msgspec.msgpack.Encoder().encode
_SALT_HEAD = bytes((0xC4, SALT_BYTES))  # MessagePack: bytes of a length below 256


class Block(NamedTuple):
    """What is inserted into one table, its rows encoded."""

    table: str
    columns: tuple[str, ...]
    rows: bytes


class Rows(NamedTuple):
    """What a segment writes: private values, then what it erases of them, then its leaves and itself.

    The segment's own row comes last: whoever sees it can rely on the rest being there, and on the erasures.
    """

    payloads: Block
    erasures: list[Erasure]
    events: Block
    segment: Block


def sealed_events(header: SegmentHeader, values: Sequence[bytes | None]) -> list[Event]:
    """The events that the segment seals, from the records that it covers.

    Raises:
        PastRetention: they are not as many as were sealed.
    """
    events = [event for value in values for event in _events_or_none(value)]
    if len(events) != header.leaves:
        # Among the records are some that the sealer put in the dead letter queue.
        events = [event for value in values for event in _sealable_or_none(value)]
    if len(events) != header.leaves:
        raise PastRetention(header, len(events))
    return events


def rows_of(segment: PublishedSegment, events: Iterable[Event]) -> Rows:
    """The rows of a segment."""
    header = segment.header
    log = header.source.partition
    event_rows: list[bytes] = []
    payload_rows: list[bytes] = []
    erasures: list[Erasure] = []
    # Encoded one by one: a segment's rows as Python objects would cost as much again in garbage collection.
    for index, event in enumerate(events, header.first_leaf):
        data = event["leaf"]
        leaf = decode_row_leaf(data)
        event_rows.append(encode_row((log, index, *leaf_values(leaf), data, merkle.leaf_hash(data))))
        payload_rows += _payload_rows(log, index, event, leaf)
        if (erasure := erasure_of(leaf, log, index)) is not None:
            erasures.append(erasure)
    segment_row = encode_row((*segment_values(header), segment.header_bytes, segment.note))
    return Rows(
        Block(PAYLOADS, _PAYLOAD_COLUMNS, b"".join(payload_rows)),
        erasures,
        Block(EVENTS, _EVENT_COLUMNS, b"".join(event_rows)),
        Block(SEGMENTS, _SEGMENT_COLUMNS, segment_row),
    )


def write(database: ClickHouse, header: SegmentHeader, rows: Rows) -> None:
    """Write a segment's rows, each block at most once however often this is repeated.

    Raises:
        Retryable: ClickHouse does not answer, and whether it wrote the block is not known.
        Fatal: there is no such table.
    """
    _insert(database, header, rows.payloads)
    for erasure in rows.erasures:
        erasing.erase(database, erasure)
        # A crash here leaves values deleted whose erasure does not show yet. The segment is projected again:
        # its own values are dropped by their token, so none comes back, and what is left is deleted.
    _insert(database, header, rows.events)
    _insert(database, header, rows.segment)


def _insert(database: ClickHouse, header: SegmentHeader, block: Block) -> None:
    token = f"{header.source.partition}/{header.index}/{block.table}"
    database.insert_encoded(block.table, block.columns, block.rows, token=token)
    # A crash here, or an answer that was lost, leaves this table's block whole and the later ones missing: the
    # segment is projected again, and this block is dropped by its token.


def _payload_rows(log: int, index: int, event: Event, leaf: RowLeaf) -> list[bytes]:
    openings = openings_of(event)
    if not openings:
        return []
    # The rows of an event begin alike; end to end, MessagePack values need nothing between them.
    of = encode_row((log, index, event["event_id"], leaf.agent_id, leaf.tenant, leaf.session_id))
    return [
        of + _encoded(field) + bytes.fromhex(opening.salt) + _encode_value(bytes(opening.value))
        for field, opening in openings.items()
    ]


@lru_cache(maxsize=4_096)  # tools have few parameters, and each call has them
def _encoded(field: str) -> bytes:
    """The field's name and the head of the salt after it."""
    return _encode_value(field) + _SALT_HEAD


def _events_or_none(value: bytes | None) -> list[Event]:
    try:
        return events_of(value)
    except InvalidInput:
        return []


def _sealable_or_none(value: bytes | None) -> list[Event]:
    try:
        return sealable(value).events
    except InvalidInput:
        return []
