"""The rows of a segment, a function of what was sealed: projecting it again gives the same rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ledger_sealer.batch import Entry, read_batch
from ledger_sealer.published import PublishedSegment
from ledger_sealer.segment_source import PAST_RETENTION
from pactstream.clickhouse.client import ClickHouse, Row
from pactstream.clickhouse.ledger_rows import LEAF_COLUMNS, SEGMENT_COLUMNS, segment_values
from pactstream.errors import Fatal, InvalidInput
from pactstream.ledger import merkle
from pactstream.ledger.segment import SegmentHeader

EVENTS = "room_events"
PAYLOADS = "room_event_payloads"
SEGMENTS = "ledger_segments"

_EVENT_COLUMNS = ("log", "leaf_index", *LEAF_COLUMNS, "leaf", "leaf_hash")
_PAYLOAD_COLUMNS = ("log", "leaf_index", "event_id", "agent_id", "session_id", "field", "salt", "value")


class Block(NamedTuple):
    """What is inserted into one table."""

    table: str
    columns: tuple[str, ...]
    rows: list[Row]


def entries_of(header: SegmentHeader, values: Iterable[bytes | None]) -> list[Entry]:
    """The events of the records that the segment covers.

    Raises:
        Fatal: they are not as many as were sealed.
    """
    entries: list[Entry] = []
    for value in values:
        try:
            entries += read_batch(value)
        except InvalidInput:
            continue  # the sealer put it in the dead letter queue for the same reason
    if len(entries) != header.leaves:
        raise Fatal(
            f"{header.origin}, segment {header.index}: {PAST_RETENTION}: {len(entries)} leaves are left "
            f"of {header.leaves}"
        )
    return entries


def blocks_of(segment: PublishedSegment, entries: Sequence[Entry]) -> list[Block]:
    """The rows of a segment, table by table in the order in which they are to be written.

    The segment's own row comes last: whoever sees it can rely on the rest being there.
    """
    header = segment.header
    log = header.source.partition
    placed = list(enumerate(entries, header.first_leaf))
    segment_row = (*segment_values(header), segment.header_bytes, segment.note)
    return [
        Block(PAYLOADS, _PAYLOAD_COLUMNS, [row for at, entry in placed for row in _payloads(log, at, entry)]),
        Block(EVENTS, _EVENT_COLUMNS, [_event(log, at, entry) for at, entry in placed]),
        Block(SEGMENTS, (*SEGMENT_COLUMNS, "header", "checkpoint"), [segment_row]),
    ]


def insert(database: ClickHouse, header: SegmentHeader, blocks: Iterable[Block]) -> None:
    """Write a segment's blocks, each at most once however often this is repeated.

    Raises:
        Retryable: ClickHouse does not answer, and whether it wrote the block is not known.
        Fatal: there is no such table.
    """
    for block in blocks:
        token = f"{header.source.partition}/{header.index}/{block.table}"
        database.insert(block.table, block.columns, block.rows, token=token)
        # A crash here, or an answer that was lost, leaves this table's block whole and the later ones missing:
        # the segment is projected again, and this block is dropped by its token.


def _event(log: int, index: int, entry: Entry) -> Row:
    return (log, index, *entry.columns, entry.data, merkle.leaf_hash(entry.data))


def _payloads(log: int, index: int, entry: Entry) -> Iterator[Row]:
    leaf = entry.leaf
    for field, opening in entry.openings.items():
        salt = bytes.fromhex(opening.salt)
        yield (log, index, leaf.event_id, leaf.agent_id, leaf.session_id, field, salt, bytes(opening.value))
