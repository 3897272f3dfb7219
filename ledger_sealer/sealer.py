"""The sealer's work on one log: append leaves to its tree, close segments, sign checkpoints.

A segment is a transaction of the shared loop: the signed segment, the state after it and the source offsets it
covers become visible together or not at all. So a log cannot fork by a crash: what was not committed was seen
by nobody, and the records it covered are sealed again, perhaps in other segments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ledger_sealer import metrics
from ledger_sealer.batch import sealable
from pactstream import avro, clock
from pactstream.errors import Fatal, InvalidInput
from pactstream.kafka import topics
from pactstream.kafka.records import Emit, Record, Task
from pactstream.ledger import merkle, segment
from pactstream.ledger.note import NoteSigner
from pactstream.ledger.segment import ChainEnd, SealedSegment

_NEVER: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Log:
    """A log's number, its origin, and who signs for it."""

    number: int
    origin: str
    signer: NoteSigner


class SealerTask(Task):
    """State of one log: the right edge of its tree and the end of its chain of segments.

    `published` is the end of the chain according to `ledger.checkpoints`. State that falls behind it was lost
    or replaced: going on would publish a second history, so the first record stops the process instead.
    """

    def __init__(
        self,
        log: Log,
        published: ChainEnd = segment.CHAIN_START,
        now_micros: Callable[[], int] = clock.now_micros,
    ) -> None:
        self._log = log
        self._published = published
        self._now_micros = now_micros
        self._tree = merkle.Frontier()
        self._end = segment.CHAIN_START
        self._next_offset = 0
        self._oldest_micros = _NEVER

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take one record of the changelog; the last one counts.

        Raises:
            Fatal: the record is not this log's state.
        """
        if key != str(self._log.number).encode():
            raise Fatal(f"{self._log.origin}: {topics.SEALER_STATE} has the state of log {key!r}")
        try:
            state = avro.decode_as("SealerState", value)
            self._tree = merkle.Frontier.restore(state["tree_size"], state["frontier"])
        except InvalidInput as error:
            raise Fatal(f"{self._log.origin}: {topics.SEALER_STATE} cannot be read: {error}") from error
        self._end = ChainEnd(
            state["next_segment"], state["tree_size"], state["next_offset"], state["last_segment_hash"]
        )
        self._next_offset = self._end.next_offset

    def process(self, record: Record, emit: Emit) -> int:
        """Append the leaves of one batch.

        Raises:
            InvalidInput: the record is no batch, or a leaf in it is malformed.
            Fatal: the record was sealed before, or the state is not that of what was published.
        """
        self._check_place(record)
        batch = sealable(record.value)
        for event in batch.events:
            self._tree.append(merkle.leaf_hash(event["leaf"]))
        self._next_offset = record.offset + 1
        self._oldest_micros = min(self._oldest_micros, batch.received_at_micros)
        return len(batch.events)

    def flush(self, emit: Emit) -> None:
        """Close the segment: everything since the last one. Without a leaf there is none to close."""
        leaves = self._tree.size - self._end.tree_size
        if not leaves:
            return
        sealed_at_micros = self._now_micros()
        sealed = segment.seal(
            self._end,
            origin=self._log.origin,
            leaves=leaves,
            root=self._tree.root(),
            topic=topics.EVALUATED,
            partition=self._log.number,
            next_offset=self._next_offset,
            sealed_at_micros=sealed_at_micros,
            signers=[self._log.signer],
        )
        self._end = sealed.chain_end
        metrics.SEAL_SECONDS.observe((sealed_at_micros - self._oldest_micros) / clock.MICROS_PER_SECOND)
        self._oldest_micros = _NEVER
        self._write(sealed, sealed_at_micros, emit)

    def _check_place(self, record: Record) -> None:
        """Offsets may have holes (transaction markers, dead letters); they never go back."""
        if record.offset < self._next_offset:
            raise Fatal(
                f"{self._log.origin}: offset {record.offset} of {record.topic} is sealed already, due is "
                f"{self._next_offset} or later: were the group's offsets reset, or the topic made anew?"
            )
        behind = self._end.next_index < self._published.next_index
        if behind or (self._end.next_index == self._published.next_index and self._end != self._published):
            raise Fatal(
                f"{self._log.origin}: {topics.SEALER_STATE} stands at segment {self._end.next_index}, but "
                f"{topics.CHECKPOINTS} at {self._published.next_index}: sealing on would fork the log"
            )

    def _write(self, sealed: SealedSegment, sealed_at_micros: int, emit: Emit) -> None:
        header, end = sealed.header, sealed.chain_end
        published = {
            "origin": header.origin,
            "log": self._log.number,
            "index": header.index,
            "first_leaf": header.first_leaf,
            "leaves": header.leaves,
            "first_offset": header.source.first_offset,
            "next_offset": header.source.next_offset,
            "sealed_at_micros": sealed_at_micros,
            "header": sealed.header_bytes,
            "checkpoint": sealed.note,
        }
        state = {
            "tree_size": end.tree_size,
            "frontier": self._tree.peaks(),
            "next_segment": end.next_index,
            "last_segment_hash": end.header_hash,
            "next_offset": end.next_offset,
        }
        number = self._log.number
        emit(
            topics.CHECKPOINTS,
            header.origin.encode(),
            avro.encode("SealedSegment", published),
            partition=number,
        )
        emit(topics.SEALER_STATE, str(number).encode(), avro.encode("SealerState", state), partition=number)
