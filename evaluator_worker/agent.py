"""What the evaluator remembers of an agent: its chain of leaves, the events it has judged, its windows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pactstream.ledger.leaf import GENESIS, AgentHead
from pactstream.pacts import PactState

ID_BYTES = 16


class SeenBlock(NamedTuple):
    """Event ids judged together; `ids` holds them end to end, 16 bytes each."""

    received_at_micros: int
    ids: bytes

    def __len__(self) -> int:
        """How many ids."""
        return len(self.ids) // ID_BYTES

    def split(self) -> Iterator[bytes]:
        """The ids one by one."""
        return (self.ids[at : at + ID_BYTES] for at in range(0, len(self.ids), ID_BYTES))


class SeenEvents:
    """The ids of an agent's latest events, in blocks by age.

    Blocks and not single ids: the changelog gains one small record for each batch, and forgetting is deleting
    the oldest block. Age goes by the arrival time recorded in the batches, so a replay forgets the same.
    """

    def __init__(self) -> None:
        self._blocks: dict[int, SeenBlock] = {}  # by sequence of the first event, oldest first
        self._ids: set[bytes] = set()
        self._changed: dict[int, None] = {}

    def __contains__(self, event_id: bytes) -> bool:
        """Whether an event with this id has been judged."""
        return event_id in self._ids

    def __len__(self) -> int:
        """How many ids are remembered."""
        return len(self._ids)

    def add(self, first_sequence: int, block: SeenBlock) -> None:
        """Remember a block, the newest."""
        self._blocks[first_sequence] = block
        self._ids.update(block.split())
        self._changed[first_sequence] = None

    def drain(self) -> Iterator[tuple[int, SeenBlock | None]]:
        """What has changed since the last call; None: the block is gone."""
        changed, self._changed = self._changed, {}
        return ((first_sequence, self._blocks.get(first_sequence)) for first_sequence in changed)

    def restore(self, first_sequence: int, block: SeenBlock | None) -> None:
        """Take one item of `drain`; the last of a sequence number counts."""
        if block is None:
            self._forget(first_sequence)
        else:
            self._blocks[first_sequence] = block
            self._ids.update(block.split())

    def expire(self, *, older_than_micros: int, keep: int) -> list[int]:
        """Forget what is too old, and the oldest beyond `keep` ids; returns the blocks' first sequences."""
        gone = []
        left = len(self._ids)
        for first_sequence, block in self._blocks.items():
            if block.received_at_micros >= older_than_micros and left - len(block) < keep:
                break
            left -= len(block)
            gone.append(first_sequence)
        for first_sequence in gone:
            self._forget(first_sequence)
            self._changed[first_sequence] = None
        return gone

    def _forget(self, first_sequence: int) -> None:
        block = self._blocks.pop(first_sequence, None)
        if block is not None:
            self._ids.difference_update(block.split())


class AgentState:
    """One agent's chain and memory; `received_at_micros` is the arrival of its latest batch here."""

    __slots__ = ("head", "pacts", "received_at_micros", "seen")

    def __init__(self) -> None:
        self.head: AgentHead = GENESIS
        self.seen = SeenEvents()
        self.pacts = PactState()
        self.received_at_micros = 0

    def extend(self, head: AgentHead, marks: list[bytes], received_at_micros: int) -> None:
        """Move the chain's head past the leaves of events, and remember those."""
        self.seen.add(self.head.sequence + 1, SeenBlock(received_at_micros, b"".join(marks)))
        self.head = head
